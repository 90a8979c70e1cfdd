"""Masks as targets: their places in the patient, what is unknown, folds, and what is refused."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.geometry import to_voxel
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS
from monai_spine.measures.masks import IMAGE, MASK, MaskedGridd, masked_volumes
from monai_spine.measures.region_overlap import RegionOverlap

AFFINE = np.array([[4.0, 0, 0, -16], [0, 0.7, 0, -60], [0, 0, 0.7, -70], [0, 0, 0, 1.0]])
SHAPE = (9, 180, 210)
BOXES = {  # number in the mask: boxes of columns (forwards) and rows (upwards), in mm
    "vertebra": [((0, 30), (-30, -8)), ((0, 30), (8, 30)), ((-50, -38), (-30, 30))],
    "disc": [((0, 30), (-8, 8)), ((0, 30), (-46, -30))],
    "canal": [((-14, -2), (-60, 60))],
}


def write_study(folder: Path, numbers: dict[str, int], axes: str = "RAS") -> None:
    """A volume with a mask: an upper body, a disc, a body, a lowest disc, the canal, and an arch behind it."""
    y = AFFINE[1, 3] + 0.7 * np.arange(SHAPE[1])[None, :, None]
    z = AFFINE[2, 3] + 0.7 * np.arange(SHAPE[2])[None, None, :]
    mask = np.zeros(SHAPE)
    for name, boxes in BOXES.items():
        for (back, front), (low, high) in boxes:
            mask[np.broadcast_to((y >= back) & (y < front) & (z >= low) & (z < high), SHAPE)] = numbers[name]
    image = mask * 40 + np.random.default_rng(0).uniform(0, 10, SHAPE)
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(axes))
    folder.mkdir(parents=True)
    for name, values in ((IMAGE, image), (MASK, mask)):
        turned = apply_orientation(values.astype(np.float32), turn)
        nibabel.save(nibabel.Nifti1Image(turned, AFFINE @ inv_ornt_aff(turn, SHAPE)), folder / name)


def record(folder: Path) -> dict[str, str]:
    return {"image": str(folder / IMAGE), "label": str(folder / MASK), "study_id": folder.name}


SIMPLE = {"vertebra": 1, "disc": 2, "canal": 3}


@pytest.mark.parametrize("axes", ["RAS", "PIR", "LSP"])
@pytest.mark.parametrize("numbers", [SIMPLE, {"vertebra": 4, "disc": 205, "canal": 100}])
def test_regions_lie_where_the_mask_has_them_however_it_is_stored(tmp_path, axes, numbers):
    write_study(tmp_path / "s", numbers, axes)
    published = {"vertebra": (1, 99), "disc": (201, 299), "canal": (100, 100)}
    grid = MaskedGridd() if numbers is SIMPLE else MaskedGridd(numbers=published)
    item = grid(record(tmp_path / "s"))
    assert item["image"].shape == item["label"].shape
    label = item["label"][0].numpy()
    places = {
        (0.0, 15.0, 19.0): "body",
        (0.0, 15.0, -19.0): "body",
        (0.0, 15.0, 0.0): "disc",
        (0.0, 15.0, -37.0): "disc",
        (0.0, -8.0, 40.0): "canal",
        (0.0, -44.0, 10.0): "background",  # an arch
        (0.0, 15.0, -49.0): "sacrum",
        (0.0, -18.0, 10.0): "background",
    }
    for place, region in places.items():
        x, y, z = np.rint(to_voxel(item["affine"], np.array(place))).astype(int)
        assert label[x, y, z] == REGIONS.index(region), (place, region)


def test_far_from_all_marks_and_beside_the_lowest_disc_nothing_is_known(tmp_path):
    write_study(tmp_path / "s", SIMPLE)
    item = MaskedGridd()(record(tmp_path / "s"))
    for place in ((0.0, 50.0, 20.0), (0.0, 15.0, -57.0)):
        x, y, z = np.rint(to_voxel(item["affine"], np.array(place))).astype(int)
        assert item["label"][0, x, y, z] == -1


def test_the_image_is_the_one_that_the_network_sees_in_use(tmp_path):
    from monai_spine.data.volume import read_volume
    from monai_spine.measures.regions import STEP_MM

    write_study(tmp_path / "s", SIMPLE)
    item = MaskedGridd()(record(tmp_path / "s"))
    image, affine = sagittal_grid(read_volume(tmp_path / "s" / IMAGE), "s", STEP_MM)
    assert np.array_equal(item["image"][0].numpy(), image)
    assert np.array_equal(item["affine"], affine)


def test_a_mask_of_another_volume_and_one_without_canal_are_refused(tmp_path):
    write_study(tmp_path / "s", SIMPLE)
    write_study(tmp_path / "empty", {**SIMPLE, "canal": 0})
    with pytest.raises(InvalidVolumeError, match="canal and discs"):
        MaskedGridd()(record(tmp_path / "empty"))
    mask = nibabel.load(tmp_path / "s" / MASK)
    moved = mask.affine + np.eye(4) * [[0], [0], [0], [0]]
    moved[1, 3] += 3.0
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(mask.dataobj), moved), tmp_path / "s" / MASK)
    with pytest.raises(InvalidVolumeError, match="one shape and place"):
        MaskedGridd()(record(tmp_path / "s"))


def test_each_study_is_validated_in_one_fold_and_learnt_from_in_the_others(tmp_path):
    for name in "abcdef":
        (tmp_path / name).mkdir()
        for file in (IMAGE, MASK):
            (tmp_path / name / file).touch()
    folds = [masked_volumes(tmp_path, fold) for fold in range(4)]
    assert sorted(one["study_id"] for _, validation in folds for one in validation) == list("abcdef")
    for training, validation in folds:
        assert sorted(one["study_id"] for one in [*training, *validation]) == list("abcdef")
        assert all(len(one[name]) == 0 for one in training for name in LANDMARKS)
    training, validation = masked_volumes(tmp_path, 1, learn_from_all=True)
    assert (len(training), len(validation)) == (6, 2)
    with pytest.raises(MissingInputError, match="4 studies or more"):
        masked_volumes(tmp_path / "a", 0)


def test_overlap_is_zero_for_the_truth_and_one_for_another_region():
    label = np.zeros((4, 2, 6, 6))
    label[3, :, :3], label[3, :, 3:, :2], label[3, 0, 5, 5] = 2, 3, -1
    wanted = label[3].astype(int)
    for regions, figure in ((wanted, 0.0), (np.where(wanted == 2, 3, 2), 1.0)):
        pred = np.zeros((8, 2, 6, 6))
        for number in range(5):
            pred[3 + number] = regions == number
        metric = RegionOverlap()
        metric.update([{"pred": pred, "label": label}])
        assert metric.compute() == pytest.approx(figure)
