"""A study is graded again as it was graded."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from monai_spine.errors import InvalidOptionError, SpineError
from monai_spine.prediction.models import Models
from monai_spine.report.study_measures import StudyMeasures
from monai_spine.review.graded_options import models_as_graded, options_as_graded
from tests.monai_spine.report.results import result


def write(folder: Path, tta: list[str], precision: str, **more: object) -> None:
    model = {"bundle": "one", "tta": tta, "runtime": {"name": "openvino", "precision": precision}}
    folder.mkdir(parents=True)
    (folder / "findings.json").write_text(json.dumps({"models": [model], "localizer_runtimes": {"levels": {}}, **more}))


def test_options_that_the_findings_have_are_used_unless_the_user_names_others(tmp_path: Path) -> None:
    assert options_as_graded(tmp_path, {"tta": None, "device": "cpu"}) == {"device": "cpu", "measures": False}
    write(tmp_path / "a", ["flip"], "bfloat16")
    write(tmp_path / "b", ["flip"], "bfloat16", measures={"reason": "none"})
    known = {"tta": ("flip",), "precision": "bfloat16", "refine": False, "runtime": "openvino", "measures": True}
    assert options_as_graded(tmp_path, {"tta": None}) == known
    assert options_as_graded(tmp_path, {"tta": (), "refine": True}) == {**known, "tta": (), "refine": True}
    write(tmp_path / "c", [], "bfloat16")
    with pytest.raises(InvalidOptionError, match="different --tta"):
        options_as_graded(tmp_path, {})
    assert options_as_graded(tmp_path, {"tta": ()})["precision"] == "bfloat16"


def test_a_study_is_measured_again_if_it_was_and_never_by_another_cohort(opened: Models) -> None:
    measurer = SimpleNamespace(reference=SimpleNamespace(name="phantoms"))
    measuring = replace(opened, measurer=measurer, digest="both", digest_unmeasured="one")  # type: ignore[arg-type]
    unmeasured = result()
    measured = replace(unmeasured, measures=StudyMeasures(reference="phantoms"))
    assert models_as_graded(measuring, measured) is measuring
    assert models_as_graded(measuring, replace(unmeasured, measures=StudyMeasures(reason="none"))) is measuring
    assert models_as_graded(measuring, unmeasured) == replace(opened, digest="one", digest_unmeasured="one")
    assert models_as_graded(opened, unmeasured) is opened
    with pytest.raises(SpineError, match="--measures-reference"):
        models_as_graded(measuring, replace(unmeasured, measures=StudyMeasures(reference="volunteers")))
