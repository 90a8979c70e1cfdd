from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Lambdad, RandGaussianNoised

from monai_spine.bundle.errors import explanation
from monai_spine.data.volume import WINDOW
from monai_spine.errors import InvalidOptionError, InvalidVolumeError, MissingInputError
from monai_spine.geometry import to_voxel, to_world
from monai_spine.spine import FINDINGS, SeriesType, Side
from monai_spine.transforms.study_grid import (
    AverageDownd,
    RandLateralFlipd,
    RandStudyGridd,
    SliceChannelsd,
    StudyGridd,
    flipped,
)
from tests.bundles.runs import files
from tests.cohorts import SHAPE, affine_of, write_volume
from tests.monai_spine.test_geometry import AXIS_ORDERS, affine

T1, T2 = SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2


def study_grid(size: tuple, step: tuple, *, inserted: dict | None = None) -> StudyGridd:
    """`StudyGridd` with the stack transforms of the shipped config, and one more at their end."""
    parser = ConfigParser()
    parser.read_config(files("inference"))
    parser["stack_transforms"] = [*parser["stack_transforms"], *([inserted] if inserted else [])]
    parser["grid_size"], parser["grid_step"] = list(size), list(step)
    return parser.get_parsed_content("reading")[0]


def image_of(folder: Path, size: tuple, step: tuple, *stacks: tuple[np.ndarray, np.ndarray], **changes) -> MetaTensor:
    """The image of a study that has these sagittal T2 stacks alone: voxels and affine."""
    paths = [str(write_volume(folder / f"{n}.nii", *stack)) for n, stack in enumerate(stacks)]
    return study_grid(size, step, **changes)({"study_id": "1", T2.value: paths})["image"]


INTENSITY, COVERAGE = 1, 4
"""Channels of sagittal T2."""


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_a_bright_voxel_lands_where_it_lies_in_the_patient_in_all_48_storage_orders(
    matrix: np.ndarray, tmp_path: Path
) -> None:
    stored = affine(matrix, np.array([2.0, 2.0, 2.0]), np.zeros(3))
    middle = stored[:3, :3] @ np.array([7.0, 7, 7])
    voxels = np.random.default_rng(0).normal(0, 0.01, (15, 15, 15)).astype(np.float32)
    voxels[tuple(np.round(to_voxel(stored, middle + np.array([6.0, -4.0, 8.0]))).astype(int))] = 9
    image = image_of(tmp_path, (15, 15, 15), (2, 2, 2), (voxels, stored))
    # Of the noise, 1 % reaches the upper percentile; one voxel in 3,375 is not there by chance in 48 orders.
    assert image[INTENSITY][7 + 3, 7 - 2, 7 + 4] == 1
    assert np.allclose(to_world(image.affine.numpy(), [10, 5, 11]), middle + np.array([6.0, -4.0, 8.0]))


@pytest.mark.parametrize("gap", [1, 7], ids=["many slices", "one slice"])
def test_a_linear_field_is_sampled_exactly(gap: int, tmp_path: Path) -> None:
    shape = (10, 9, 8 // gap)
    stored = affine(np.eye(3), np.array([4.0, 3.0, 2.0]), np.array([5.0, 6.0, 7.0]))
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    field = (2.0 * i - 3.0 * j + 4.0 * k).astype(np.float32)
    image = image_of(tmp_path, (3, 4, shape[2]), (2.0, 2.5, 1.5), (field, stored))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (3, 4, shape[2])), indexing="ij"), -1)
    voxel = to_voxel(stored, to_world(image.affine.numpy(), index))
    low, high = np.percentile(field, WINDOW)
    expected = np.clip((voxel @ np.array([2.0, -3.0, 4.0]) - low) / (high - low), 0, 1)
    assert image[COVERAGE].bool().all()
    assert np.allclose(image[INTENSITY].numpy(), expected, atol=1e-4)


def test_outside_of_a_stack_nothing_is_covered(tmp_path: Path) -> None:
    image = image_of(tmp_path, (8, 4, 4), (1, 1, 1), (np.ones((4, 4, 4), dtype=np.float32), np.eye(4)))
    assert image[COVERAGE][:2].sum() == image[COVERAGE][6:].sum() == 0
    assert image[COVERAGE][2:6].all()


