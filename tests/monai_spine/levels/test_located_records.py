"""Records with located points: the bundles' way to what ``predict`` does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.bundle import create_workflow

from monai_spine.levels.located_records import locate_records, with_points
from monai_spine.levels.recesses import locator as recess_locator
from monai_spine.levels.sagittal import locator
from monai_spine.levels.sagittal.points import Absent, LevelPoint, PointKind
from monai_spine.levels.study import NO_SPINE, LocatedStudy
from monai_spine.prediction.grader import Grader
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

KINDS = {Group.SPINAL: PointKind.CANAL, Group.FORAMINAL: PointKind.FORAMEN, Group.SUBARTICULAR: PointKind.RECESS}


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
    monkeypatch.setattr(locator.LevelLocator, "from_bundle", lambda *_: levels)
    monkeypatch.setattr(recess_locator.RecessLocator, "from_bundle", lambda *_: None)
    return levels


def test_records_with_points_keep_them_and_open_no_localizer(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locator.LevelLocator, "from_bundle", lambda *_: pytest.fail("opened"))
    record = record_of(study, points_of_spine())
    assert locate_records([record], quiet=True) == [record]


@pytest.mark.usefixtures("known_levels")
def test_records_without_points_are_located_and_those_with_points_if_asked(study: Path) -> None:
    marked = record_of(study, {TARGETS[0]: (1.0, 2.0, 3.0)})
    bare = record_of(study)
    kept, found = locate_records([marked, bare], quiet=True)
    assert kept["points"] == marked["points"]
    assert set(found["points"]) > {finding.name for finding in FINDINGS if finding.condition.group is Group.FORAMINAL}
    (again,) = locate_records([marked], given=False, quiet=True)
    assert again["points"] == found["points"]


def test_a_study_without_a_spine_keeps_no_points_and_says_why(
    tmp_path: Path, known_levels: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    known_levels.canal = np.zeros((0, 3))
    (record,) = locate_records([record_of(sagittal(tmp_path / "x" / "sagittal_t2.nii.gz").parent)], quiet=True)
    assert record["points"] == {}
    assert set(record["absent"].values()) == {NO_SPINE}
    assert "study x: no lumbar spine found" in caplog.text


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
