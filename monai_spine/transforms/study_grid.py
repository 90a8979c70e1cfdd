"""A study on one grid of patient space: all series resampled to the same voxels, one channel each.

Preprocessing of whole-study networks. MONAI's own transforms read, turn, scale and resample each stack; a bundle's
config names them. This module adds what MONAI has not: `StudyGridd` merges the stacks of a study, `AverageDownd`
prevents aliasing, `SliceChannelsd` turns slices into channels, and `RandLateralFlipd` is the only flip.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    MapTransform,
    Randomizable,
    RandomizableTrait,
    RandomizableTransform,
    apply_transform,
)
from monai.utils import ImageMetaKey, MetaKeys
from nibabel.nifti1 import Nifti1Image
from torch.nn.functional import avg_pool3d

from monai_spine.data.slice_plane import check_plane
from monai_spine.data.volume import affine_of, open_unpacked
from monai_spine.errors import InvalidOptionError, InvalidVolumeError, SpineError, chain
from monai_spine.geometry import Array, centre, grid_affine, spacing
from monai_spine.spine import FLIPPED, SeriesType

_ANCHORS = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1, SeriesType.AXIAL_T2)
"""Series types whose middle is the grid's middle, the first that the study has."""


_UNREADABLE = (OSError, EOFError, zlib.error)
"""What nibabel raises at the voxels of a file that is damaged or cut short."""

Record = dict[Hashable, Any]


