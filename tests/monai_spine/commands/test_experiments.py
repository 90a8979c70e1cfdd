from pathlib import Path

import pytest

from monai_spine.commands.experiments import cv
from monai_spine.errors import MissingInputError
from tests.bundles.runs import ROOT
from tests.cohorts import write_cohort


def test_missing_studies_to_label_are_said_before_anything_is_trained(tmp_path: Path) -> None:
    data, out = write_cohort(tmp_path / "data", studies=4), tmp_path / "cv"
    with pytest.raises(MissingInputError, match="nothing at"):
        # the unknown setting ends the command if training is prepared first
        cv(ROOT / "bundles/lumbar_25d_grader", data, out, settings=["nothing=1"], pseudo_label=tmp_path / "none")
    assert not out.exists()
