"""Stacks: volumes opened for crops, whose voxels stay on disk until a block of them is needed.

The first step of a crop. A stack keeps the file's own numbers and only renames its axes; grey values are scaled when a
block is read, so that opening a volume is cheap.
"""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import inv_ornt_aff, io_orientation

from monai_spine.data.coverage import Grid
from monai_spine.data.datalist import Record
from monai_spine.data.slice_plane import check_plane
from monai_spine.data.volume import WINDOW, affine_of, open_unpacked, open_volume, stored_voxels
from monai_spine.errors import InvalidVolumeError, SpineError
from monai_spine.files import FileState, file_state
from monai_spine.geometry import Array
from monai_spine.spine import SeriesType

logger = logging.getLogger(__name__)

_WINDOW_SAMPLES = 50_000
"""Voxels, about, that the percentiles are taken of."""
_MOST_OPEN = 64
"""Volumes that `StackCache` keeps, however small they are: each memory map keeps a file open."""

Block = npt.NDArray[np.float32]
Three = tuple[int, int, int]


@dataclass(frozen=True)
class Stack:
    """A volume with its axes in the order right, anterior, superior, or in that of a frame (`turned`)."""

    voxels: npt.NDArray[Any]
    """Numbers as stored, often a view of a memory map, of the whole volume or of a part of it."""
    affine: Array
    """``(4, 4)`` from voxels of the whole volume, in this order of axes, to RAS mm."""
    window: tuple[float, float]
    """Stored numbers that become 0 and 1."""
    shape: Three
    start: Three
    """``shape``, ``start``: voxels of the whole volume, and the index of its voxel at which ``voxels`` begins."""
    stored: npt.NDArray[np.int64]
    """``(3, 2)``: for each axis the index of the file's axis, and 1 or -1 if it runs along or against that."""
    name: str
    """The file, for error messages."""

    @cached_property
    def grid(self) -> Grid:
        """Position of the stack; its slices are those of the third axis."""
        return Grid(self.affine, self.shape)

    def turned(self, basis: Array) -> Stack:
        """The same stack, its axes permuted and reversed to run along the columns of a basis ``(3, 3)`` in RAS."""
        # nibabel finds the best permutation of axes for an affine; here the world axes are those of the basis.
        order = io_orientation(np.block([[basis.T @ self.affine[:3, :3], np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
        return _reordered(self, order)

    def stored_box(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """A box from ``low`` to before ``high`` in the file's voxels and order of axes: ``(2, 3)``."""
        box = np.empty((2, 3), dtype=np.int64)
        for (axis, sign), n, a, b in zip(self.stored, self.shape, np.asarray(low), np.asarray(high), strict=True):
            box[:, axis] = (a, b) if sign > 0 else (n - b, n - a)
        return box

    def trimmed(self, box: npt.NDArray[np.int64]) -> Stack:
        """The stack without the voxels outside of a box in the file's order (`stored_box`)."""
        start, part = [], []
        for (axis, sign), n, old in zip(self.stored, self.shape, self.start, strict=True):
            a, b = (box[0, axis], box[1, axis]) if sign > 0 else (n - box[1, axis], n - box[0, axis])
            start.append(int(a))
            part.append(slice(a - old, b - old))
        return replace(self, voxels=self.voxels[tuple(part)], start=(start[0], start[1], start[2]))

    def with_voxels(self, voxels: npt.NDArray[Any], window: tuple[float, float]) -> Stack:
        """Other numbers in the same place."""
        return replace(self, voxels=voxels, window=window)

    def stored_slice(self, k: int) -> tuple[int, int]:
        """The file's axis along which slices are stacked, and the index along it of slice ``k`` of the third axis."""
        axis = int(self.stored[2, 0])
        return axis, int(self.stored_box((0, 0, k), (1, 1, k + 1))[0, axis])

    def placement(self) -> dict[str, Any]:
        """All attributes but the voxels, in types that JSON has."""
        return {
            "affine": self.affine.tolist(),
            "window": list(self.window),
            "shape": list(self.shape),
            "start": list(self.start),
            "stored": self.stored.tolist(),
            "name": self.name,
        }

    @classmethod
    def placed(cls, voxels: npt.NDArray[Any], placement: Mapping[str, Any]) -> Stack:
        """The stack of voxels and what `placement` returned."""
        (dark, bright), (i, j, k), (a, b, c) = (placement[key] for key in ("window", "shape", "start"))
        affine, stored = np.array(placement["affine"]), np.array(placement["stored"])
        return cls(voxels, affine, (dark, bright), (i, j, k), (a, b, c), stored, placement["name"])

    def block(self, low: Three, high: Three) -> Block:
        """Voxels from ``low`` to before ``high``, from 0 to 1 in the window, ordered ``(slices, axis 1, axis 0)``.

        Raises `IndexError` if the block is not inside ``voxels``.
        """
        first = [a - b for a, b in zip(low, self.start, strict=True)]
        last = [a - b for a, b in zip(high, self.start, strict=True)]
        if min(first) < 0 or any(b > n for b, n in zip(last, self.voxels.shape, strict=True)):
            raise IndexError(f"{self.name}: voxels {low} to {high} of {self.shape} are not in memory")
        part = self.voxels[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        # One copy, then scaled in place: blocks are read for every crop of a training.
        block = np.ascontiguousarray(part.T, dtype=np.float32)
        dark, bright = self.window
        block -= np.float32(dark)
        block *= np.float32(1.0 / (bright - dark))
        return np.clip(block, 0.0, 1.0, out=block)


def open_stack(path: str | Path) -> Stack:
    """Open a NIfTI file as a stack.

    Raises `MissingInputError` or `InvalidVolumeError` as `monai_spine.data.volume.read_volume`; also if all voxels have
    nearly the same value, or are not numbers.
    """
    return _stack_of(open_unpacked(path), path)


def open_position(path: str | Path) -> Stack:
    """The position of a NIfTI file as a stack: its voxels stay unread, and those of the stack are all 0.

    Raises `MissingInputError` or `InvalidVolumeError` if the header cannot be used.
    """
    image = open_volume(path)
    return _in_patient_axes(np.broadcast_to(np.uint8(0), image.shape), image, path)


def _stack_of(image: Nifti1Image, path: str | Path) -> Stack:
    stack = _in_patient_axes(stored_voxels(image, path), image, path)
    return replace(stack, window=_window(stack.voxels, float(cast(ArrayProxy, image.dataobj).slope), str(path)))


def _in_patient_axes(voxels: npt.NDArray[Any], image: Nifti1Image, path: str | Path) -> Stack:
    i, j, k = image.shape
    stored = Stack(voxels, affine_of(image), (0.0, 1.0), (i, j, k), (0, 0, 0), _IDENTITY, str(path))
    return _reordered(stored, _orientation(stored))


def with_usable_volumes(records: Sequence[Record]) -> list[Record]:
    """The studies without volumes that are damaged, of another plane, or unusable; each is logged as a warning.

    Every study stays, so that one bad volume does not end a run over many. If a study has no volume left, all of its
    findings are reported as not covered.
    """
    return [
        {**record, **{series_type.value: _usable(record, series_type) for series_type in SeriesType}}
        for record in records
    ]


def _usable(record: Record, series_type: SeriesType) -> list[str]:
    files = []
    for file in record[series_type.value]:
        try:
            open_stack(file)
            check_plane(file, series_type)
        except SpineError as error:
            logger.warning("study %s: a volume is left out: %s", record["study_id"], error)
        else:
            files.append(file)
    return files


_IDENTITY = np.array([[0, 1], [1, 1], [2, 1]])


def _orientation(stack: Stack) -> npt.NDArray[Any]:
    order = io_orientation(stack.affine)
    if np.isnan(order).any():
        raise InvalidVolumeError(
            f"{stack.name}: expected three axes along the patient's, but they cannot be told apart"
        )
    return np.asarray(order)


def _reordered(stack: Stack, order: npt.NDArray[Any]) -> Stack:
    """The stack with axes permuted and reversed by an orientation of `nibabel.orientations`; voxels are not copied."""
    if (order == _IDENTITY).all():
        return stack
    # nibabel gives, for each old axis, its new place; here the old axis at each new place is needed.
    axes = np.argsort(order[:, 0])
    forwards = order[axes, 1] > 0
    part = stack.voxels.shape
    begin = [
        stack.start[a] if f else stack.shape[a] - stack.start[a] - part[a] for a, f in zip(axes, forwards, strict=True)
    ]
    shape = [stack.shape[a] for a in axes]
    return replace(
        stack,
        voxels=stack.voxels.transpose(axes)[tuple(slice(None, None, 1 if f else -1) for f in forwards)],
        affine=stack.affine @ inv_ornt_aff(order, stack.shape),
        shape=(shape[0], shape[1], shape[2]),
        start=(begin[0], begin[1], begin[2]),
        stored=stack.stored[axes] * np.stack([np.ones(3, dtype=np.int64), np.where(forwards, 1, -1)], axis=1),
    )


def _window(voxels: npt.NDArray[Any], slope: float, name: str) -> tuple[float, float]:
    """Percentiles over every n-th voxel: the same voxels however the volume is stored or flipped."""
    # Integers are always finite, and the check reads the whole volume.
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{name}: expected finite voxel values, but some are infinite or not a number")
    dark, bright = np.percentile(voxels[_lattice(voxels.shape)], WINDOW)
    if not bright > dark:
        raise InvalidVolumeError(f"{name}: expected an image, but all voxels have nearly the value {dark:g}")
    # Numbers are windowed as stored, before the header's slope; a negative slope turns bright into dark.
    return (float(dark), float(bright)) if slope > 0 else (float(bright), float(dark))


def _lattice(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """All voxels of the shortest axis, and every n-th of the others with equal margins at both ends.

    Equal margins make the lattice symmetric, so that a flipped volume has the same window.
    """
    every = max(1, int(np.sqrt(np.prod(shape) / _WINDOW_SAMPLES)))
    slices = []
    for axis, n in enumerate(shape):
        step = 1 if axis == int(np.argmin(shape)) else every
        step = next(one for one in range(step, max(step, n) + 1) if (n - 1) % one % 2 == 0 or one == n)
        slices.append(slice((n - 1) % step // 2, None, step))
    return tuple(slices)


@dataclass
class _OpenFile:
    image: Nifti1Image
    stack: Stack | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of unpacked voxels; none of a memory map, since the system drops its pages by itself."""
        proxy = cast(ArrayProxy, self.image.dataobj)
        return int(np.prod(proxy.shape)) * proxy.dtype.itemsize if isinstance(proxy.file_like, io.BytesIO) else 0


class StackCache:
    """Opened volumes. The least recently used ones are dropped when all take more than ``most_bytes`` of memory.

    Memory maps count as zero bytes. A file that has changed is opened anew. A copy for another process starts empty.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._files: OrderedDict[tuple[str, FileState], _OpenFile] = OrderedDict()

    def opened(self, path: str | Path) -> Nifti1Image:
        """The image of a file; see `monai_spine.data.volume.open_unpacked`."""
        return self._file(path).image

    def open(self, path: str | Path) -> Stack:
        """The stack of a file; see `open_stack`."""
        file = self._file(path)
        if file.stack is None:
            file.stack = _stack_of(file.image, path)
        return file.stack

    def _file(self, path: str | Path) -> _OpenFile:
        key = (str(path), file_state(path))
        if key not in self._files:
            self._files[key] = _OpenFile(open_unpacked(path))
        self._files.move_to_end(key)
        # At least the volume that was asked for stays, even if it alone exceeds the memory.
        while len(self._files) > 1 and (self.used_bytes > self.most_bytes or len(self._files) > _MOST_OPEN):
            self._files.popitem(last=False)
        return self._files[key]

    @property
    def used_bytes(self) -> int:
        """Bytes of memory that unpacked volumes take."""
        return sum(file.nbytes for file in self._files.values())

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a data loader get the transform by pickling; volumes would be copied to each of them.
        return {**self.__dict__, "_files": OrderedDict()}
