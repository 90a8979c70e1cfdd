from pathlib import Path

import pytest

from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidTableError
from monai_spine.levels.sagittal.volumes import marked_volumes, sagittal_volumes
from tests.cohorts import write_cohort


def test_studies_without_marked_points_teach_nothing(tmp_path: Path) -> None:
    records = read_datalist(write_cohort(tmp_path, studies=2))
    with pytest.raises(InvalidTableError, match="none of 2 studies"):
        marked_volumes(records)
    records[1]["points"] = {"spinal_canal_stenosis_l3_l4": (0.0, 0.0, 0.0)}
    assert [volume["study_id"] for volume in marked_volumes(records)] == [records[1]["study_id"]] * 2
    assert len(sagittal_volumes(records)) == 4