def test_where_stacks_overlap_the_mean_is_taken_and_covered_once(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 4, 4)
    image = image_of(tmp_path, (4, 4, 4), (1, 1, 1), (ramp, np.eye(4)), (1 - ramp, np.eye(4)))
    assert torch.allclose(image[INTENSITY][1:3].as_tensor(), torch.full((2, 4, 4), 0.5), atol=0.02)
    assert image[COVERAGE].max() == 1


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = torch.zeros(1, 64, 64, 4)
    stripes[:, :48:2] = 1
    record = {"image": MetaTensor(stripes, affine=torch.diag(torch.tensor([0.5, 0.5, 4.0, 1.0])))}
    record["grid"] = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])))
    averaged = AverageDownd("image", "grid")(record)["image"]
    assert averaged.shape == (1, 16, 16, 4)
    assert averaged[0, :12].unique().tolist() == [0.5]
    assert averaged.affine.diag().tolist() == [2.0, 2.0, 4.0, 1.0]
    assert averaged.affine[:3, 3].tolist() == [0.75, 0.75, 0.0]


def test_a_study_becomes_intensities_then_coverage_in_the_order_of_the_series(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).gamma(2, 100, SHAPE).astype(np.int16)
    image = image_of(tmp_path, (6, 8, 10), (4, 3, 3), (voxels, affine_of(T2, (10, 20, 30))))
    assert image.shape == (6, 6, 8, 10)
    assert image.dtype == torch.float32
    assert image[[0, 2, 3, 5]].abs().sum() == 0
    assert image[COVERAGE].all()
    assert 0 <= image[INTENSITY].min() <= image[INTENSITY].max() <= 1


def test_a_nearly_empty_image_stays_between_0_and_1(tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, dtype=np.int16)
    voxels[10, 12, 4] = 4000
    image = image_of(tmp_path, (9, 24, 20), (4, 6, 6), (voxels, affine_of(T2)))
    assert image.max() == 1
    assert image[INTENSITY].sum() == pytest.approx(1, abs=0.01)


def test_a_study_without_any_series_is_refused_by_name() -> None:
    with pytest.raises(InvalidVolumeError, match="study 17"):
        study_grid((2, 2, 2), (1, 1, 1))({"study_id": "17"})


def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    grid = study_grid((2, 2, 2), (1, 1, 1))
    good = write_volume(tmp_path / "good.nii.gz", np.random.default_rng(0).random((20, 20, 20)), np.eye(4))
    bad = write_volume(tmp_path / "nan.nii", np.full((2, 2, 2), np.nan, dtype=np.float32), np.eye(4))
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:9000])
    for path, error, message in (
        (tmp_path / "absent.nii", MissingInputError, "there is no file"),
        (bad, InvalidVolumeError, "nan.nii: expected finite voxel values"),
        (cut, InvalidVolumeError, "cut.nii.gz: expected a NIfTI volume, but the file is damaged or cut short"),
    ):
        with pytest.raises(error, match=message):
            grid({"study_id": "1", T2.value: [str(path)]})


def test_a_transform_that_leaves_the_grid_is_refused(tmp_path: Path) -> None:
    stack = (np.random.default_rng(0).random(SHAPE), affine_of(T2))
    crop = {"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": [2, 2, 2]}
    with pytest.raises(InvalidOptionError, match=r"'image' of the shape \(1, 4, 4, 4\), but found the shape"):
        image_of(tmp_path, (4, 4, 4), (4, 4, 4), stack, inserted=crop)
    with pytest.raises(InvalidOptionError, match=r"'covered' .* only"):
        image_of(tmp_path, (4, 4, 4), (4, 4, 4), stack, inserted={"_target_": "DeleteItemsd", "keys": "covered"})


