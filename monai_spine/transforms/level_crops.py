"""Crops of the five disc levels of a study, as a network that grades them takes them."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable

from monai_spine.crops.cache import CropCache
from monai_spine.crops.pose import NO_AUGMENTATION, Augmentation, Pose
from monai_spine.crops.stack import StackCache
from monai_spine.crops.study import StudyCrops, StudyStacks, open_study
from monai_spine.crops.view import DEFAULT_VIEWS, View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import MISSING, TARGETS, Condition, Level, SeriesType

logger = logging.getLogger(__name__)

SERIES = tuple(SeriesType)


class LevelCropsd(Randomizable, MapTransform):
    """Cut every view of every disc level out of a study's volumes, and its labels and points into levels.

    Expects a record of `monai_spine.data.datalist`: lists of NIfTI paths under the series types, ``points`` in RAS mm
    by the findings' names, true or predicted (`monai_spine.levels.located_points`), and ``label`` ``(25,)``; any of
    them may be absent.
    For each view ``NAME``, and for the record, it sets

    - ``NAME``: float32 ``(5, slices, rows, columns)``, levels from L1/L2 to L5/S1, grey values from 0 to 1;
    - ``NAME_mask``: bool ``(5, slices)``, False where no slice lies within 5 mm or the plane's middle is outside of the
      image; pixels are 0 there;
    - ``NAME_series``: int64 ``(5,)``, the index in `SeriesType` of what serves, -1 for none: tells a stand-in;
    - ``NAME_reason``: for each level why the first series type does not serve, or an empty string;
    - ``label``: int64 ``(5, 5)``, levels × conditions in the order of `Condition`, -1 where nobody graded;
    - ``points``: float32 ``(5, 5, 3)``, the same order, RAS mm, NaN where unknown.

    The mirror exchanges left and right of the whole study at once: of all crops, of the labels, and of the points,
    whose x changes its sign. There is no other flip.

    Parameters
    ----------
    views
        What to cut.
    augmentation
        Limits of the random changes, which are part of the one resampling; None for none.
    cache_dir
        Where to keep the part of each study's volumes that the crops are made of (`monai_spine.crops.cache`); None to
        read the volumes every time.
    cache_dtype
        ``uint8`` or ``float16``.
    bad_volume
        ``raise`` an error for a volume that cannot be used, such as one with NaN; or ``mask``, leave it out, say so in
        ``NAME_reason``, and warn once.
    memory_mb
        Of unpacked ``.nii.gz`` volumes kept for the next time, in each process; ``.nii`` files are mapped instead.

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
        cache_dtype: str = "uint8",
        bad_volume: str = "raise",
        memory_mb: float = 256.0,
    ) -> None:
        self.views = tuple(views)
        self.kinds = tuple(kind for kind in SeriesType if any(kind in view.series for view in self.views))
        MapTransform.__init__(self, keys=[kind.value for kind in self.kinds], allow_missing_keys=True)
        if bad_volume not in ("raise", "mask"):
            raise InvalidOptionError(f"expected bad_volume as 'raise' or 'mask', but found {bad_volume!r}")
        names = [view.name for view in self.views]
        if len(set(names)) < len(names):
            raise InvalidOptionError(f"expected a name of its own for every view, but found {names}")
        self.augmentation = augmentation or NO_AUGMENTATION
        self.leave_out_bad = bad_volume == "mask"
        self.told: set[str] = set()
        self.opened = StackCache(int(memory_mb * 2**20))
        self.cache = CropCache(cache_dir, self.views, self.augmentation, cache_dtype) if cache_dir else None
        self.mirrored = False
        self.poses: dict[str, dict[Level, Pose]] = {}

    def randomize(self, data: Any = None) -> None:  # noqa: ARG002 (MONAI's signature)
        """Draw whether to mirror, and a pose for each level and view."""
        limits = self.augmentation
        self.mirrored = limits.draw_mirror(self.R)
        jitters = {level: limits.draw_jitter(self.R) for level in Level}
        self.poses = {view.name: {level: limits.draw(self.R, jitters[level]) for level in Level} for view in self.views}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw, and add the crops to the record."""
        self.randomize()
        record = dict(data)
        study, refused = self._study(data)
        for view in self.views:
            name = view.name
            record[name], record[f"{name}_mask"] = study.sample(view, self.poses[name], mirrored=self.mirrored)
            services = study.services[name]
            series = [-1 if one.series is None else SERIES.index(one.series) for one in services]
            record[f"{name}_series"] = torch.tensor(series)
            record[f"{name}_reason"] = ["; ".join(filter(None, (one.reason, *refused))) for one in services]
        label, points = _in_table(data.get("label")), _points_in_table(data.get("points", {}))
        record["label"], record["points"] = _mirrored(label, points) if self.mirrored else (label, points)
        return record

    def study(self, data: Mapping[Hashable, Any]) -> StudyCrops:
        """What serves every view of every level of a record: for evidence, pictures and tables."""
        return self._study(data)[0]

    def _study(self, data: Mapping[Hashable, Any]) -> tuple[StudyCrops, tuple[str, ...]]:
        def opened() -> StudyStacks:
            return open_study(data, self.kinds, self.opened.open, leave_out_bad=self.leave_out_bad)

        stacks = self.cache.stacks(data, opened) if self.cache else opened()
        if stacks.refused and not self.leave_out_bad:
            stacks = opened()
        self._tell(stacks.refused)
        return StudyCrops.of(stacks, data.get("points", {}), self.views), stacks.refused

    def _tell(self, refused: Sequence[str]) -> None:
        for reason in refused:
            if reason not in self.told:
                logger.warning("left out: %s", reason)
                self.told.add(reason)


def _in_table(label: Any) -> torch.Tensor:
    """25 labels in the order of `FINDINGS` as ``(levels, conditions)``."""
    given = np.full(len(TARGETS), MISSING) if label is None else np.asarray(label)
    return torch.from_numpy(given.astype(np.int64).reshape(len(Condition), len(Level)).T.copy())


def _points_in_table(points: Mapping[str, Any]) -> torch.Tensor:
    rows = [np.asarray(points.get(target, [np.nan] * 3), dtype=np.float32) for target in TARGETS]
    table = np.stack(rows).reshape(len(Condition), len(Level), 3).transpose(1, 0, 2)
    return torch.from_numpy(np.ascontiguousarray(table))


_MIRRORED_CONDITIONS = [list(Condition).index(condition.mirrored) for condition in Condition]


def _mirrored(label: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return label[:, _MIRRORED_CONDITIONS], points[:, _MIRRORED_CONDITIONS] * torch.tensor([-1.0, 1.0, 1.0])
