"""Crops from the cache: the same as from the volumes, and never stale."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.crops.augmentation import Augmentation
from monai_spine.crops.cache import CropCache, crop_extent
from monai_spine.crops.frame import level_frames
from monai_spine.crops.pose import Pose, crop_grid
from monai_spine.crops.sampling import sample
from monai_spine.crops.stack import open_stack
from monai_spine.crops.study import open_study
from monai_spine.crops.view import Interpolation, View
from monai_spine.errors import InvalidVolumeError
from monai_spine.spine import Level, SeriesType
from monai_spine.transforms.level_crops import LevelCropsd
from tests.monai_spine.crops.worlds import box_affine, leaning, moved, spine_points, stack_of
from tests.monai_spine.transforms.test_level_crops import VIEWS, write_study

LIMITS = Augmentation()
NAMES = [view.name for view in VIEWS]


@pytest.fixture
def study(tmp_path: Path) -> dict:
    return write_study(tmp_path / "study")


def transform(folder: Path | None, **options) -> LevelCropsd:
    return LevelCropsd(views=VIEWS, augmentation=LIMITS, cache_dir=folder, **options).set_random_state(5)


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def test_crops_from_the_cache_are_those_from_the_volumes_up_to_rounding(study: dict, tmp_path: Path) -> None:
    plain, first, second = transform(None), *(transform(tmp_path / "c") for _ in range(2))
    for _ in range(2):
        expected, fresh, cached = plain(study), first(study), second(study)
        for name in NAMES:
            assert torch.equal(fresh[name], cached[name])
            assert (cached[name] - expected[name]).abs().max() <= 0.5 / 255 + 1e-5
            for key in (f"{name}_mask", f"{name}_series"):
                assert torch.equal(cached[key], expected[key])
            assert cached[f"{name}_reason"] == expected[f"{name}_reason"]


def test_the_volumes_are_not_read_again(study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transform(tmp_path / "c")(study)
    again = transform(tmp_path / "c")
    monkeypatch.setattr(again.opened, "open", lambda path: pytest.fail(f"{path} was opened"))
    again(study)


def test_the_file_is_hardly_larger_than_its_voxels_and_the_same_to_the_byte_every_time(
    study: dict, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        transform(tmp_path / folder)(study)
    (a,), (b,) = files(tmp_path / "a"), files(tmp_path / "b")
    assert a.read_bytes() == b.read_bytes()
    cache = CropCache(tmp_path / "a", VIEWS, LIMITS)
    held = cache.stacks(study, lambda: pytest.fail("not held"))
    content = sum(stack.voxels.nbytes for group in held.stacks.values() for stack in group)
    assert content < a.stat().st_size <= 1.1 * content
    assert str(tmp_path).encode() not in a.read_bytes()


def test_other_parameters_have_a_file_of_their_own(study: dict, tmp_path: Path) -> None:
    options = [
        {},
        {"augmentation": replace(LIMITS, rotation=20.0)},
        {"views": (replace(VIEWS[0], gap_mm=3.0), *VIEWS[1:])},
        {"views": VIEWS[:2]},
    ]
    for n, changed in enumerate(options, start=1):
        given = {"views": VIEWS, "augmentation": LIMITS, **changed}
        LevelCropsd(cache_dir=tmp_path / "c", **given)(study)
        assert len(files(tmp_path / "c")) == n


def test_changed_points_or_volumes_replace_the_file(study: dict, tmp_path: Path) -> None:
    once = transform(tmp_path / "c")(study)["canal"]
    lower = {**study, "points": moved(spine_points(), np.eye(3), np.array([0.0, 0.0, -12.0]))}
    assert not torch.allclose(transform(tmp_path / "c")(lower)["canal"], once, atol=0.05)
    assert torch.equal(transform(tmp_path / "c")(lower)["canal"], transform(tmp_path / "d")(lower)["canal"])
    path = study["sagittal_t2"][0]
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.array(image.dataobj)[::-1], image.affine), path)
    os.utime(path, ns=(1, 1))
    assert not torch.allclose(transform(tmp_path / "c")(study)["canal"], once, atol=0.05)
    assert len(files(tmp_path / "c")) == 1


def test_labels_are_no_part_of_it(study: dict, tmp_path: Path) -> None:
    transform(tmp_path / "c")(study)
    relabelled = {**study, "label": np.zeros(25, dtype=np.int64)}
    assert (transform(tmp_path / "c")(relabelled)["label"] == 0).all()


@pytest.mark.parametrize("keep", [0, 5, 300, -7])
def test_a_file_cut_short_is_made_anew(study: dict, tmp_path: Path, keep: int) -> None:
    expected = transform(tmp_path / "c")(study)
    (file,) = files(tmp_path / "c")
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert torch.equal(transform(tmp_path / "c")(study)["disc"], expected["disc"])
    assert file.read_bytes() == whole


def test_what_could_not_be_used_is_still_said(study: dict, tmp_path: Path) -> None:
    path = study["sagittal_t1"][0]
    Path(path).write_bytes(Path(path).read_bytes()[:5000])
    reasons = [transform(tmp_path / "c", bad_volume="mask")(study)["foramina_reason"] for _ in range(2)]
    assert reasons[0] == reasons[1]
    assert "cut short" in reasons[0][0]
    with pytest.raises(InvalidVolumeError, match="cut short"):
        transform(tmp_path / "c")(study)


def _hold(task: tuple[dict, Path]) -> bytes:
    """Voxels of all stacks; nothing of torch, whose threads do not outlive a fork."""
    record, folder = task
    held = CropCache(folder, VIEWS, LIMITS).stacks(record, lambda: open_study(record, tuple(SeriesType), open_stack))
    return b"".join(stack.voxels.tobytes() for group in held.stacks.values() for stack in group)


def test_two_processes_at_once_get_the_same_and_leave_one_file(study: dict, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        held = list(pool.map(_hold, [(study, tmp_path / "c")] * 6))
    assert held == [held[0]] * 6
    assert len(files(tmp_path / "c")) == 1


@lru_cache(maxsize=2)
def noise(size: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).random(size, dtype=np.float32)


signs = st.sampled_from([-1.0, 0.0, 1.0])
shares = st.floats(-1.0, 1.0) | signs


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0, 25),
    st.builds(replace, st.sampled_from(VIEWS), interpolation=st.sampled_from(list(Interpolation))),
    st.lists(shares, min_size=9, max_size=9),
    st.sampled_from([0.0, 5.0, 15.0]),
)
def test_no_pose_within_the_limits_asks_for_a_voxel_that_is_not_held(
    seed: int, lean: float, view: View, drawn: list[float], tilt: float
) -> None:
    limits = replace(LIMITS, tilt=tilt)
    frame = level_frames(spine_points())[Level.L3_L4]
    x = [drawn[n] for n in range(9)]
    pose = Pose(
        rotation=x[0] * limits.rotation,
        tilt=(x[1] * tilt, x[2] * tilt),
        scale=(1.0 + limits.scale) ** x[3],
        shift=(x[4] * limits.shift_mm, x[5] * limits.shift_mm, x[6] * limits.slice_shift_mm),
        jitter=(2 * x[7] * limits.jitter_mm, 2 * x[8] * limits.jitter_mm, -2 * x[7] * limits.jitter_mm),
    )
    size, step = ((25, 120, 130), (4.0, 0.9, 1.1)) if view.plane.value == "sagittal" else ((130, 120, 25), (1, 0.9, 4))
    whole = stack_of(noise(size), box_affine(size, step, leaning(lean, seed))).turned(frame.basis @ view.directions)
    held = whole.trimmed(crop_extent(view, frame, whole, limits))
    assert held.voxels.size < whole.voxels.size
    grid = crop_grid(view, frame, pose)
    assert np.array_equal(sample(held, grid, view.interpolation)[0], sample(whole, grid, view.interpolation)[0])
