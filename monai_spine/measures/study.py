"""The measures of one study, for ``findings.json``: in mm and degrees, with an uncertainty and a percentile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record
from monai_spine.data.volume import Opener, read_volume
from monai_spine.data.volume_names import WITHOUT_SPINE, volume_names
from monai_spine.errors import reason_of
from monai_spine.geometry import Array
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.measures.canal import CanalSize, canal_size
from monai_spine.measures.disc import DiscSize, disc_size
from monai_spine.measures.disc_plane import Frame, frames_of
from monai_spine.measures.reference import NO_OFFSETS, Offsets, Reference
from monai_spine.measures.regions import RegionFinder
from monai_spine.spine import FINDINGS, Group, Level, SeriesType

SCHEMA = "monai_spine/measures/1"
NAMES = (
    "canal_diameter_mm",
    "canal_share",
    "canal_area_mm2",
    "disc_height_front_mm",
    "disc_height_middle_mm",
    "disc_height_back_mm",
    "disc_wedge_deg",
)
"""Measures of a level. ``canal_share``: the diameter, in shares of the median half-way between the discs."""
LORDOSIS = "lordosis_deg"
"""From the upper end plate of L1 to that of S1; of the whole study."""
_READ_ON = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)
"""Series types whose first volume is measured: fluid shows the canal best on T2."""
Values = Mapping[str, float]


@dataclass(frozen=True)
class SpineMeasures:
    """Values by their names: of each level, and of the whole spine. What cannot be seen is not there."""

    levels: Mapping[Level, Values]
    whole: Values


def measured(maps: RegionMaps, canal: Mapping[Level, Array], offsets: Offsets = NO_OFFSETS) -> SpineMeasures:
    """The measures of regions. ``canal``: the canal's points at the discs, RAS mm; two or more."""
    frames = frames_of(canal, maps.right)
    own = _own_diameter(maps, frames, offsets)
    discs = {level: disc_size(maps, frame, offsets.disc) for level, frame in frames.items()}
    of_levels = {
        level: _level(canal_size(maps, frame, offsets.canal), discs[level], own) for level, frame in frames.items()
    }
    top, bottom = discs.get(Level.L1_L2), discs.get(Level.L5_S1)
    whole = {}
    if top is not None and bottom is not None and top.upper_body_plate is not None:
        whole[LORDOSIS] = plates_angle(bottom.lower_plate, top.upper_body_plate)
    return SpineMeasures(of_levels, whole)


def _own_diameter(maps: RegionMaps, frames: Mapping[Level, Frame], offsets: Offsets) -> float | None:
    """The median diameter of the canal half-way between neighbouring discs, where nothing narrows it."""
    pairs = [
        (frames[above], frames[below])
        for above, below in zip(list(Level)[:-1], list(Level)[1:], strict=True)
        if above in frames and below in frames
    ]
    middles = [
        canal_size(
            maps,
            Frame.along((above.origin + below.origin) / 2, above.origin - below.origin, maps.right),
            offsets.canal,
        )
        for above, below in pairs
    ]
    seen = [size.diameter for size in middles if size is not None]
    return float(np.median(seen)) if seen else None


def _level(canal: CanalSize | None, disc: DiscSize | None, own: float | None) -> Values:
    values: dict[str, float | None] = {}
    if canal is not None:
        values |= {"canal_diameter_mm": canal.diameter, "canal_area_mm2": canal.area}
        values["canal_share"] = canal.diameter / own if own else None
    if disc is not None:
        values |= {
            "disc_height_front_mm": disc.front,
            "disc_height_middle_mm": disc.middle,
            "disc_height_back_mm": disc.back,
            "disc_wedge_deg": disc.wedge,
        }
    return {name: value for name in NAMES if (value := values.get(name)) is not None}


def canal_points(record: Record) -> dict[Level, Array]:
    """The points of the canal of a record, RAS mm."""
    return {
        finding.level: np.asarray(record["points"][finding.name], dtype=np.float64)
        for finding in FINDINGS
        if finding.condition.group is Group.SPINAL and finding.name in record["points"]
    }


def plates_angle(lower: Array, upper: Array) -> float:
    """Degrees from one direction of the sagittal plane to another; positive for a hollow back."""
    angles = [math.degrees(math.atan2(plate[2], plate[1])) for plate in (lower, upper)]
    return angles[1] - angles[0]


class Measurer:
    """Measures studies.

    ``finder``: finds the regions. ``reference``: what values are compared with.
    """

    def __init__(self, finder: RegionFinder, reference: Reference) -> None:
        self.finder, self.reference = finder, reference

    def __call__(self, record: Record, opened: Opener) -> dict[str, Any]:
        """The entry ``measures`` of ``findings.json``; under ``reason``, why there are none.

        ``record`` with the points of the canal. A volume that cannot be measured does not end the study.
        """
        canal = canal_points(record)
        names, without_spine = volume_names(record), record.get(WITHOUT_SPINE, ())
        paths = [record[one.value][0] for one in _READ_ON if record.get(one.value)]
        path = next((path for path in paths if names[str(path)] not in without_spine), None)
        if path is None or len(canal) < 2:
            return {"schema": SCHEMA, "reason": "no sagittal volume shows two levels or more"}
        name = names[str(path)]
        try:
            maps = self.finder(read_volume(path, opened), name, np.array(list(canal.values())))
            measures = measured(maps, canal, self.reference.offsets)
        except Exception as error:  # the grades are good without measures
            return {"schema": SCHEMA, "reason": reason_of(error).replace(str(path), name)}
        return {
            "schema": SCHEMA,
            "volume": name,
            "reference": self.reference.name,
            "levels": {
                level.value: {
                    **{name: self.reference.entry(name, value, level) for name, value in values.items()},
                    "canal_grade": self.reference.canal_grade(values),
                }
                for level, values in measures.levels.items()
            },
            "whole": {name: self.reference.entry(name, value) for name, value in measures.whole.items()},
        }
