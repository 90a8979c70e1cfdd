"""Located points in the place of marked ones, as ``predict`` and the bundles use them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.bundle import create_workflow

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.grading.grader import Grader
from monai_spine.levels import localizers
from monai_spine.levels.files import COLUMNS, write_points
from monai_spine.levels.located_records import (
    locate_records,
    points_of_findings,
    read_located_points,
    with_points,
)
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.points import NO_SPINE, Absent, LevelPoint, Structure
from monai_spine.prediction.run import predict
from monai_spine.spine import FINDINGS, TARGETS, Group
from tests.monai_spine.levels.test_locate import Oracle, sagittal
from tests.monai_spine.prediction.parts import (
    inputs,
    models,
    oracle,
    points_of_spine,
    record_of,
    write_bundle,
    write_study,
)

KINDS = {Group.SPINAL: Structure.CANAL, Group.FORAMINAL: Structure.FORAMEN, Group.SUBARTICULAR: Structure.RECESS}
POINTS = tuple(
    LevelPoint(KINDS[f.condition.group], f.level, f.condition.side, np.array([n, -n, 0.25 * n]), 0.9)
    for n, f in enumerate(FINDINGS)
)


def test_every_finding_gets_the_point_of_its_kind_level_and_side_or_the_reason_why_not() -> None:
    points, absent = [], []
    for n, finding in enumerate(FINDINGS):
        key = (KINDS[finding.condition.group], finding.level, finding.condition.side)
        if n % 3:
            points.append(LevelPoint(*key, np.full(3, float(n)), n / 25, ("faint",) * (n % 2)))
        else:
            absent.append(Absent(*key, f"reason {n}"))
    record = with_points(
        {"study_id": "s", "points": {"old": (0, 0, 0)}}, LocatedStudy("s", tuple(points), tuple(absent), {}, {})
    )
    for n, target in enumerate(TARGETS):
        if n % 3:
            assert record["points"][target] == (n, n, n)
            assert record["point_confidence"][target] == n / 25
            assert record["point_flags"][target] == ("faint",) * (n % 2)
        else:
            assert target not in record["points"]
            assert record["absent"][target] == f"reason {n}"
    assert "old" not in record["points"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "in" / "s1")


@pytest.fixture
def known_levels(study: Path, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    levels = oracle(study)
    monkeypatch.setattr(localizers.LevelLocator, "from_bundle", lambda *_: levels)
    monkeypatch.setattr(localizers.RecessLocator, "from_bundle", lambda *_: None)
    return levels


def test_records_with_points_keep_them_and_open_no_localizer(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localizers.LevelLocator, "from_bundle", lambda *_: pytest.fail("opened"))
    record = record_of(study, points_of_spine())
    assert locate_records([record], quiet=True) == [record]


@pytest.mark.usefixtures("known_levels")
def test_records_without_points_are_located_and_those_with_points_if_asked(study: Path) -> None:
    marked = record_of(study, {TARGETS[0]: (1.0, 2.0, 3.0)})
    bare = record_of(study)
    kept, found = locate_records([marked, bare], quiet=True)
    assert kept["points"] == marked["points"]
    assert set(found["points"]) > {finding.name for finding in FINDINGS if finding.condition.group is Group.FORAMINAL}
    (again,) = locate_records([marked], keep_points=False, quiet=True)
    assert again["points"] == found["points"]


def test_a_study_without_a_spine_keeps_no_points_and_says_why(
    tmp_path: Path, known_levels: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    known_levels.canal = np.zeros((0, 3))
    (record,) = locate_records([record_of(sagittal(tmp_path / "x" / "sagittal_t2.nii.gz").parent)], quiet=True)
    assert record["points"] == {}
    assert set(record["absent"].values()) == {NO_SPINE}
    assert "study x: no lumbar spine found" in caplog.text


@pytest.mark.slow
def test_the_bundle_run_by_monai_on_a_folder_without_points_says_what_predict_says(
    tmp_path: Path, study: Path, known_levels: Oracle
) -> None:
    bundle = write_bundle(tmp_path / "one")
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        run_id="inference",
        bundle_root=str(bundle),
        dataset_dir=str(study.parent),
        output_dir=str(tmp_path / "monai"),
        device="$torch.device('cpu')",
    )
    workflow.run()
    workflow.finalize()
    predict(inputs(study), tmp_path / "ours", models(known_levels, Grader.from_bundle(bundle)), quiet=True)
    one, other = (pd.read_csv(tmp_path / name / "predictions.csv", index_col=0) for name in ("monai", "ours"))
    assert list(one.index) == list(other.index)
    assert np.allclose(one, other, atol=1e-6)
    text = (tmp_path / "monai" / "s1" / "findings.json").read_text()
    assert "The weights of this bundle were trained on phantoms" in text
    assert '"not_covered"' in text


def test_what_locate_writes_is_read_under_the_names_of_the_findings(tmp_path: Path) -> None:
    write_points(tmp_path, [LocatedStudy("7", POINTS, (), {}, {}), LocatedStudy("9", POINTS[:3], (), {}, {})])
    read = read_located_points(tmp_path / "points.csv")
    assert read["7"] == points_of_findings(POINTS) == {name: (n, -n, 0.25 * n) for n, name in enumerate(TARGETS)}
    assert list(read["9"]) == list(TARGETS[:3])


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("7,canal,l1_l2,,1,2,x,1,", "row 2: could not convert"),
        ("7,canal,l1_l2,,1,2,nan,1,", "row 2: expected finite"),
        ("7,disc,l1_l2,,1,2,3,1,", "expected point out of"),
        ("7,canal,l6_s1,,1,2,3,1,", "l6_s1"),
        ("7,canal,l1_l2,left,1,2,3,1,", "no side for a canal"),
        ("7,recess,l1_l2,,1,2,3,1,", "a side for a recess"),
        ("7,canal,l1_l2,,1,2", "row 2"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, row: str, fault: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{row}\n")
    with pytest.raises(InvalidTableError, match=fault):
        read_located_points(path)


def test_a_second_point_a_missing_column_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{','.join(COLUMNS)}\n" + "7,canal,l1_l2,,1,2,3,1,\n" * 2)
    with pytest.raises(InvalidTableError, match="row 3: a second point"):
        read_located_points(path)
    path.write_text("study,point\n7,canal\n")
    with pytest.raises(InvalidTableError, match="level, side, x, y, z lack"):
        read_located_points(path)
    with pytest.raises(MissingInputError, match="locate"):
        read_located_points(tmp_path / "none.csv")