def test_an_error_of_an_inserted_transform_stays_what_it_is(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", np.random.default_rng(0).random(SHAPE), affine_of(T2))
    broken = StudyGridd(size=(2, 2, 2), step=(1, 1, 1), transform=Compose([Lambdad("nothing", torch.abs)]))
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        broken({"study_id": "1", T2.value: [str(path)]})
    assert explanation(caught.value) is None


def test_a_random_transform_of_stacks_is_drawn_anew_and_follows_the_seed(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", np.random.default_rng(0).random(SHAPE), affine_of(T2))
    noise = Compose([study_grid((4, 4, 4), (4, 4, 4)).transform, RandGaussianNoised("image", prob=1.0)])
    with pytest.raises(InvalidOptionError, match="found RandGaussianNoised; use RandStudyGridd"):
        StudyGridd(size=(4, 4, 4), step=(4, 4, 4), transform=noise)
    grid = RandStudyGridd(size=(4, 4, 4), step=(4, 4, 4), transform=noise)
    cached = CacheDataset([{T2.value: [str(path)]}], grid, progress=False)
    assert not torch.equal(cached[0]["image"], cached[0]["image"])
    one, other, again = (grid.set_random_state(seed)({T2.value: [str(path)]})["image"] for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_cached_study_is_read_once(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", np.random.default_rng(0).random(SHAPE), affine_of(T2))
    cached = CacheDataset([{T2.value: [str(path)]}], study_grid((4, 4, 4), (4, 4, 4)), progress=False)
    path.unlink()
    assert cached[0]["image"].shape == (6, 4, 4, 4)


def test_slices_become_channels_series_by_series() -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4, 3, 5)))
    channels = SliceChannelsd("image")({"image": image})["image"]
    assert channels.shape == (24, 3, 5)
    assert torch.equal(channels[4:8], image[1])


def test_slices_as_channels_keep_the_affine_of_their_plane() -> None:
    matrix = np.diag([6.0, 2.5, 2.0, 1.0])
    matrix[:3, 3] = 7, 8, 9
    image = MetaTensor(torch.rand(2, 4, 3, 5), affine=torch.from_numpy(matrix))
    channels = SliceChannelsd("image")({"image": image})["image"]
    assert channels.affine.tolist() == [[2.5, 0, 8], [0, 2, 9], [0, 0, 1]]


def study(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.normal(size=(6, 4, 3, 5)))
    return {"study_id": "1", "image": image, "label": rng.integers(0, 3, 25)}


def test_flipping_twice_changes_nothing() -> None:
    given = study()
    twice = flipped(flipped(given))
    assert torch.equal(twice["image"], given["image"])
    assert np.array_equal(twice["label"], given["label"])


def test_a_left_finding_becomes_the_right_one_of_its_level() -> None:
    given = study()
    given["label"][:] = 0
    left = next(n for n, f in enumerate(FINDINGS) if f.condition.side is Side.LEFT)
    given["label"][left] = 2
    label = flipped(given)["label"]
    assert label[FINDINGS.index(FINDINGS[left].flipped)] == 2
    assert label.sum() == 2


def test_soft_labels_go_with_their_findings() -> None:
    label = torch.arange(25) % 3
    given = {"image": torch.zeros(1, 4, 2, 2), "label": label, "soft_label": torch.nn.functional.one_hot(label, 3)}
    found = flipped(given)
    assert torch.equal(found["soft_label"].argmax(dim=1), found["label"])
    assert not torch.equal(found["label"], label)


def test_the_image_is_reversed_along_the_left_right_axis_alone() -> None:
    given = study()
    assert torch.equal(flipped(given)["image"], given["image"][:, [3, 2, 1, 0]])


def test_probability_0_never_flips_and_1_always_does() -> None:
    given = study()
    assert torch.equal(RandLateralFlipd(prob=0.0)(given)["image"], given["image"])
    assert torch.equal(RandLateralFlipd(prob=1.0)(given)["image"], flipped(given)["image"])


def test_half_of_the_studies_are_flipped_and_the_seed_decides_which() -> None:
    given = study()

    def draws(seed: int) -> list[bool]:
        transform = RandLateralFlipd(prob=0.5).set_random_state(seed)
        return [not torch.equal(transform(given)["image"], given["image"]) for _ in range(200)]

    assert draws(1) == draws(1) != draws(2)
    assert 60 < sum(draws(1)) < 140
