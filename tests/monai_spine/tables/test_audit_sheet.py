import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.volume import Volume
from monai_spine.spine import TARGETS, SeriesType
from monai_spine.tables.audit_report import audit
from monai_spine.tables.audit_sheet import SIDE_MM, SIDE_PIXELS, NoPictureError, nearest_volume, slice_picture
from monai_spine.tables.out_of_fold import read_out_of_fold
from tests.cohorts import affine_of


def test_the_contact_sheet_shows_a_picture_for_each_or_says_why_not(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    content = json.loads(datalist.read_text())
    del content["training"][0]["points"][TARGETS[3]]
    content["training"][1]["points"][TARGETS[9]] = [900.0, 0.0, 0.0]
    datalist.write_text(json.dumps(content))
    table = read_out_of_fold(solution, [submission], datalist=datalist)
    audit(table, tmp_path / "audit", datalist, quiet=True)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count("<article") == 3
    assert page.count("data:image/jpeg") == 1
    assert "no point in the datalist" in page
    assert "mm away" in page


def test_the_sheet_shows_no_more_than_asked_for(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    audit(
        read_out_of_fold(solution, [submission], datalist=datalist),
        tmp_path / "audit",
        datalist,
        pictures=1,
        quiet=True,
    )
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count("<article") == 1
    assert "the first 1 are shown" in page


@pytest.mark.parametrize("kind", list(SeriesType))
def test_a_crop_shows_the_patient_as_people_look_at_it(kind: SeriesType) -> None:
    affine = affine_of(kind)
    shape = (40, 48, 9)
    steps = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = steps @ affine[:3, :3].T + affine[:3, 3]
    axis = 1  # anterior
    volume = Volume((world[..., axis] - world[..., axis].min() + 1).astype(np.float32), affine)
    picture = np.asarray(slice_picture(volume, affine[:3, :3] @ [20, 24, 4] + affine[:3, 3]).convert("L"), dtype=float)
    assert picture.shape == (SIDE_PIXELS, SIDE_PIXELS)
    if kind is SeriesType.AXIAL_T2:
        assert picture[20].mean() > picture[-20].mean()  # anterior on top
    else:
        assert picture[:, 20].mean() > picture[:, -20].mean()  # anterior on the left


def test_the_middle_of_a_crop_is_the_point_and_its_side_is_in_millimetres() -> None:
    affine = np.diag([0.5, 0.5, 4.0, 1.0])
    voxels = np.zeros((300, 300, 5), dtype=np.float32)
    voxels[:] = 10
    voxels[149:152, 149:152, 2] = 1000
    bright = np.asarray(slice_picture(Volume(voxels, affine), [75.0, 75.0, 8.9]).convert("L"), dtype=float)
    inner = bright[SIDE_PIXELS // 2 - 20 : SIDE_PIXELS // 2 + 20, SIDE_PIXELS // 2 - 20 : SIDE_PIXELS // 2 + 20]
    at = np.argwhere(inner > inner.max() / 2)
    assert at.mean(axis=0) == pytest.approx([19.5, 19.5], abs=1)
    assert np.ptp(at[:, 0]) * SIDE_MM / SIDE_PIXELS == pytest.approx(1.5, abs=0.8)


def test_no_crop_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="no such series"):
        nearest_volume([], [0, 0, 0])
    with pytest.raises(NoPictureError, match="cannot be read"):
        nearest_volume([tmp_path / "none.nii.gz"], [0, 0, 0])
