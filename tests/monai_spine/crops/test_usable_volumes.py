import logging
from pathlib import Path

import numpy as np
import pytest

from monai_spine.crops.usable_volumes import with_usable_volumes
from monai_spine.data.datalist import read_datalist
from monai_spine.spine import SeriesType
from tests.cohorts import SHAPE, affine_of, write_cohort, write_volume


def test_a_volume_with_nan_is_left_out_and_told_of_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = read_datalist(write_cohort(tmp_path, studies=2))
    (bad,) = first["sagittal_t2"]
    voxels = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    voxels[3, 3, 3] = np.nan
    write_volume(Path(bad), voxels, affine_of(SeriesType.SAGITTAL_T2))
    with caplog.at_level(logging.WARNING):
        found = with_usable_volumes([first, second])
    assert found[0]["sagittal_t2"] == []
    assert found[0]["sagittal_t1"] == first["sagittal_t1"]
    assert found[1] == second
    assert first["study_id"] in caplog.text
    assert Path(bad).name in caplog.text