class StudyGridd(MapTransform):
    """Put the volumes of a study on one grid along the world axes, and merge the stacks of each series.

    The record's series types hold lists of NIfTI paths (see `monai_spine.data.datalist`). It sets ``image``, a float32
    `MetaTensor` ``(6, R, A, S)`` whose axes run to the patient's right, anterior and superior: first a
    channel of intensities for each `SeriesType`, then for each a channel that is 1 where one of its stacks covers the
    voxel. Where stacks overlap, their mean is taken. Outside all stacks, and for a series that the study lacks, both
    are 0. The affine leads from the grid's voxels to RAS mm.

    The grid's middle is the middle of the sagittal T2 stack, or of the first series that exists.

    Parameters
    ----------
    size
        Voxels along right, anterior and superior.
    step
        Millimetres between voxels along the same axes.
    transform
        Reads one stack and resamples it: any chain of MONAI's dictionary transforms. It receives ``image``, the path of
        a NIfTI file, and ``grid``, an empty image on the study's grid for `ResampleToMatchd`. It leaves ``image``
        ``(1, R, A, S)`` on that grid, and ``covered``, which is 1 where the stack covers the voxel.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        If the study has none of the series, or one of its files cannot be used.
    InvalidOptionError
        If ``transform`` leaves anything else, or is random.
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        step: Sequence[float],
        transform: Callable[..., Any],
    ) -> None:
        super().__init__(keys=tuple(one.value for one in SeriesType), allow_missing_keys=True)
        self._check(transform)
        self.size = tuple(int(n) for n in size)
        self.step = tuple(float(mm) for mm in step)
        self.transform = transform

    def _check(self, transform: Callable[..., Any]) -> None:
        # MONAI's cached datasets store what all transforms before the first random one return, and recognise that one
        # by its type. Random transforms inside of this one would be drawn once, and then stay what they are.
        steps = Compose([transform]).flatten().transforms
        random = [type(one).__name__ for one in steps if isinstance(one, RandomizableTrait)]
        if random:
            raise InvalidOptionError(
                f"StudyGridd: expected transforms that are not random, but found {', '.join(random)}; "
                "use RandStudyGridd, whose result is not cached, or place them after StudyGridd"
            )

    def __call__(self, data: Mapping[Hashable, Any]) -> Record:
        """Add the study's image to the record."""
        grid = self._grid(data)
        parts = [self._series(data.get(series_type.value, ()), grid) for series_type in SeriesType]
        intensity, covered = (torch.cat(part) for part in zip(*parts, strict=True))
        return {**data, "image": MetaTensor(torch.cat([intensity, covered]), affine=grid.affine)}

    def _grid(self, data: Mapping[Hashable, Any]) -> MetaTensor:
        """An empty image on the study's grid; all files are checked to their ends, which MONAI's readers do not do."""
        opened = {
            series_type: [_opened(path, series_type) for path in data.get(series_type.value, ())]
            for series_type in SeriesType
        }
        for series_type in _ANCHORS:
            if opened.get(series_type):
                first = opened[series_type][0]
                affine = grid_affine(centre(affine_of(first), first.shape), self.size, self.step)
                return MetaTensor(torch.zeros(1, *self.size), affine=torch.from_numpy(affine))
        names = [series_type.value for series_type in SeriesType]
        raise InvalidVolumeError(f"study {data.get('study_id')}: expected a volume of at least one of {names}")

    def _series(self, paths: Sequence[str], grid: MetaTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Intensity and coverage of a series, two float32 tensors ``(1, R, A, S)``."""
        total, count = torch.zeros(1, *self.size), torch.zeros(1, *self.size)
        for path in paths:
            stack = self._stack(path, grid)
            covered = _on_grid(stack, "covered", self.size)
            total += _on_grid(stack, "image", self.size) * covered
            count += covered
        return total / count.clamp(min=1), count.clamp(max=1)

    def _stack(self, path: str, grid: MetaTensor) -> Mapping[str, Any]:
        try:
            stack = apply_transform(self.transform, {"image": path, "grid": grid})
        except RuntimeError as err:
            # MONAI wraps every error of a transform in a RuntimeError.
            for cause in chain(err):
                if isinstance(cause, SpineError):
                    raise cause from err
                if isinstance(cause, _UNREADABLE):
                    raise InvalidVolumeError(
                        f"{path}: the voxels cannot be read, the file is damaged or cut short ({cause})"
                    ) from err
            raise
        return dict(stack)


class RandStudyGridd(StudyGridd, Randomizable):
    """`StudyGridd` whose transforms of a stack may be random. Cached datasets draw it anew in each epoch."""

    def _check(self, transform: Callable[..., Any]) -> None:
        """Accept all transforms."""

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandStudyGridd:
        """Seed the transforms of a stack."""
        super().set_random_state(seed, state)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(state=self.R)
        return self


def _opened(path: str, series_type: SeriesType) -> Nifti1Image:
    image = open_unpacked(path)
    check_plane(path, series_type)
    return image


def _on_grid(stack: Mapping[str, Any], key: str, size: Sequence[int]) -> torch.Tensor:
    """What the transforms of a stack left under a key, without its metadata."""
    expected = (1, *size)
    if key not in stack or tuple(stack[key].shape) != expected:
        result = f"the shape {tuple(stack[key].shape)}" if key in stack else f"only {sorted(stack)}"
        raise InvalidOptionError(
            f"StudyGridd: expected its transform to leave {key!r} of the shape {expected}, but found {result}; "
            "end it with ResampleToMatchd and key_dst 'grid'"
        )
    return torch.Tensor(stack[key].as_tensor() if isinstance(stack[key], MetaTensor) else stack[key])


class AverageDownd(MapTransform):
    """Average blocks of whole voxels down to the step of another image, as many as fit, against aliasing.

    MONAI's resamplers take samples at points, without a filter, and its anti-aliasing knows voxels, not millimetres. At
    a step of 2.5 mm, pixels of 0.6 mm would alias. Place this before `ResampleToMatchd`. An image that is not finer
    than the other one stays as it is.

    Parameters
    ----------
    keys
        Images ``(channels, i, j, k)`` with an affine, in any orientation.
    key_dst
        Image with the coarser step.

    Raises
    ------
    InvalidVolumeError
        If an image has voxels that are not finite.
    """

    def __init__(self, keys: KeysCollection, key_dst: str) -> None:
        super().__init__(keys)
        self.key_dst = key_dst

    def __call__(self, data: Mapping[Hashable, Any]) -> Record:
        """Replace the images."""
        record = dict(data)
        grid_step = spacing(np.asarray(record[self.key_dst].affine))
        for key in self.key_iterator(record):
            image = record[key]
            if not torch.isfinite(image).all():
                name = image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, key)
                raise InvalidVolumeError(f"{name}: expected finite voxel values, but some are infinite or not a number")
            record[key] = _averaged_down(image, grid_step)
        return record


def _averaged_down(image: MetaTensor, grid_step: Array) -> MetaTensor:
    affine = np.asarray(image.affine)
    # The grid's step along each axis of the image, which may be turned against the world axes.
    along = np.abs(affine[:3, :3] / spacing(affine)).T @ grid_step
    factor = np.maximum(1, np.floor(along / spacing(affine) + 0.25).astype(int))
    factor = np.minimum(factor, image.shape[1:])
    if (factor == 1).all():
        return image
    shift = np.eye(4)
    shift[:3, :3] = np.diag(factor)
    shift[:3, 3] = (factor - 1) / 2  # the centre of a block of voxels, not of its first voxel
    kernel = tuple(int(n) for n in factor)
    voxels = avg_pool3d(image.as_tensor()[None], kernel, kernel)[0]
    return MetaTensor(voxels, meta={**image.meta, MetaKeys.AFFINE: torch.from_numpy(affine @ shift)})


class SliceChannelsd(MapTransform):
    """Make every sagittal slice of every channel a channel: ``(channels, R, A, S)`` becomes ``(channels * R, A, S)``.

    For two-dimensional networks. 3-D convolutions are slow on CPUs when they have few input channels. An image with an
    affine keeps the part of it that belongs to the axes A and S, for the two-dimensional transforms that follow.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> Record:
        """Reshape the tensor under each key."""
        record = dict(data)
        for key in self.key_iterator(record):
            image = record[key]
            if isinstance(image, MetaTensor):
                record[key] = MetaTensor(image.as_tensor().flatten(0, 1), affine=image.affine[1:, 1:])
            else:
                record[key] = image.flatten(0, 1)
        return record


class RandLateralFlipd(RandomizableTransform, MapTransform):
    """Flip a study along the patient's left-right axis with probability ``prob``, and its 25 labels with it.

    Expects ``image`` ``(channels, R, A, S)``, whose first spatial axis is the patient's left-right axis, and ``label``
    ``(25,)`` in the order of `monai_spine.spine.FINDINGS`: a left finding becomes the right one of its level. A
    ``soft_label`` ``(25, 3)`` goes with it.
    """

    def __init__(self, *, prob: float = 0.5) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys=("image", "label"))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw, and flip or not."""
        self.randomize(None)
        return flipped(data) if self._do_transform else dict(data)


def flipped(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """The record with ``image`` and its labels flipped left to right."""
    labels: dict[Hashable, Any] = {key: data[key][list(FLIPPED)] for key in ("label", "soft_label") if key in data}
    return {**data, "image": torch.flip(data["image"], dims=(1,)), **labels}
