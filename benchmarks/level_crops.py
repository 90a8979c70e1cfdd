"""Level crops side by side: ours, MONAI's Spacingd chain eager and lazy, TorchIO where it is installed.

python benchmarks/level_crops.py [FOLDER] [ROUNDS]

One crop of 24 × 128 × 128 out of a sagittal volume of 384 × 384 × 17, from disk to normalised pixels, on one thread.
All take turns in one run; times are processor time. Ours opens the file anew every time; "cache" reads the study's file
of the cache and draws a pose. The peers neither turn nor tilt. A median far above the least time means that the machine
was busy: then trust the ratio of the least.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRangePercentilesd,
    Spacingd,
    SpatialCropd,
)

from monai_spine.crops.augmentation import Augmentation
from monai_spine.crops.cache import CropCache
from monai_spine.crops.frame import level_frames
from monai_spine.crops.pose import Pose, crop_grid
from monai_spine.crops.sampling import sample
from monai_spine.crops.stack import StackCache, open_stack
from monai_spine.crops.study import open_study, source_of
from monai_spine.crops.view import View
from monai_spine.data.volume import WINDOW
from monai_spine.geometry import grid_affine
from monai_spine.spine import Condition, Finding, Level, SeriesType
from monai_spine.transforms.level_crops import LevelCropsd

SIZE, STEP = (17, 384, 384), (4.4, 0.65, 0.65)
VIEW = View(name="canal", plane="sagittal", series=("sagittal_t2",), slices=24, gap_mm=2.0, interpolation="linear")
NATIVE = replace(VIEW, interpolation="native", gap_mm=4.0)
PITCH_MM = 32.0
TURNED, TILTED = Pose(rotation=12.0), Pose(rotation=12.0, tilt=(4.0, -3.0))
LIMITS = Augmentation()


def write_volume(path: Path) -> Path:
    """Smooth shapes under noise, sagittal slices along the third axis as scanners have them."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE), indexing="ij", sparse=True)
    shapes = 500 + 250 * np.sin(9 * y + 3 * x) * np.cos(11 * z) + 150 * np.sin(31 * y * z)
    voxels = np.clip(shapes + rng.normal(0, 18, SIZE), 0, 4095).astype(np.int16)
    image = nib.Nifti1Image(voxels, grid_affine(np.zeros(3), SIZE, STEP))
    order = nib.orientations.axcodes2ornt(("P", "I", "L"))
    nib.save(
        image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.io_orientation(image.affine), order)), path
    )
    return path


def points() -> dict:
    """A straight spine along the volume's axes, so that nothing leans."""
    canal = (Finding(Condition.SPINAL_CANAL_STENOSIS, level) for level in Level)
    return {finding.name: (0.0, 0.0, PITCH_MM * (2 - n)) for n, finding in enumerate(canal)}


def ours(path: Path, view: View, pose: Pose) -> torch.Tensor:
    """From the file to a crop; nothing is kept from before."""
    stack = open_stack(path)
    frame = level_frames(points())[Level.L3_L4]
    source = source_of(view, Level.L3_L4, frame, {SeriesType.SAGITTAL_T2: (stack,)})
    return sample(source.stack, crop_grid(view, frame, pose), view.interpolation)[0]


def monai_chain(lazy: bool) -> Compose:
    """What a user of MONAI would write."""
    pixel = VIEW.size_mm[0] / VIEW.pixels[0]
    centre = [round(n * step / new / 2) for n, step, new in zip(SIZE, STEP, (VIEW.gap_mm, pixel, pixel), strict=True)]
    steps = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        ScaleIntensityRangePercentilesd("image", *WINDOW, 0.0, 1.0, clip=True),
        Orientationd("image", "RAS", labels=None),
        Spacingd("image", pixdim=(VIEW.gap_mm, pixel, pixel), mode="bilinear"),
        SpatialCropd("image", roi_center=centre, roi_size=VIEW.shape),
    ]
    return Compose(steps, lazy=lazy)


