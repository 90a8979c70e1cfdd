"""The transforms that cut the crops of the five levels out of a study, and join them for networks that grade levels."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable

from monai_spine.crops.augmentation import NO_AUGMENTATION, Augmentation, FixedPose
from monai_spine.crops.cache import CropCache
from monai_spine.crops.level_image import with_absent
from monai_spine.crops.pose import Pose, crop_grid
from monai_spine.crops.stack import StackCache
from monai_spine.crops.study import STUDY_IMAGES, Crops, StudyCrops, StudyImages, StudyStacks, open_study
from monai_spine.crops.view import DEFAULT_VIEWS, View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import MISSING, TARGETS, Condition, Level, SeriesType

logger = logging.getLogger(__name__)

_SERIES = tuple(SeriesType)
_OPEN_BYTES = 256 * 2**20
"""Memory for unpacked ``.nii.gz`` volumes in each process; ``.nii`` files are mapped into memory instead."""


class LevelCropsd(Randomizable, MapTransform):
    """Cut every view of every disc level out of a study's volumes, and arrange its labels and points by level.

    Expects a record of `monai_spine.data.datalist`: lists of NIfTI paths under the series types, ``points`` in RAS mm
    by the findings' names, marked or located (`monai_spine.levels.located_records`), and ``label`` ``(25,)``; any of
    them may be absent. A record of `predict` shares its opened volumes and its crops with other transforms
    (`monai_spine.crops.study`). For each view ``NAME``, and for the record, it sets

    - ``NAME``: float32 ``(5, slices, rows, columns)``, levels from L1/L2 to L5/S1, grey values from 0 to 1;
    - ``NAME_mask``: bool ``(5, slices)``, False where no slice lies within 5 mm or the plane's middle is outside the
      image; pixels are 0 there;
    - ``NAME_series``: int64 ``(5,)``, the index in `SeriesType` of the source, -1 if there is none; it shows whether
      the source is the substitute series;
    - ``NAME_reason``: for each level, why the first series type is not the source; an empty string if it is;
    - ``NAME_marked``: bool ``(5, 5, slices)`` of levels, conditions and slices: True for the slices that show the point
      of a condition that is read in this view, which lie no further from it than one slice from the next;
    - ``label``: int64 ``(5, 5)``, levels × conditions in the order of `Condition`, -1 for missing;
    - ``soft_label``, if the record has one, ``(25, 3)``: float32 ``(5, 5, 3)``, the same order, 0 where there is none;
    - ``points``: float32 ``(5, 5, 3)``, the same order, RAS mm, NaN where unknown.

    MONAI's chain of `LoadImaged`, `Spacingd` and a crop takes 128 to 148 times as long for an uncached crop
    (``python benchmarks/level_crops.py``), because it reads and resamples the whole volume, of which a crop needs a few
    slices. It also interpolates between slices, where ``native`` views show planes as they were acquired. The crops are
    plain tensors, so MONAI's transforms can follow.

    The flip exchanges left and right of the whole study at once: of all crops, of both labels, and of the points, whose
    x changes its sign. There is no other flip.

    Parameters
    ----------
    views
        The views to cut.
    augmentation
        Limits of the random changes, which are part of the one resampling; None for none.
    cache_dir
        Folder of a `monai_spine.crops.cache.CropCache`; None to read the volumes every time.
    bad_volume
        What to do with a volume that cannot be used, such as one with NaN: ``raise`` an error, or ``mask``: leave it
        out, mention it in ``NAME_reason``, and log one warning.

    Raises
    ------
    InvalidVolumeError, MissingInputError
        If a volume cannot be used; see ``bad_volume``.
    """

    def __init__(
        self,
        *,
        views: Sequence[View] = DEFAULT_VIEWS,
        augmentation: Augmentation | None = None,
        cache_dir: str | Path | None = None,
        bad_volume: str = "raise",
    ) -> None:
        self.views = tuple(views)
        self.series_types = tuple(one for one in SeriesType if any(one in view.series for view in self.views))
        MapTransform.__init__(self, keys=[one.value for one in self.series_types], allow_missing_keys=True)
        if bad_volume not in ("raise", "mask"):
            raise InvalidOptionError(f"expected bad_volume as 'raise' or 'mask', but found {bad_volume!r}")
        names = [view.name for view in self.views]
        if len(set(names)) < len(names):
            raise InvalidOptionError(f"expected a name of its own for every view, but found {names}")
        self.augmentation: Augmentation | FixedPose = augmentation or NO_AUGMENTATION
        self.leave_out_bad = bad_volume == "mask"
        self.warned: set[str] = set()
        self.opened = StackCache(_OPEN_BYTES)
        self.cache = CropCache(cache_dir, self.views, augmentation or NO_AUGMENTATION) if cache_dir else None
        self.flipped = False
        self.poses: dict[str, dict[Level, Pose]] = {}

    def randomize(self, data: Any = None) -> None:  # noqa: ARG002 (MONAI's signature)
        """Draw whether to flip, and a pose for each level and view."""
        limits = self.augmentation
        self.flipped = limits.draw_flip(self.R)
        jitters = {level: limits.draw_jitter(self.R) for level in Level}
        self.poses = {view.name: {level: limits.draw(self.R, jitters[level]) for level in Level} for view in self.views}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw, and add the crops to the record."""
        self.randomize()
        record = dict(data)
        study, refused = self._study(data)
        label, points = _in_table(data.get("label")), _points_in_table(data.get("points", {}))
        for view in self.views:
            name = view.name
            crops, mask = self._sampled(study, view, data.get(STUDY_IMAGES))
            record[name], record[f"{name}_mask"] = torch.from_numpy(crops), torch.from_numpy(mask)
            marked = self._marked(study, view, points) & record[f"{name}_mask"][:, None]
            record[f"{name}_marked"] = marked[:, _FLIPPED_CONDITIONS] if self.flipped else marked
            sources = study.sources[name]
            series = [-1 if one.series is None else _SERIES.index(one.series) for one in sources]
            record[f"{name}_series"] = torch.tensor(series)
            record[f"{name}_reason"] = ["; ".join(filter(None, (one.reason, *refused))) for one in sources]
        record["label"], record["points"] = _flipped(label, points) if self.flipped else (label, points)
        if "soft_label" in data:
            soft = torch.as_tensor(np.asarray(data["soft_label"], dtype=np.float32))
            soft = soft.unflatten(0, (len(Condition), len(Level))).transpose(0, 1)
            record["soft_label"] = soft[:, _FLIPPED_CONDITIONS] if self.flipped else soft
        return record

    def study(self, data: Mapping[Any, Any]) -> StudyCrops:
        """Frames and sources of a record without its crops, for evidence, pictures and tables."""
        return self._study(data)[0]

    def _sampled(self, study: StudyCrops, view: View, images: StudyImages | None) -> Crops:
        poses, flipped = self.poses[view.name], self.flipped
        # Crops of a cache are rounded, so they are not those of another model without one.
        if images is None or self.cache is not None:
            return study.sample(view, poses, flipped=flipped)
        # The series types decide on the frames: see `StudyStacks.axis`.
        key = (view, tuple(poses.items()), flipped, self.series_types)
        return images.crops(key, lambda: study.sample(view, poses, flipped=flipped))

    def _marked(self, study: StudyCrops, view: View, points: torch.Tensor) -> torch.Tensor:
        marked = torch.zeros(len(Level), len(Condition), view.slices, dtype=torch.bool)
        columns = [n for n, condition in enumerate(Condition) if condition.group is view.anchor]
        for n, level in enumerate(Level):
            if level in study.frames:
                grid = crop_grid(view, study.frames[level], self.poses[view.name][level], flipped=self.flipped)
                away = (points[n, columns, None].numpy() - grid.centres) @ grid.directions[:, 2]
                marked[n, columns] = torch.from_numpy(np.abs(away) <= view.gap_mm)
        return marked

    def _study(self, data: Mapping[Hashable, Any]) -> tuple[StudyCrops, tuple[str, ...]]:
        cache: StackCache = data.get(STUDY_IMAGES, self.opened)

        def opened() -> StudyStacks:
            return open_study(data, self.series_types, cache.open, leave_out_bad=self.leave_out_bad)

        stacks = self.cache.stacks(data, opened) if self.cache else opened()
        if stacks.refused and not self.leave_out_bad:
            # The cache file was made with bad_volume="mask"; opening the volumes raises the error that is due here.
            stacks = opened()
        self._warn(stacks.refused)
        return StudyCrops.of(stacks, data.get("points", {}), self.views), stacks.refused

    def _warn(self, refused: Sequence[str]) -> None:
        # Once per volume, not once per epoch.
        for reason in refused:
            if reason not in self.warned:
                logger.warning("left out: %s", reason)
                self.warned.add(reason)


