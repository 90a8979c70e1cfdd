"""A volume opened for crops: its voxels stay on disk until a block of them is asked for."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib
from nibabel.arrayproxy import ArrayProxy
from nibabel.orientations import inv_ornt_aff, io_orientation

from monai_spine.data.coverage import Grid
from monai_spine.data.volume import open_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array

WINDOW = (1.0, 99.8)
"""Percentiles of a volume's grey values that become 0 and 1."""
_SAMPLES = 50_000
_MOST_OPEN = 64
"""Volumes that `StackCache` keeps, however small: each memory map holds a file open."""

_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # its type stub calls it an instance

Block = npt.NDArray[np.float32]
Three = tuple[int, int, int]


@dataclass(frozen=True)
class Stack:
    """A volume in the order right, anterior, superior, or in that of a frame (`turned`).

    Attributes
    ----------
    voxels
        Numbers as stored, often a view of a memory map: of the whole volume, or of a part of it.
    affine
        From voxels of the whole volume, in this order, to RAS mm.
    window
        Stored numbers that become 0 and 1.
    shape, start
        Voxels of the whole volume, and where ``voxels`` begins in it.
    stored
        ``(3, 2)``: for each axis the file's axis that it is, and 1 or -1 as it runs along or against it.
    name
        For errors.
    """

    voxels: npt.NDArray[Any]
    affine: Array
    window: tuple[float, float]
    shape: Three
    start: Three
    stored: npt.NDArray[np.int64]
    name: str

    @cached_property
    def grid(self) -> Grid:
        """Where the stack lies; its slices are those of the third axis."""
        return Grid(self.affine, self.shape)

    def turned(self, basis: Array) -> Stack:
        """The same stack with its axes in the order, and running the way, of a basis ``(3, 3)`` of RAS columns."""
        order = io_orientation(np.block([[basis.T @ self.affine[:3, :3], np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
        return _reordered(self, order)

    def stored_box(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """A box from ``low`` to before ``high`` in the file's voxels and order of axes: ``(2, 3)``."""
        box = np.empty((2, 3), dtype=np.int64)
        for (axis, way), n, a, b in zip(self.stored, self.shape, np.asarray(low), np.asarray(high), strict=True):
            box[:, axis] = (a, b) if way > 0 else (n - b, n - a)
        return box

    def trimmed(self, box: npt.NDArray[np.int64]) -> Stack:
        """The stack without the voxels outside of a box in the file's order (`stored_box`)."""
        start, part = [], []
        for (axis, way), n, old in zip(self.stored, self.shape, self.start, strict=True):
            a, b = (box[0, axis], box[1, axis]) if way > 0 else (n - box[1, axis], n - box[0, axis])
            start.append(int(a))
            part.append(slice(a - old, b - old))
        return replace(self, voxels=self.voxels[tuple(part)], start=(start[0], start[1], start[2]))

    def with_voxels(self, voxels: npt.NDArray[Any], window: tuple[float, float]) -> Stack:
        """Other numbers in the same place."""
        return replace(self, voxels=voxels, window=window)

    def placement(self) -> dict[str, Any]:
        """All but the voxels, as JSON takes it; of the name the last part, which is the same wherever the file lies."""
        return {
            "affine": self.affine.tolist(),
            "window": list(self.window),
            "shape": list(self.shape),
            "start": list(self.start),
            "stored": self.stored.tolist(),
            "name": Path(self.name).name,
        }

    @classmethod
    def placed(cls, voxels: npt.NDArray[Any], placement: Mapping[str, Any]) -> Stack:
        """The inverse of `placement`."""
        (dark, bright), (i, j, k), (a, b, c) = (placement[key] for key in ("window", "shape", "start"))
        affine, stored = np.array(placement["affine"]), np.array(placement["stored"])
        return cls(voxels, affine, (dark, bright), (i, j, k), (a, b, c), stored, placement["name"])

    def block(self, low: Three, high: Three) -> Block:
        """Voxels from ``low`` to before ``high``, from 0 to 1 in the window, ordered ``(slices, axis 1, axis 0)``.

        Raises
        ------
        IndexError
            If a part of the block is not held.
        """
        first = [a - b for a, b in zip(low, self.start, strict=True)]
        last = [a - b for a, b in zip(high, self.start, strict=True)]
        if min(first) < 0 or any(b > n for b, n in zip(last, self.voxels.shape, strict=True)):
            raise IndexError(f"{self.name}: voxels {low} to {high} of {self.shape} are not held")
        part = self.voxels[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        block = np.ascontiguousarray(part.T, dtype=np.float32)
        dark, bright = self.window
        block -= np.float32(dark)
        block *= np.float32(1.0 / (bright - dark))
        return np.clip(block, 0.0, 1.0, out=block)


def open_stack(path: str | Path) -> Stack:
    """Open a NIfTI file; ``.nii`` is mapped, ``.nii.gz`` unpacked into memory in the type that it is stored in.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        As `monai_spine.data.volume.read_volume`; also if all voxels have nearly the same value, or are no numbers.
    """
    image = open_volume(path)
    proxy = cast(ArrayProxy, image.dataobj)
    voxels = _stored_voxels(proxy, Path(path))
    i, j, k = image.shape
    affine = np.asarray(image.affine, dtype=np.float64)
    stored = Stack(voxels, affine, (0.0, 1.0), (i, j, k), (0, 0, 0), _IDENTITY, str(path))
    stack = _reordered(stored, _orientation(stored))
    return replace(stack, window=_window(stack.voxels, float(proxy.slope), str(path)))


_IDENTITY = np.array([[0, 1], [1, 1], [2, 1]])


def _orientation(stack: Stack) -> npt.NDArray[Any]:
    order = io_orientation(stack.affine)
    if np.isnan(order).any():
        raise InvalidVolumeError(
            f"{stack.name}: expected three axes along the patient's, but they cannot be told apart"
        )
    return np.asarray(order)


def _reordered(stack: Stack, order: npt.NDArray[Any]) -> Stack:
    """Axes permuted and reversed, as `nibabel.orientations` says it; voxels are not copied."""
    if (order == _IDENTITY).all():
        return stack
    axes = np.argsort(order[:, 0])
    forwards = order[axes, 1] > 0
    held = stack.voxels.shape
    begin = [
        stack.start[a] if f else stack.shape[a] - stack.start[a] - held[a] for a, f in zip(axes, forwards, strict=True)
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


def _stored_voxels(proxy: ArrayProxy, path: Path) -> npt.NDArray[Any]:
    if proxy.dtype.kind not in "iuf":
        raise InvalidVolumeError(f"{path}: expected numbers as voxels, but found the type {proxy.dtype}")
    try:
        if path.name.endswith(".gz"):
            unpacked = igzip.decompress(path.read_bytes())
            count = int(np.prod(proxy.shape))
            return np.frombuffer(unpacked, proxy.dtype, count, proxy.offset).reshape(proxy.shape, order="F")
        return np.memmap(path, dtype=proxy.dtype, mode="r", offset=proxy.offset, shape=proxy.shape, order="F")
    except (OSError, EOFError, ValueError, zlib.error, _IsalError) as err:
        raise InvalidVolumeError(
            f"{path}: the voxels cannot be read, the file is damaged or cut short ({err})"
        ) from err


def _window(voxels: npt.NDArray[Any], slope: float, name: str) -> tuple[float, float]:
    """Percentiles over every n-th voxel, the same ones however the volume is stored, or mirrored."""
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{name}: expected finite voxel values, but some are infinite or not a number")
    dark, bright = np.percentile(voxels[_lattice(voxels.shape)], WINDOW)
    if not bright > dark:
        raise InvalidVolumeError(f"{name}: expected an image, but all voxels have nearly the value {dark:g}")
    return (float(dark), float(bright)) if slope > 0 else (float(bright), float(dark))


def _lattice(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Every voxel of the axis with the fewest, and every n-th of the others with the same rest at either end."""
    every = max(1, int(np.sqrt(np.prod(shape) / _SAMPLES)))
    slices = []
    for axis, n in enumerate(shape):
        step = 1 if axis == int(np.argmin(shape)) else every
        step = next(one for one in range(step, max(step, n) + 1) if (n - 1) % one % 2 == 0 or one == n)
        slices.append(slice((n - 1) % step // 2, None, step))
    return tuple(slices)


class StackCache:
    """Opened volumes, the least recently used ones dropped when they hold more than ``most_bytes`` of memory.

    Memory maps count as nothing, since the system drops their pages by itself. A file that has changed is opened anew.
    A copy for another process starts empty.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held: OrderedDict[tuple[str, int, int], Stack] = OrderedDict()

    def open(self, path: str | Path) -> Stack:
        """The stack of a file; see `open_stack`."""
        key = (str(path), *file_state(path))
        if key not in self._held:
            self._held[key] = open_stack(path)
        self._held.move_to_end(key)
        stack = self._held[key]
        while len(self._held) > 1 and (self.held_bytes > self.most_bytes or len(self._held) > _MOST_OPEN):
            self._held.popitem(last=False)
        return stack

    @property
    def held_bytes(self) -> int:
        """Memory that unpacked volumes take."""
        return sum(0 if isinstance(one.voxels, np.memmap) else one.voxels.nbytes for one in self._held.values())

    def __getstate__(self) -> dict[str, Any]:
        return {"most_bytes": self.most_bytes, "_held": OrderedDict()}


def file_state(path: str | Path) -> tuple[int, int]:
    """Size and time of change (ns) of a file, which tell that it is another now; zeros if it is not there."""
    try:
        state = Path(path).stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns
