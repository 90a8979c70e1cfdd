"""The level localizer on volumes that are turned, inverted, coarse, cut, flipped or mislabelled.

    python benchmarks/localizer_robustness.py DATA/datalist.json [--studies 20] [--bundle BUNDLE]

Prints a Markdown table with a row for each change: volumes; those refused, without a spine, with uncertain levels;
volumes with a wrong level, and those of them without a flag; mean error in mm of the canal points of the volumes with
right levels, and the share within 5 mm in the sagittal plane; points more than 10 mm off without a flag.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter1d

from monai_spine.bundle.shipped import LEVEL_LOCALIZER as BUNDLE
from monai_spine.data.datalist import read_datalist
from monai_spine.data.volume import Volume, read_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import contains
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.assessment import compare, true_points
from monai_spine.spine import SeriesType

SERIES_TYPES = (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)
FAR_MM = 10.0
TITLES = (
    "volumes",
    "n",
    "refused",
    "no spine",
    "uncertain",
    "levels off",
    "not flagged",
    "canal mm",
    "within 5 mm",
    "far, no flag",
)
Change = Callable[[Volume], Volume]


def _axes(volume: Volume) -> tuple[int, int, int]:
    """The array's axes that are closest to the directions right, anterior and superior."""
    nearest = np.abs(volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)).argmax(axis=1)
    right, anterior, superior = (int(n) for n in nearest)
    return right, anterior, superior


def turned(degrees: float) -> Change:
    """The patient turned in the sagittal plane, about the volume's middle."""

    def change(volume: Volume) -> Volume:
        _, anterior, superior = _axes(volume)
        step = np.linalg.norm(volume.affine[:3, :3], axis=0)
        angle = np.radians(degrees)
        matrix = np.eye(3)
        matrix[anterior, anterior] = matrix[superior, superior] = np.cos(angle)
        matrix[anterior, superior], matrix[superior, anterior] = -np.sin(angle), np.sin(angle)
        matrix = np.diag(1.0 / step) @ matrix @ np.diag(step)
        middle = (np.array(volume.voxels.shape) - 1) / 2
        offset = middle - matrix @ middle
        whole = np.eye(4)
        whole[:3, :3], whole[:3, 3] = matrix, offset
        voxels = affine_transform(volume.voxels, matrix, offset, order=1, output=np.float32)
        return Volume(voxels, volume.affine @ whole)

    return change


def inverted(volume: Volume) -> Volume:
    """Inverted grey values."""
    return Volume(volume.voxels.max() - volume.voxels, volume.affine)


def coarse(volume: Volume) -> Volume:
    """Pixels of 3 mm."""
    right, *plane = _axes(volume)
    voxels, scale = volume.voxels, np.ones(3)
    for axis in plane:
        times = 3.0 / float(np.linalg.norm(volume.affine[:3, axis]))
        voxels = gaussian_filter1d(voxels, times / 2.355, axis=axis)
        scale[axis] = times
    size = np.ceil(np.array(voxels.shape) / scale).astype(int)
    size[right] = voxels.shape[right]
    small = affine_transform(voxels, scale, output_shape=tuple(size), order=1, output=np.float32)
    return Volume(small, volume.affine @ np.diag([*scale, 1.0]))


def half(upper: bool) -> Change:
    """The upper or the lower half of the field of view."""

    def change(volume: Volume) -> Volume:
        axis = _axes(volume)[2]
        size = volume.voxels.shape[axis]
        first = size // 2 if upper == (volume.affine[2, axis] > 0) else 0
        index = [slice(None)] * 3
        index[axis] = slice(first, first + size // 2)
        moved = np.eye(4)
        moved[axis, 3] = first
        return Volume(np.ascontiguousarray(volume.voxels[tuple(index)]), volume.affine @ moved)

    return change


def flipped(volume: Volume) -> Volume:
    """Flipped front to back, against its header."""
    return Volume(np.ascontiguousarray(np.flip(volume.voxels, _axes(volume)[1])), volume.affine)


def called_axial(volume: Volume) -> Volume:
    """A header by which the slices are axial."""
    turn = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(volume.voxels, turn @ volume.affine)


CHANGES: dict[str, Change] = {
    "as it is": lambda volume: volume,
    "turned by 20°": turned(20.0),
    "turned by -20°": turned(-20.0),
    "inverted": inverted,
    "3 mm pixels": coarse,
    "upper half": half(upper=True),
    "lower half": half(upper=False),
    "flipped front to back": flipped,
    "called axial": called_axial,
}


def compared(locator: LevelLocator, volume: Volume, truth: dict[Any, np.ndarray]) -> dict[str, Any] | None:
    """The comparison of one volume with the marked points in its view; None if it was refused."""
    in_view = {key: place for key, place in truth.items() if contains(volume.affine, volume.voxels.shape, place)}
    try:
        return compare(locator(volume, "volume"), in_view)
    except InvalidVolumeError:
        return None


def row(name: str, results: list[dict[str, Any] | None]) -> str:
    """A line of the table."""
    located = [result for result in results if result is not None]
    right = [result for result in located if not result["wrong_levels"]]
    canal = [error for result in right for error in result["errors"] if error["point"] == "canal"]
    far = sum(error["error"] > FAR_MM and not error["flags"] for result in located for error in result["errors"])
    mean = f"{np.mean([error['error'] for error in canal]):.1f}" if canal else "-"
    near = f"{np.mean([error['in_plane'] <= 5 for error in canal]):.2f}" if canal else "-"
    counts = [
        len(results),
        len(results) - len(located),
        sum(result["none"] for result in located),
        sum(result["uncertain"] for result in located),
        sum(result["wrong_levels"] > 0 for result in located),
        sum(result["unflagged_wrong_levels"] > 0 for result in located),
    ]
    return f"| {name} | " + " | ".join(str(count) for count in counts) + f" | {mean} | {near} | {far} |"


def main() -> None:
    """Read, change, locate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    locator = LevelLocator.from_bundle(options.bundle, "cpu")
    records = read_datalist(options.datalist)[: options.studies]
    print("| " + " | ".join(TITLES) + " |\n|---" + "|--:" * (len(TITLES) - 1) + "|")
    for name, change in CHANGES.items():
        for series_type in SERIES_TYPES:
            results = [
                compared(locator, change(read_volume(path)), true_points(record))
                for record in records
                for path in record[series_type.value]
            ]
            print(row(f"{series_type.value}, {name}", results), flush=True)


if __name__ == "__main__":
    main()
