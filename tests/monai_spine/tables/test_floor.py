import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.phantom import floor as phantom_floor
from data_prep.phantom.study import draw_findings
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import Labels, read_labels, write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade
from monai_spine.tables.floor import read_floor

COUNT = 120


STUDIES = tuple(str(9_000_000_000 + n) for n in range(COUNT))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    drawn = [draw_findings(3, n) for n in range(COUNT)]
    labels = np.array([one.labels for one in drawn]).astype(int)
    posterior = np.array([one.posterior for one in drawn])
    titles = {MISSING: "", **{int(grade): grade.title for grade in Grade}}
    rows = [",".join([study, *(titles[g] for g in row)]) for study, row in zip(STUDIES, labels.tolist(), strict=True)]
    (folder / "train.csv").write_text("\n".join([",".join(["study_id", *TARGETS]), *rows]))
    lines = ["study_id,condition,level,normal_mild,moderate,severe"]
    for study, table in zip(STUDIES, posterior, strict=True):
        lines += [
            f"{study},{finding.condition.value},{finding.level.value},{','.join(map(repr, row))}"
            for finding, row in zip(FINDINGS, table.tolist(), strict=True)
        ]
    (folder / "truth.csv").write_text("\n".join(lines))
    (folder / "floor.json").write_text(json.dumps(phantom_floor.report(labels, posterior)))
    write_predictions(folder / "best.csv", STUDIES, phantom_floor.best_rows(posterior))
    write_predictions(folder / "prior.csv", STUDIES, np.broadcast_to(level_prior(labels), (COUNT, 25, 3)) + 1e-12)
    return folder


def test_a_cohorts_file_and_its_truth_give_the_same_floor(cohort: Path) -> None:
    solution = read_labels(cohort / "train.csv")
    from_file, from_truth = (read_floor(cohort / name, solution) for name in ("floor.json", "truth.csv"))
    assert from_truth.as_dict() == pytest.approx(from_file.as_dict(), rel=1e-6)


def test_the_truth_gives_the_floor_of_a_part_and_the_cohorts_file_refuses(cohort: Path) -> None:
    whole = read_labels(cohort / "train.csv")
    part = Labels(whole.study_ids[:50], whole.grades[:50])
    assert read_floor(cohort / "truth.csv", part).score != read_floor(cohort / "truth.csv", whole).score
    with pytest.raises(InvalidTableError, match=r"120 studies, but the solution holds 50.*truth\.csv"):
        read_floor(cohort / "floor.json", part)


def test_studies_that_the_truth_lacks_are_named(cohort: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"lacks findings of 1 studies.*4711"):
        read_floor(cohort / "truth.csv", Labels(("4711",), np.zeros((1, 25), dtype=np.int64)))


@pytest.mark.parametrize("content", ["", "[]", '{"floor": {}}', '{"floor": {"score": "x"}, "studies": 120}'])
def test_another_json_is_refused(tmp_path: Path, cohort: Path, content: str) -> None:
    (tmp_path / "floor.json").write_text(content)
    with pytest.raises(InvalidTableError, match="floor"):
        read_floor(tmp_path / "floor.json", read_labels(cohort / "train.csv"))


def test_a_missing_file_is_refused(tmp_path: Path, cohort: Path) -> None:
    with pytest.raises(MissingInputError, match="no file"):
        read_floor(tmp_path / "floor.json", read_labels(cohort / "train.csv"))