def torchio_chain():
    """What a user of TorchIO would write, or None."""
    try:
        import torchio as tio
    except ImportError:
        return None
    pixel = VIEW.size_mm[0] / VIEW.pixels[0]
    chain = tio.Compose(
        [
            tio.ToCanonical(),
            tio.RescaleIntensity((0, 1), percentiles=WINDOW),
            tio.Resample((VIEW.gap_mm, pixel, pixel)),
            tio.CropOrPad(VIEW.shape),
        ]
    )
    return lambda path: chain(tio.ScalarImage(path)).data


def cached(path: Path, folder: Path, view: View):
    """A function that reads the study's file and cuts one level with the next random pose."""
    cache = CropCache(folder, (view,), LIMITS)
    record = {"study_id": "1", "sagittal_t2": [str(path)], "points": points()}
    volumes = StackCache(0)
    random = np.random.RandomState(0)

    def cut() -> torch.Tensor:
        stacks = cache.stacks(record, lambda: open_study(record, (SeriesType.SAGITTAL_T2,), volumes.open))
        frame = level_frames(record["points"], stacks.axis)[Level.L3_L4]
        source = source_of(view, Level.L3_L4, frame, stacks.stacks)
        pose = LIMITS.draw(random, LIMITS.draw_jitter(random))
        return sample(source.stack, crop_grid(view, frame, pose), view.interpolation)[0]

    cut()
    cached = cache.stacks(record, lambda: None)
    content = sum(stack.voxels.nbytes for group in cached.stacks.values() for stack in group)
    print(f"cache file: {cache.path('1').stat().st_size / content:.4f} × the voxels that it holds")
    return cut


def take_turns(work: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Median and least milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, job in work.items():
            start = time.process_time()
            job()
            if turn:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: (float(np.median(taken)), min(taken)) for name, taken in times.items()}


def main(folder: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    path = write_volume(folder / "sagittal_t2.nii")
    eager, lazy, tio = monai_chain(lazy=False), monai_chain(lazy=True), torchio_chain()
    study = {"study_id": "1", "sagittal_t2": [str(path)], "sagittal_t1": [str(path)], "points": points()}
    whole = LevelCropsd(augmentation=LIMITS)
    whole_cached = LevelCropsd(augmentation=LIMITS, cache_dir=folder / "whole")
    work = {
        "MONAI Spacingd chain": lambda: eager({"image": path}),
        "MONAI Spacingd chain, lazy": lambda: lazy({"image": path}),
        **({"TorchIO": lambda: tio(path)} if tio else {}),
        "ours, linear": lambda: ours(path, VIEW, Pose()),
        "ours, linear, turned in the plane": lambda: ours(path, VIEW, TURNED),
        "ours, linear, tilted": lambda: ours(path, VIEW, TILTED),
        "ours, native": lambda: ours(path, NATIVE, Pose()),
        "ours, native, tilted": lambda: ours(path, NATIVE, TILTED),
        "ours, native, cache and augmentation": cached(path, folder / "native", NATIVE),
        "ours, linear, cache and augmentation": cached(path, folder / "linear", VIEW),
        "LevelCropsd, a study of 110 planes": lambda: whole(study),
        "LevelCropsd, the same from the cache": lambda: whole_cached(study),
    }
    taken = take_turns(work, rounds)
    median, least = taken["MONAI Spacingd chain"]
    print(f"\n{'':40}{'median ms':>10}{'least ms':>10}{'× MONAI, medians':>18}{'least':>8}")
    for name, (mid, low) in taken.items():
        print(f"{name:40}{mid:10.2f}{low:10.2f}{median / mid:18.1f}{least / low:8.1f}")
    if any(mid > 1.5 * low for mid, low in taken.values()):
        print("medians are far above the least: the machine was busy")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch), int(sys.argv[2]) if len(sys.argv) > 2 else 15)