def _in_table(label: Any) -> torch.Tensor:
    """25 labels in the order of `FINDINGS` as int64 ``(levels, conditions)``; missing if there are none."""
    labels = np.full(len(TARGETS), MISSING) if label is None else np.asarray(label)
    return torch.from_numpy(labels.astype(np.int64).reshape(len(Condition), len(Level)).T.copy())


def _points_in_table(points: Mapping[str, Any]) -> torch.Tensor:
    """Points by the findings' names as float32 ``(levels, conditions, 3)``, NaN where unknown."""
    rows = [np.asarray(points.get(target, [np.nan] * 3), dtype=np.float32) for target in TARGETS]
    table = np.stack(rows).reshape(len(Condition), len(Level), 3).transpose(1, 0, 2)
    return torch.from_numpy(np.ascontiguousarray(table))


_FLIPPED_CONDITIONS = [list(Condition).index(condition.flipped) for condition in Condition]


def _flipped(label: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return label[:, _FLIPPED_CONDITIONS], points[:, _FLIPPED_CONDITIONS] * torch.tensor([-1.0, 1.0, 1.0])


class LevelStackd(MapTransform):
    """Concatenate the slices of all views of a level.

    Expects what `LevelCropsd` leaves: for each view ``NAME`` ``(5, slices, rows, columns)`` and ``NAME_mask``
    ``(5, slices)``, and ``label`` ``(5, 5)`` of levels and conditions. Sets ``image``, float32 ``(5, slices of all
    views, rows, columns)`` with `ABSENT` in every pixel of a slice that no stack shows, and ``label``, int64 ``(25,)``
    in the order of `FINDINGS`. A ``soft_label`` ``(5, 5, 3)`` becomes ``(25, 3)``. All ``NAME_marked``, if there are
    any, become ``marked``, bool ``(5, 5, slices of all views)``. The views themselves are removed from the record.

    Parameters
    ----------
    views
        In the order in which the network takes them.
    conditions
        Names of the conditions whose labels count; labels of other conditions become `MISSING`. None for all.

    Raises
    ------
    InvalidOptionError
        If the views differ in rows or columns, or a condition is unknown.
    """

    def __init__(self, *, views: Sequence[View], conditions: Sequence[str] | None = None) -> None:
        super().__init__([view.name for view in views])
        sizes = {view.pixels for view in views}
        if len(sizes) != 1:
            raise InvalidOptionError(f"expected views of one size in pixels, but found {sorted(sizes)}")
        known = [condition.value for condition in Condition]
        if conditions is not None and not set(conditions) <= set(known):
            raise InvalidOptionError(f"expected conditions out of {known}, but found {list(conditions)}")
        self.left_out = [n for n, name in enumerate(known) if conditions is not None and name not in conditions]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Join the crops of a study."""
        record = dict(data)
        stacks, marked = [], []
        for name in self.keys:
            crops, mask = np.asarray(record.pop(name)), np.asarray(record.pop(f"{name}_mask"))
            stacks.append(with_absent(crops, mask))
            if f"{name}_marked" in record:
                marked.append(torch.as_tensor(record.pop(f"{name}_marked")))
        record["image"] = torch.from_numpy(np.concatenate(stacks, axis=1))
        if marked:
            record["marked"] = torch.cat(marked, dim=2)
            record["marked"][:, self.left_out] = False
        if "label" in record:
            table = torch.as_tensor(record["label"]).clone()
            table[:, self.left_out] = MISSING
            record["label"] = table.T.flatten()
        if "soft_label" in record:
            soft = torch.as_tensor(record["soft_label"]).clone()
            soft[:, self.left_out] = 0.0
            record["soft_label"] = soft.transpose(0, 1).flatten(0, 1)
        return record
