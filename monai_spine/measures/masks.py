"""Masks of patients, from which the network of the regions learns what people count to the canal and to a disc."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation, label

from monai_spine.data.volume import Volume, read_volume
from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.geometry import Array
from monai_spine.levels.sagittal.grid import Floats, canonical, padded, resliced, sagittal_grid
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS
from monai_spine.measures.regions import STEP_MM

IMAGE, MASK = "sagittal_t2.nii.gz", "mask.nii.gz"
"""Files of a study."""
NUMBERS = {"vertebra": (1, 1), "disc": (2, 2), "canal": (3, 3)}
"""First and last number of each structure in a mask."""
_UNKNOWN = -1
_KNOWN_VOXELS = 10
"""Voxels around what is marked within which everything else is known to be something else."""
_LEAST_DISC = 40
"""Voxels that a disc has at least in the mask, on the network's grid."""


def masked_volumes(
    folder: str | Path, fold: int, *, learn_from_all: bool = False, folds: int = 4
) -> tuple[list[dict[str, Any]], ...]:
    """Records of the studies of a folder to learn from, and of those of ``fold`` to validate on.

    A study is a sub-folder with `IMAGE` and `MASK`. Every ``folds``-th one by name belongs to the same fold. With
    ``learn_from_all``, those of the fold are learnt from as well, for weights whose worth other folds have shown.

    Raises
    ------
    MissingInputError
        If a fold would be empty.
    """
    studies = sorted(path.parent for path in Path(folder).glob(f"*/{MASK}") if (path.parent / IMAGE).is_file())
    # Without points: every landmark is unknown, so that only the regions are learnt.
    records = [
        {"image": str(one / IMAGE), "label": str(one / MASK), "study_id": one.name, "volume": one.name}
        | {name: np.zeros((0, 3)) for name in LANDMARKS}
        for one in studies
    ]
    training = [one for n, one in enumerate(records) if learn_from_all or n % folds != fold]
    validation = records[fold::folds]
    if not training or not validation:
        raise MissingInputError(
            f"{folder}: expected {folds} studies or more with {IMAGE} and {MASK}, but found {len(studies)}"
        )
    return training, validation


class MaskedGridd:
    """Read a sagittal volume and its mask, and put both on the grid of the network of the regions.

    The paths under ``image`` and ``label`` are replaced: the image as `SagittalGridd` makes it, with voxels of ``step``
    mm, and the numbers of `REGIONS` in the same shape. Masks have no sacrum: what lies right below the lowest disc
    belongs to it. What lies farther from all that is marked is -1.

    ``numbers``: see `NUMBERS`. Masks of SPIDER as published have vertebrae 1 to 99, canal 100, discs 201 to 299.

    Raises
    ------
    InvalidVolumeError
        If image and mask differ in shape or place, or the mask has no canal or no disc.
    """

    def __init__(self, *, step: float = STEP_MM, numbers: Mapping[str, Sequence[int]] = NUMBERS) -> None:
        self.step = step
        self.numbers = {name: (int(numbers[name][0]), int(numbers[name][1])) for name in NUMBERS}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the paths by tensors, and add ``affine``."""
        name = str(data["study_id"])
        volume, mask = read_volume(data["image"]), read_volume(data["label"])
        if volume.voxels.shape != mask.voxels.shape or not np.allclose(volume.affine, mask.affine, atol=0.1):
            raise InvalidVolumeError(f"{name}: expected an image and a mask of one shape and place, but they differ")
        image, affine = sagittal_grid(volume, name, self.step)
        regions = self._regions(mask, name)
        return {
            **data,
            "image": torch.from_numpy(image[None]),
            "label": torch.from_numpy(regions[None].astype(np.float32)),
            "affine": affine,
        }

    def _regions(self, mask: Volume, name: str) -> Array:
        voxels, affine = canonical(mask, name)
        shares = np.stack([self._share(voxels, affine, structure) for structure in NUMBERS])
        largest = np.concatenate([1.0 - shares.sum(axis=0, keepdims=True), shares]).argmax(axis=0)
        vertebra, disc, canal = (largest == number for number in (1, 2, 3))
        if not disc.any() or not canal.any():
            raise InvalidVolumeError(f"{name}: expected a mask with canal and discs, but one of them is not there")
        regions = np.full(largest.shape, REGIONS.index("background"))
        regions[~binary_dilation(largest > 0, np.ones((1, 3, 3)), iterations=_KNOWN_VOXELS)] = _UNKNOWN
        # Masks leave out the sacrum: it lies right below the lowest disc, and nobody knows where it ends.
        lowest = _lowest(disc)
        middle = int(np.argwhere(lowest)[:, 2].mean())
        regions[:, :, :middle][largest[:, :, :middle] == 0] = _UNKNOWN
        regions[_below(lowest) & (largest == 0)] = REGIONS.index("sacrum")
        columns = np.arange(largest.shape[1])[None, :, None]
        regions[vertebra & (columns > _front(canal) - 2)] = REGIONS.index("body")
        regions[disc], regions[canal] = REGIONS.index("disc"), REGIONS.index("canal")
        return regions

    def _share(self, voxels: Floats, affine: Array, structure: str) -> Floats:
        """How much of each voxel of the network's grid a structure fills."""
        first, last = self.numbers[structure]
        inside = ((voxels > first - 0.5) & (voxels < last + 0.5)).astype(np.float32)
        return padded(*resliced(inside, affine, self.step))[0]


def _lowest(disc: Array) -> Array:
    """The voxels of the lowest disc."""
    parts, count = label(disc, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    large = [n for n in range(1, count + 1) if sizes[n - 1] >= min(_LEAST_DISC, sizes.max())]
    number = min(large, key=lambda n: np.argwhere(parts == n)[:, 2].mean())
    return np.asarray(parts == number)


def _below(disc: Array) -> Array:
    """The voxels that lie at most `_KNOWN_VOXELS` below a disc, in the columns that it takes."""
    rows = np.arange(disc.shape[2])
    bottom = np.where(disc.any(axis=2), disc.argmax(axis=2), -1)[..., None]
    return np.asarray((rows < bottom) & (rows >= bottom - _KNOWN_VOXELS))


def _front(canal: Array) -> Array:
    """The foremost column of the canal in each row, interpolated where a row shows none: arches lie behind it."""
    rows = np.flatnonzero(canal.any(axis=(0, 1)))
    front = [np.flatnonzero(canal[:, :, row].any(axis=0)).max() for row in rows]
    return np.interp(np.arange(canal.shape[2]), rows, front)
