"""Named points from the maps of the level network: canal and foramina at the graded levels, and what is out of view.

The last step of the level localizer for one volume: peaks of the maps become a `chain`, which the vote for a sacrum
anchors, and the discs of the chain get the names of levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from monai_spine.data.datalist import Record
from monai_spine.geometry import Array, contains, to_voxel
from monai_spine.levels.sagittal.chain import FAINT_HEIGHT, Chain, Disc, expected_foramen, levels, link, nearest_foramen
from monai_spine.levels.sagittal.disc_regions import region_spine
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS, map_affine
from monai_spine.levels.sagittal.peaks import Peak, find_peaks
from monai_spine.levels.sagittal.region_chain import agreed, link_regions
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.spine import FINDINGS, Finding, Group, Level, Side

_SAME_DISC_MM = 14.0
"""Largest distance between a canal peak and a lumbosacral peak of the same disc."""
_AHEAD_MM, _ALONG_MM = 18.0, 22.0
"""From the canal at a disc to the middle of the bodies above and below it: forwards, and along the spine."""
_SAMPLES_MM = np.array([[0.0, forwards, upwards] for forwards in (-6.0, 0.0, 6.0) for upwards in (-6.0, 0.0, 6.0)])
"""Offsets at which regions are sampled around the middle of a body, so that one wrong voxel does not decide."""
_DOUBT = 0.05
"""Added to the probability of bone, so that the share is near 0 where there is hardly any bone."""


@dataclass(frozen=True)
class Sacrum:
    """The network's answer about the sacrum in one volume."""

    regions: Array
    """Probabilities ``(len(REGIONS), x, y, z)``."""
    affine: Array
    """``(4, 4)`` from their voxels to RAS mm."""
    peaks: Sequence[Peak]
    """Peaks of the lumbosacral map."""

    def below(self, disc: Disc) -> float:
        """The vote for a sacrum below a disc, from 0 to 1.

        It is the larger of two values: the probability that the bone below is sacral and the bone above is not; and the
        height of the highest lumbosacral peak at the disc.
        """
        # The bone tells more than the peak: on 12 phantom volumes .31 to .88 at the lumbosacral disc, at most .14
        # elsewhere, at a time when the lumbosacral map had .21 to .39 there and up to .26 elsewhere.
        regions = self._sacral_share(disc, -_ALONG_MM) * (1.0 - self._sacral_share(disc, _ALONG_MM))
        near = [peak.height for peak in self.peaks if np.linalg.norm(peak.world - disc.canal) <= _SAME_DISC_MM]
        return max(regions, *near) if near else regions

    def _sacral_share(self, disc: Disc, along: float) -> float:
        """The sacrum's share of the bone in front of the canal, ``along`` mm up the spine from a disc."""
        up = disc.upwards
        forwards = np.array([0.0, up[2], -up[1]]) / max(float(np.hypot(up[1], up[2])), 1e-6)
        place = disc.canal + _AHEAD_MM * forwards + along * up
        voxels = to_voxel(self.affine, place + _SAMPLES_MM).T
        body, sacrum = (
            float(map_coordinates(self.regions[REGIONS.index(name)], voxels, order=1, mode="nearest").mean())
            for name in ("body", "sacrum")
        )
        return sacrum / (body + sacrum + _DOUBT)


_LEAST_HEIGHT = {"canal": 0.2, "foramen": 0.15, "lumbosacral": 0.15}
"""Least heights of peaks. They are low, since the chain drops false peaks, but cannot bring back missing ones."""
_LEAST_APART_MM = {"canal": 14.0, "foramen": 12.0, "lumbosacral": 14.0}
"""Least distances of two peaks of one type. Known limit: collapsed discs may be 10 to 17 mm apart."""

_LEAST_BEHIND_DISC, _LEAST_APART_BEHIND_DISC_MM = 0.08, 10.0
"""The same for canal peaks behind a disc of the region map."""

OUT_OF_VIEW = "out of view"
NO_SPINE = "no lumbar spine found"


class Structure(str, Enum):
    """The anatomical structure that a point marks."""

    CANAL = "canal"
    FORAMEN = "foramen"
    RECESS = "recess"


_STRUCTURES = {
    Group.SPINAL: Structure.CANAL,
    Group.FORAMINAL: Structure.FORAMEN,
    Group.SUBARTICULAR: Structure.RECESS,
}


class Key(NamedTuple):
    """What identifies a point in a study."""

    structure: Structure
    level: Level
    side: Side | None

    @classmethod
    def of(cls, finding: Finding) -> Key:
        """The point of a finding."""
        return cls(_STRUCTURES[finding.condition.group], finding.level, finding.condition.side)

    @property
    def label(self) -> str:
        """Its name in markups, such as ``recess L5/S1 right``."""
        return " ".join(filter(None, [self.structure.value, self.level.title, self.side and self.side.value]))


FINDING_OF = {Key.of(finding): finding for finding in FINDINGS}
"""The finding of each point that there can be."""


@dataclass(frozen=True)
class _Named:
    structure: Structure
    level: Level
    side: Side | None

    @property
    def key(self) -> Key:
        """What identifies it in its study."""
        return Key(self.structure, self.level, self.side)


@dataclass(frozen=True)
class LevelPoint(_Named):
    """A named point in RAS mm, with its confidence from 0 to 1 and its flags."""

    world: Array
    confidence: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absent(_Named):
    """A point that is missing, and the reason."""

    reason: str


