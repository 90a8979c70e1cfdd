"""The one guard of a volume's plane, and the commands and trainings that use it."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Identityd

from monai_spine.crops.stack import open_stack, with_usable_volumes
from monai_spine.crops.study import open_study
from monai_spine.data.slice_plane import check_plane
from monai_spine.data.studies import series_verdict
from monai_spine.errors import InvalidVolumeError
from monai_spine.spine import SeriesType
from monai_spine.transforms.study_grid import StudyGridd
from tests.cohorts import write_study

T2, AXIAL = SeriesType.SAGITTAL_T2, SeriesType.AXIAL_T2


def volume(path: Path, step: tuple[float, float, float], **changes: object) -> Path:
    """A volume whose axes are right, anterior, superior; its file's third axis is the patient's long one."""
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([*step, 1.0]))
    if "slice_axis" in changes:
        image.header.set_dim_info(slice=changes["slice_axis"])
    nib.save(image, path)
    if "sidecar" in changes:
        path.with_name("volume.json").write_text(json.dumps(changes["sidecar"]))
    return path


@pytest.mark.parametrize(
    ("step", "changes", "refused"),
    [
        ((0.9, 0.9, 0.9), {}, ()),  # nothing shows a plane: it can be cut in any
        ((0.9, 0.9, 4.0), {}, (T2,)),
        ((4.0, 0.9, 0.9), {}, (AXIAL,)),
        ((0.9, 0.9, 1.0), {}, (T2,)),
        ((1.0, 0.9, 0.9), {}, (AXIAL,)),
        ((0.9, 1.0, 0.9), {}, (T2, AXIAL)),
        ((0.9, 0.9, 0.92), {}, ()),
        ((0.8, 0.9, 1.0), {}, ()),  # no square pixels: nothing is odd
        ((0.9, 0.9, 0.9), {"sidecar": {"Plane": "axial"}}, (T2,)),
        ((0.9, 0.9, 0.9), {"sidecar": {"SeriesDescription": "T2 SPACE SAG"}}, (AXIAL,)),
        ((0.9, 0.9, 1.0), {"sidecar": {"Plane": "sagittal"}}, (AXIAL,)),
        ((0.9, 0.9, 0.9), {"slice_axis": 2}, (T2,)),
        ((0.9, 0.9, 0.9), {"slice_axis": 0}, (AXIAL,)),
        ((4.0, 0.9, 0.9), {"sidecar": {"Plane": "axial"}}, (AXIAL,)),  # thick slices are seen, words may be wrong
    ],
)
def test_a_plane_that_is_shown_must_be_that_of_the_series_type(
    step: tuple, changes: dict, refused: tuple, tmp_path: Path
) -> None:
    path = volume(tmp_path / "volume.nii.gz", step, **changes)
    for series_type in (T2, AXIAL):
        if series_type in refused:
            with pytest.raises(InvalidVolumeError, match=f"expected .* slices for {series_type.title}"):
                check_plane(path, series_type)
        else:
            check_plane(path, series_type)


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    check_plane(volume(tmp_path / "volume.nii", (4.0, 0.9, 0.9)), T2)
    with pytest.raises(InvalidVolumeError):
        check_plane(volume(tmp_path / "volume.nii", (0.9, 0.9, 14.25)), T2)


def test_a_name_is_not_believed_against_the_plane(tmp_path: Path) -> None:
    verdict = series_verdict(volume(tmp_path / "sagittal_t2.nii.gz", (0.9, 0.9, 1.0)))
    assert verdict.series_type is None
    assert verdict.reason == "its name says Sagittal T2/STIR, but its slices are axial"


@pytest.fixture
def record(tmp_path: Path) -> dict:
    """A study of a datalist that says that its axial series is a sagittal one."""
    series = write_study(tmp_path / "study", np.random.default_rng(0))
    wrong = {**series, T2.value: series[AXIAL.value], AXIAL.value: []}
    return {"study_id": "study", **{name: [str(tmp_path / file) for file in files] for name, files in wrong.items()}}


def test_crops_of_a_training_are_not_cut_out_of_another_plane(record: dict) -> None:
    with pytest.raises(InvalidVolumeError, match="expected sagittal slices"):
        open_study(record, list(SeriesType), open_stack)
    study = open_study(record, list(SeriesType), open_stack, leave_out_bad=True)
    assert not study.stacks[T2]
    assert "expected sagittal slices" in study.refused[0]


def test_whole_studies_of_a_training_do_not_hold_another_plane(record: dict) -> None:
    grid = StudyGridd(size=(4, 4, 4), step=(9.0, 9.0, 9.0), transform=Identityd("image"))
    with pytest.raises(InvalidVolumeError, match="expected sagittal slices"):
        grid(record)


def test_a_volume_of_another_plane_is_not_usable(record: dict, caplog: pytest.LogCaptureFixture) -> None:
    (usable,) = with_usable_volumes([record])
    assert usable[T2.value] == []
    assert len(usable[SeriesType.SAGITTAL_T1.value]) == 1
    assert "expected sagittal slices" in caplog.text
