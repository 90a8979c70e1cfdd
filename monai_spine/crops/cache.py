"""A cache on disk for training: of every study's volumes, the part that crops are cut out of.

It stands between `stack` and `study`. A crop from the cache goes through the same resampling as one from the volumes;
only the voxels have been scaled to the window and rounded before, so nothing is resampled twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from monai_spine.crops.augmentation import Augmentation
from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.sampling import smallest_rotation
from monai_spine.crops.stack import Stack
from monai_spine.crops.study import StudyStacks, source_of
from monai_spine.crops.view import Interpolation, View
from monai_spine.data.volume import WINDOW
from monai_spine.data.volume_names import volume_names
from monai_spine.files import FileState, checksum, file_state, is_settled, safe_name, write_bytes
from monai_spine.geometry import Array, spacing, to_voxel
from monai_spine.spine import TARGETS, Level, SeriesType

logger = logging.getLogger(__name__)

_FORMAT = "monai_spine/crops/3"
_WHITE = 255.0
"""The number that the bright end of the window is stored as, in one byte a voxel."""


class CropCache:
    """One file for each study under ``folder/<parameters>/``.

    A file is used only if it was made with the same parameters, from volumes of the same names and bytes, and for the
    same points, and if its checksum is right; otherwise it is made anew. Volumes whose state on the disk is the one of
    before (`monai_spine.files.file_state`) are not read to compare their bytes. Files are written whole, so several
    processes can share a folder.

    Parameters
    ----------
    folder
        Made if it does not exist.
    views, limits
        The views to cut, and the limits of their augmentation: they decide which voxels are needed.
    """

    def __init__(self, folder: str | Path, views: Sequence[View], limits: Augmentation) -> None:
        self.views = tuple(views)
        self.limits = limits
        parameters = {"format": _FORMAT, "window": WINDOW, "dtype": "uint8", "limits": asdict(limits)}
        parameters["views"] = [asdict(view) for view in self.views]
        # Caches of other parameters get a folder of their own, so that runs with different settings can share a disk.
        text = json.dumps(parameters, default=str, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, study_id: str) -> Path:
        """The file of a study, whether it exists or not."""
        return self.folder / f"{safe_name(study_id)}.safetensors"

    def stacks(self, record: Mapping[Any, Any], opened: Callable[[], StudyStacks]) -> StudyStacks:
        """The study's trimmed stacks, from its file; if none fits, from ``opened``, and a file is written."""
        path, names = self.path(str(record["study_id"])), volume_names(record)
        volumes = [str(file) for series_type in self._series_types for file in record.get(series_type.value, ())]
        source = _Source(self._key(record, names), tuple(map(file_state, volumes)))
        entry = _read(path)
        if entry is not None and entry[1].key == source.key:
            study, stored = entry
            if stored.states == source.states and is_settled(path, stored.states):
                return study
            source = replace(source, checksums=tuple(map(checksum, volumes)))
            if stored.checksums == source.checksums:
                # Other processes may have no right to write; they compare the bytes in every epoch.
                with contextlib.suppress(OSError):
                    path.touch() if stored.states == source.states else _write(path, source, study, names)
                return study
        # Before the voxels are read: if they change in between, the bytes are those of before, and do not fit later.
        source = replace(source, checksums=source.checksums or tuple(map(checksum, volumes)))
        study = self._trimmed(opened(), record.get("points", {}))
        _write(path, source, study, names)
        return study

    @property
    def _series_types(self) -> list[SeriesType]:
        return [series_type for series_type in SeriesType if any(series_type in view.series for view in self.views)]

    def _key(self, record: Mapping[Any, Any], names: Mapping[str, str]) -> str:
        """A digest of all that the file depends on but the volumes' bytes. Folders do not count: data can move."""
        points = record.get("points", {})
        content = {
            "study": str(record["study_id"]),
            "points": [[float(x) for x in points[name]] if name in points else None for name in TARGETS],
            "volumes": {
                series_type.value: [names[path] for path in record.get(series_type.value, ())]
                for series_type in self._series_types
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _trimmed(self, study: StudyStacks, points: Mapping[str, npt.ArrayLike]) -> StudyStacks:
        frames = level_frames(points, study.axis)
        boxes: dict[tuple[SeriesType, int], list[npt.NDArray[np.int64]]] = {}
        for view in self.views:
            for level in Level:
                source = source_of(view, level, frames.get(level), study.stacks)
                if source.stack is not None and source.series is not None and source.index is not None:
                    box = crop_extent(view, frames[level], source.stack, self.limits)
                    boxes.setdefault((source.series, source.index), []).append(box)
        stacks = {
            series_type: tuple(self._rounded(stack, boxes.get((series_type, n), [])) for n, stack in enumerate(group))
            for series_type, group in study.stacks.items()
        }
        return StudyStacks(stacks, study.refused)

    def _rounded(self, stack: Stack, boxes: Sequence[npt.NDArray[np.int64]]) -> Stack:
        """The part of a stack that encloses all boxes, its window scaled to the numbers of the cache."""
        union = np.zeros((2, 3), dtype=np.int64)  # a stack that is no source keeps its place, but no voxels
        if boxes:
            union = np.stack([np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)])
        part = stack.trimmed(union)
        high = tuple(a + n for a, n in zip(part.start, part.voxels.shape, strict=True))
        scaled = part.block(part.start, (high[0], high[1], high[2])).T * np.float32(_WHITE)
        # Rounded, since astype cuts off.
        return part.with_voxels(np.rint(scaled).astype(np.uint8), (0.0, _WHITE))


@dataclass(frozen=True)
class _Source:
    """What a file was made from."""

    key: str
    """See `CropCache._key`."""
    states: tuple[FileState, ...]
    checksums: tuple[int | None, ...] = ()
    """``states``, ``checksums``: of the volumes, in the order of the record; see `monai_spine.files`. Checksums are
    empty until they are needed."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> _Source:
        """From JSON."""
        states = tuple(
            (size, changed, inode_changed, inode) for size, changed, inode_changed, inode in content["states"]
        )
        return cls(content["key"], states, tuple(content["checksums"]))


def _write(path: Path, source: _Source, study: StudyStacks, names: Mapping[str, str]) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {}
    rows: list[dict[str, Any]] = []
    for series_type, group in study.stacks.items():
        for stack in group:
            # Slices first: a crop reads whole slices, which then lie together in the file.
            order = [int(axis) for axis in np.argsort(-spacing(stack.affine), kind="stable")]
            # Tensors of a safetensors file have names only, so their order is their name.
            arrays[str(len(rows))] = np.ascontiguousarray(stack.voxels.transpose(order))
            # Volumes by their names without folders, so that caches can move.
            name = names.get(stack.name, Path(stack.name).name)
            rows.append({"series": series_type.value, "order": order, **stack.placement(), "name": name})
    content = json.dumps(
        {**asdict(source), "stacks": rows, "refused": study.refused, "series": [k.value for k in study.stacks]}
    )
    write_bytes(path, save(arrays, {"monai_spine": f"{_checksum(content, arrays.values())} {content}"}))


def _checksum(content: str, arrays: Iterable[npt.NDArray[Any]]) -> str:
    """CRC-32 of the placement of all stacks, and of their shapes, types and voxels."""
    value = isal_zlib.crc32(content.encode())
    for array in arrays:
        value = isal_zlib.crc32(f"{array.shape} {array.dtype}".encode(), value)
        value = isal_zlib.crc32(array, value)
    return f"{value:08x}"


def _read(path: Path) -> tuple[StudyStacks, _Source] | None:
    """The content of a file, and what it was made from; None if it does not exist or is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            # One entry, since safetensors writes several in any order.
            checksum, _, text = file.metadata()["monai_spine"].partition(" ")
            content = json.loads(text)
            arrays = [file.get_tensor(str(n)) for n in range(len(content["stacks"]))]
            if _checksum(text, arrays) != checksum:
                raise ValueError("its checksum is wrong")
            source = _Source.of(content)
            groups: dict[SeriesType, list[Stack]] = {SeriesType(series_type): [] for series_type in content["series"]}
            for n, row in enumerate(content["stacks"]):
                voxels = arrays[n].transpose(np.argsort(row["order"]))
                groups[SeriesType(row["series"])].append(Stack.placed(voxels, row))
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        logger.warning("%s: cannot be read and is made anew (%s)", path, error)
        return None
    stacks = {series_type: tuple(group) for series_type, group in groups.items()}
    return StudyStacks(stacks, tuple(content["refused"])), source


_MARGIN = 2
"""Voxels added on all sides: the neighbours that interpolation reads, and rounding."""


def crop_extent(view: View, frame: LevelFrame, stack: Stack, limits: Augmentation) -> npt.NDArray[np.int64]:
    """The box of voxels, ``(2, 3)`` in the file's order of axes, that contains every crop within the limits.

    ``stack`` is turned to the view's directions. The box is an upper bound: each limit is taken at its own worst case.
    """
    directions = frame.basis @ view.directions
    from_world = stack.grid.from_world
    inside, across = _half_sizes(view, limits)
    tilted = _tilted(limits.tilt)
    moved = np.array([limits.shift_mm, limits.shift_mm, limits.slice_shift_mm]) + 2.0 * limits.jitter_mm
    if view.interpolation is Interpolation.LINEAR:
        half = np.abs(from_world @ directions) @ (tilted @ (inside + across) + moved)
    else:
        # A native plane is turned into the nearest slice, so its extent lies in that slice. Its middle is projected
        # onto the slice along the normal; in a sheared stack each slice is shifted by the stack's step.
        normal = stack.grid.normal
        into_slice = smallest_rotation(directions[:, 2], normal)
        feet = np.eye(3) - np.outer(normal, normal)
        feet = feet + np.outer(stack.affine[:3, 2], normal) / (stack.affine[:3, 2] @ normal)
        half = np.abs(from_world @ into_slice @ directions) @ inside
        half = half + np.abs(from_world @ feet @ directions) @ (tilted @ across + moved)
    middle = to_voxel(stack.affine, frame.anchors[view.anchor])
    low = np.clip(np.floor(middle - half) - _MARGIN, 0, stack.shape)
    high = np.clip(np.ceil(middle + half) + _MARGIN + 1, low, stack.shape)
    return stack.stored_box(low, high)


def _half_sizes(view: View, limits: Augmentation) -> tuple[Array, Array]:
    """Half of a crop's size in mm along its own axes: in its plane, turned and scaled, and across its planes.

    Turning tilted planes back into slices can leave a small rotation in the plane; adding the tilt twice bounds it.
    """
    height, width = view.size_mm
    most = np.radians(min(90.0, limits.rotation + 2.0 * limits.tilt))
    halves = []
    for own, other in ((width, height), (height, width)):
        worst = min(most, float(np.arctan2(other, own)))  # the extent of a rectangle is largest along its diagonal
        halves.append((own * np.cos(worst) + other * np.sin(worst)) / 2 * (1.0 + limits.scale))
    return np.array([*halves, 0.0]), np.array([0.0, 0.0, (view.slices - 1) / 2 * view.gap_mm])


def _tilted(degrees: float) -> Array:
    """``(3, 3)``: upper bound of what half sizes become when tilted about columns and rows by up to ``degrees``."""
    s = float(np.sin(np.radians(min(90.0, degrees))))
    return np.array([[1, 0, 0], [0, 1, s], [0, s, 1]]) @ np.array([[1, 0, s], [0, 1, 0], [s, 0, 1]])
