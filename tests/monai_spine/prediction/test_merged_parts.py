import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from monai_spine.errors import ExitCode, InvalidTableError, MissingInputError
from monai_spine.grading.grader import Grader
from monai_spine.prediction.inputs import Inputs
from monai_spine.prediction.merged_parts import TABLES, merge_parts, write_part
from monai_spine.prediction.part import Part
from monai_spine.prediction.run import predict
from monai_spine.prediction.study_cost import StudyCost
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study

COUNT = 3


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same studies graded in one run (``whole``) and in three parts (``parts``)."""
    root = tmp_path_factory.mktemp("graded")
    grader = Grader.from_bundle(write_bundle(root / "bundle"))
    folders = [write_study(root / "in" / name) for name in ("a", "b", "10", "9")]
    broken = inputs(write_study(root / "in" / "no_sagittal")).studies[0]
    broken = replace(broken, record={**broken.record, "sagittal_t1": (), "sagittal_t2": ()})
    everything = Inputs((*inputs(*folders).studies, broken))
    everything = Inputs(tuple(sorted(everything.studies, key=lambda one: one.study_id)))
    opened = models(oracle(*folders), grader)
    with pytest.MonkeyPatch.context() as patch:
        cost = StudyCost(1.0, 2, "here")
        patch.setattr("monai_spine.prediction.study_task.measured", lambda work: (work(), cost))
        predict(everything, root / "whole", opened, quiet=True)
        for number in range(1, COUNT + 1):
            predict(everything, root / "parts", opened, quiet=True, part=Part(number, COUNT))
    return root


@pytest.fixture
def parts(graded: Path, tmp_path: Path) -> Path:
    """A copy of the tables of parts, to be changed."""
    shutil.copytree(graded / "parts", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.slow
def test_the_joined_tables_are_those_of_one_run(graded: Path, parts: Path) -> None:
    merged = merge_parts(parts)
    for table in TABLES:
        assert (parts / table).read_text() == (graded / "whole" / table).read_text(), table
    assert (merged.studies, merged.refused, merged.missing, merged.absent) == (5, 1, (), ())
    assert merged.exit_code is ExitCode.SOME_REFUSED
    assert (parts / "a/findings.json").read_text() == (graded / "whole/a/findings.json").read_text()
    assert "trained on phantoms" in (parts / "README.md").read_text()


def change(folder: Path, number: int, **changes: object) -> None:
    path = Part(number, COUNT).folder(folder) / "part.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.slow
def test_missing_parts_are_named_and_the_others_joined(parts: Path) -> None:
    (Part(2, COUNT).folder(parts) / "part.json").unlink()
    merged = merge_parts(parts)
    assert merged.missing == (2,)
    assert "missing parts: 2/3" in merged.line()
    assert merged.exit_code is ExitCode.SOME_REFUSED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"settings": {"version": "9"}}, "parts 1/3 and 3/3 were made with different models or options"),
        ({"parts": 4}, "parts 1/3 and 3/4 have different counts"),
        ({"inputs": 7}, "parts 1/3 and 3/3 saw different inputs: 5 and 7 studies"),
        ({"schema": "x"}, "expected a finished part of the schema"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused_and_nothing_is_written(
    changes: dict, fault: str, parts: Path
) -> None:
    change(parts, 3, **changes)
    with pytest.raises(InvalidTableError, match=fault):
        merge_parts(parts)
    assert not list(parts.glob("*.csv"))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_was_cut_short_is_refused_and_nothing_is_written(table: str, parts: Path) -> None:
    path = next((parts / "parts").glob(f"*/{table}"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidTableError, match=f"{table} is not as its part wrote it"):
        merge_parts(parts)
    assert not (parts / "studies.csv").exists()


def test_a_folder_without_parts_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="--part 1/N first"):
        merge_parts(tmp_path)


def by_hand(out: Path, number: int, inputs: list[str], graded: list[str]) -> None:
    """One of two parts, with a table of studies that saw some inputs and graded some."""
    part = Part(number, 2)
    part.folder(out).mkdir(parents=True)
    for table in TABLES:
        (part.folder(out) / table).write_text("study,status\n" + "".join(f"{name},graded\n" for name in graded))
    write_part(part, out, settings={}, inputs=inputs, studies=len(graded), provenance="")


def test_parts_that_saw_as_many_but_other_studies_are_refused_with_their_names(tmp_path: Path) -> None:
    by_hand(tmp_path, 1, ["a", "d", "g"], ["a"])
    by_hand(tmp_path, 2, ["h", "d", "a"], ["d", "h"])
    fault = r"parts 1/2 and 2/2 saw different inputs: 3 and 3 studies, only 1/2 saw g, only 2/2 saw h; run"
    with pytest.raises(InvalidTableError, match=fault):
        merge_parts(tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_studies_that_no_part_has_are_named(tmp_path: Path) -> None:
    by_hand(tmp_path, 1, ["a", "d", "g"], ["a"])
    by_hand(tmp_path, 2, ["g", "d", "a"], ["d"])
    merged = merge_parts(tmp_path)
    assert merged.absent == ("g",)
    assert "1 study of the inputs missing: g;" in merged.line()
    assert merged.exit_code is ExitCode.SOME_REFUSED