@dataclass(frozen=True)
class SpinePoints:
    """The points of one volume; ``chain`` is None if it shows no lumbar spine, and ``reason`` says why."""

    chain: Chain | None
    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]
    reason: str = ""
    regions: RegionMaps | None = field(default=None, compare=False, repr=False)
    """The regions that the network saw, on the grid of its maps."""

    @property
    def by_key(self) -> dict[Key, LevelPoint]:
        """The points by what identifies them in a study."""
        return {point.key: point for point in self.points}


def marked_positions(record: Record, *structures: Structure) -> dict[Key, Array]:
    """The marked points of a study that mark these structures, RAS mm."""
    points = record.get("points", {})
    return {
        key: np.asarray(points[finding.name], dtype=np.float64)
        for key, finding in FINDING_OF.items()
        if finding.name in points and key.structure in structures
    }


def points_of(volume: Mapping[str, Any]) -> SpinePoints:
    """Named points of a volume from an engine, with ``image``, its ``affine``, and ``pred``, maps from 0 to 1."""
    import torch  # only here: converted networks do without it

    affine = np.asarray(torch.as_tensor(volume["affine"]).cpu(), dtype=np.float64)
    maps = torch.as_tensor(volume["pred"]).float().cpu().numpy().astype(np.float64)
    return read_maps(maps, map_affine(affine), tuple(volume["image"].shape[1:]), affine)


def read_maps(maps: Array, affine: Array, shape: Sequence[int], grid: Array) -> SpinePoints:
    """Named points from maps.

    ``maps``: ``(len(LANDMARKS) + len(REGIONS), x, y, z)``, from 0 to 1, as `maps.probabilities` gives them.
    ``affine``: ``(4, 4)`` from voxels of the maps to RAS mm.
    ``shape``, ``grid``: Shape and affine of the image, which decide what is in view.
    """
    peaks = {
        name: find_peaks(values, affine, threshold=_LEAST_HEIGHT[name], apart=_LEAST_APART_MM[name])
        for name, values in zip(LANDMARKS, maps[: len(LANDMARKS)], strict=True)
    }
    chain = _chain(maps, affine, peaks)
    if chain is None:
        return SpinePoints(None, (), (), NO_SPINE)
    regions = RegionMaps(maps[len(LANDMARKS) :].astype(np.float32), affine)
    return replace(named_points(chain, peaks["foramen"], shape, grid), regions=regions)


def named_points(chain: Chain, foramina: Sequence[Peak], shape: Sequence[int], grid: Array) -> SpinePoints:
    """The points of a chain: the canal at each level, and both foramina from their peaks or at their usual places."""
    named = levels(chain)
    level_flags = () if chain.certain else (Flag.UNCERTAIN_LEVEL.value,)
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    for level, disc in named:
        flags = (*level_flags, *(flag.value for flag in disc.flags))
        points.append(LevelPoint(Structure.CANAL, level, None, disc.canal, disc.confidence, flags))
        for side in Side:
            foramen = _foramen(foramina, level, disc, side, level_flags)
            # The expected place of a foramen may lie beside the outermost slice.
            if contains(grid, tuple(shape), foramen.world):
                points.append(foramen)
            else:
                absent.append(Absent(Structure.FORAMEN, level, side, OUT_OF_VIEW))
    in_view = {level for level, _ in named}
    absent += [Absent(Structure.CANAL, level, None, OUT_OF_VIEW) for level in Level if level not in in_view]
    return SpinePoints(chain, tuple(points), tuple(absent))


def _chain(maps: Array, affine: Array, peaks: Mapping[str, Sequence[Peak]]) -> Chain | None:
    regions = maps[len(LANDMARKS) :]  # the maps of the regions come after those of the landmarks
    by_peaks = link(peaks["canal"], Sacrum(regions, affine, peaks["lumbosacral"]).below)
    # Where a disc of the region map says that there is one, a lower peak counts, and one that is nearer to the next.
    low = find_peaks(maps[0], affine, threshold=_LEAST_BEHIND_DISC, apart=_LEAST_APART_BEHIND_DISC_MM)
    spine = region_spine(regions, affine, peaks["canal"])
    return agreed(link_regions(spine, low, peaks["lumbosacral"]), by_peaks)


def _foramen(peaks: Sequence[Peak], level: Level, disc: Disc, side: Side, level_flags: tuple[str, ...]) -> LevelPoint:
    """A foramen at its peak, or else at its expected place with confidence 0."""
    peak = nearest_foramen(peaks, disc, side)
    if peak is None:
        flags = (*level_flags, Flag.INTERPOLATED.value)
        return LevelPoint(Structure.FORAMEN, level, side, expected_foramen(disc, side), 0.0, flags)
    flags = (*level_flags, *([Flag.FAINT.value] if peak.height < FAINT_HEIGHT else []))
    return LevelPoint(Structure.FORAMEN, level, side, peak.world, peak.height, flags)


def with_doubt(spine: SpinePoints, doubt: Doubt, doubted: bool = True) -> SpinePoints:
    """The points of a volume with a doubt about their levels, or without it, and the flags that go with it."""
    if spine.chain is None:
        return spine
    others = tuple(one for one in spine.chain.doubts if one is not doubt)
    chain = replace(spine.chain, doubts=(*others, doubt) if doubted else others)
    flag = Flag.UNCERTAIN_LEVEL.value
    points = []
    for point in spine.points:
        own = tuple(one for one in point.flags if one != flag)
        points.append(replace(point, flags=own if chain.certain else (flag, *own)))
    return replace(spine, chain=chain, points=tuple(points))
