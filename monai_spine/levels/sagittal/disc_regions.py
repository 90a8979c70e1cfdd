"""Discs by the region map: the second witness of how many discs there are, and of where the sacrum begins.

The canal's peaks say where a disc crosses the canal, but a collapsed or slipped disc may have none, or two discs one.
The region map shows the discs themselves, some 25 mm in front of the canal. On 54 real patients of the SPIDER data set
every disc from L1/L2 to L5/S1 but 3 of 270 was a region of its own (`benchmarks/real_spines.py`).

All places are RAS mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import center_of_mass, label, map_coordinates, maximum
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from monai_spine.geometry import Array, spacing, to_voxel, to_world
from monai_spine.levels.sagittal.maps import REGIONS
from monai_spine.levels.sagittal.peak_chain import best_chain, directions
from monai_spine.levels.sagittal.peaks import Peak

_BESIDE_MM = (-4.0, 0.0, 4.0)
"""Places across the slices, from the canal's middle, of which the regions' mean is taken."""
_LEAST_SHARE = 0.4
"""Probability of a disc above which a voxel belongs to one."""
LEAST_AREA_MM2 = 110.0
"""Least area of a disc in the sagittal plane. Real discs have 120 mm² (collapsed) to 600; false regions are smaller."""
_BONE_MM = (14.0, 20.0, 26.0)
"""Distances from a disc's centre to the bone above or below it."""
_TILTS_DEG = (0.0, 15.0, 30.0, 45.0)
"""The sacrum lies below its disc and behind: angles from the spine's direction."""
_SACRUM_MM = 55.0
"""Distance from the lumbosacral disc's centre within which most of S1 and S2 lies."""
_SECOND_BODY_MM = (40.0, 48.0, 56.0)
"""From a disc's centre to the second body above it."""
_CLEAR_BODY = 0.5
_DOUBT = 0.05
"""Added to the probability of bone, so that the share is near 0 where there is hardly any bone."""
_BEHIND_MM = (10.0, 44.0)
"""Distance from a disc's centre back to the canal; measured on patients: 16 to 36 mm."""
_ABOVE_MM = (-10.0, 22.0)
"""How far above its centre a disc crosses the canal; 0 to 6 mm in patients, up to 22 at L5/S1, which is tilted."""
USUAL_BEHIND_MM, USUAL_ABOVE_MM = 27.0, 4.0
_BEHIND_SCALE_MM, _ABOVE_SCALE_MM = 15.0, 10.0
"""The usual place, and the distances from it that cost as much as half a perfect peak is worth."""
_IMPOSSIBLE = 100.0


@dataclass(frozen=True)
class DiscRegion:
    """A disc of the region map."""

    centre: Array
    """RAS mm."""
    area: float
    """Square millimetres in the sagittal plane."""
    height: float
    """The highest probability of a disc in it."""


@dataclass(frozen=True)
class MiddlePlane:
    """The regions in the curved plane through the canal: slices are chosen row by row, so scoliosis is followed.

    ``values``: probabilities ``(len(REGIONS), y, z)``. ``slices``: the slice of each row, with fractions.
    ``affine``: ``(4, 4)`` from voxels of the volume to RAS mm.
    """

    values: Array
    slices: Array
    affine: Array

    @classmethod
    def through(cls, canal: Sequence[Peak], regions: Array, affine: Array) -> MiddlePlane:
        """The plane through canal peaks; regions ``(len(REGIONS), x, y, z)``."""
        places = to_voxel(affine, np.array([peak.world for peak in canal]))
        places = places[np.argsort(places[:, 2])]
        rows = np.arange(regions.shape[3])
        slices = np.interp(rows, places[:, 2], places[:, 0])
        last = regions.shape[1] - 1
        x = np.clip(slices + np.array(_BESIDE_MM)[:, None] / spacing(affine)[0], 0, last)
        # Linear between two slices; SciPy, which interpolates along all three axes, takes ten times as long.
        below = np.floor(x).astype(int)
        share = (x - below)[..., None, None]
        parts = regions[:, below, :, rows] * (1 - share) + regions[:, np.minimum(below + 1, last), :, rows] * share
        return cls(parts.mean(axis=0).transpose(1, 2, 0), slices, affine)

    def discs(self) -> list[DiscRegion]:
        """The disc regions, from above."""
        disc = self.values[REGIONS.index("disc")]
        numbers, count = label(disc > _LEAST_SHARE)
        _, width, height = spacing(self.affine)
        discs = []
        for n in range(1, count + 1):
            area = float((numbers == n).sum() * width * height)
            if area < LEAST_AREA_MM2:
                continue
            y, z = center_of_mass(disc, numbers, n)
            voxel = [float(np.interp(z, np.arange(len(self.slices)), self.slices)), float(y), float(z)]
            discs.append(DiscRegion(to_world(self.affine, voxel), area, float(maximum(disc, numbers, n))))
        return sorted(discs, key=lambda one: -one.centre[2])

    def sacrum_below(self, disc: DiscRegion, upwards: Array) -> float:
        """From 0 to 1: the sacrum's share of the bone below a disc, times the body's share of the bone above it.

        ``upwards``: the spine's direction at the disc.
        """
        up = np.array([0.0, *(upwards[1:] / np.linalg.norm(upwards[1:]))])
        *below, above = self._sacral_shares(disc.centre, [*(-_turned(up, angle) for angle in _TILTS_DEG), up])
        return max(below) * (1.0 - above)

    def sacral_area(self, disc: DiscRegion) -> float:
        """Square millimetres of sacrum below a disc's centre and within `_SACRUM_MM` of it."""
        _, width, height = spacing(self.affine)
        _, y, z = to_voxel(self.affine, disc.centre)
        sacrum = self.values[REGIONS.index("sacrum")]
        columns, rows = np.meshgrid(*map(np.arange, sacrum.shape), indexing="ij")
        near = (np.hypot((columns - y) * width, (rows - z) * height) < _SACRUM_MM) & (rows < z)
        return float(sacrum[near].sum() * width * height)

    def body_above(self, disc: DiscRegion, upwards: Array) -> float:
        """Probability of a body in the place of the second one above a disc."""
        places = to_voxel(self.affine, disc.centre + np.outer(_SECOND_BODY_MM, upwards))[:, 1:].T
        body = self.values[REGIONS.index("body")]
        return float(map_coordinates(body, places, order=1, mode="constant").max())

    def _sacral_shares(self, centre: Array, directions: Sequence[Array]) -> list[float]:
        """The sacrum's share of the bone in each direction from a place."""
        lines = centre + np.array(_BONE_MM)[:, None] * np.stack(directions)[:, None]
        places = np.moveaxis(to_voxel(self.affine, lines)[..., 1:], -1, 0)
        body, sacrum = (
            map_coordinates(self.values[REGIONS.index(name)], places, order=1, mode="constant").mean(axis=1)
            for name in ("body", "sacrum")
        )
        return [float(share) for share in sacrum / (body + sacrum + _DOUBT)]


def _turned(up: Array, degrees: float) -> Array:
    """The spine's direction turned forwards at its upper end, so that its opposite leads down and backwards."""
    angle = np.radians(degrees)
    return np.asarray(np.cos(angle) * up + np.sin(angle) * _forwards(up))


@dataclass(frozen=True)
class RegionSpine:
    """The discs of the region map that follow each other along the spine, from above."""

    discs: tuple[DiscRegion, ...] = ()
    upwards: tuple[Array, ...] = ()
    """Unit vectors in RAS along the spine, for each disc."""
    votes: tuple[float, ...] = ()
    """For each disc the vote for a sacrum below it, from 0 to 1."""
    sacral_areas: tuple[float, ...] = ()
    """For each disc, mm² of the sacrum that the sagittal plane shows below it."""
    goes_on: bool = False
    """Whether the spine goes on above the uppermost disc."""


def region_spine(regions: Array, affine: Array, canal: Sequence[Peak]) -> RegionSpine:
    """The spine of a region map ``(len(REGIONS), x, y, z)``, in the plane through canal peaks; empty without any."""
    if not canal:
        return RegionSpine()
    plane = MiddlePlane.through(canal, regions, affine)
    discs = {id(peak): (peak, disc) for disc in plane.discs() for peak in [Peak(disc.centre, disc.height)]}
    chain = [discs[id(peak)][1] for peak in best_chain([peak for peak, _ in discs.values()])]
    if len(chain) < 2:
        return RegionSpine()
    upwards = directions([disc.centre for disc in chain])
    votes = tuple(plane.sacrum_below(disc, up) for disc, up in zip(chain, upwards, strict=True))
    areas = tuple(plane.sacral_area(disc) for disc in chain)
    goes_on = plane.body_above(chain[0], upwards[0]) > _CLEAR_BODY
    return RegionSpine(tuple(chain), tuple(upwards), votes, areas, goes_on)


def canal_peaks_of(spine: RegionSpine, canal: Sequence[Peak]) -> list[Peak | None]:
    """For each disc of a spine the canal peak behind it, or None; a peak belongs to one disc at most."""
    if not spine.discs or not canal:
        return [None] * len(spine.discs)
    costs = np.array(
        [
            [_cost(*behind_and_above(disc.centre, up, peak.world)) - 2 * peak.height for peak in canal]
            for disc, up in zip(spine.discs, spine.upwards, strict=True)
        ]
    )
    chosen: list[Peak | None] = [None] * len(spine.discs)
    # A pair that cannot be costs so much that it never displaces one that can.
    for n, m in zip(*_cheapest_pairs(np.minimum(costs, _IMPOSSIBLE)), strict=True):
        if costs[n, m] < _IMPOSSIBLE:
            chosen[n] = canal[m]
    return chosen


def _cheapest_pairs(costs: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Rows and columns of the cheapest pairs, each row and column once, as many as there can be.

    It is `scipy.optimize.linear_sum_assignment`, whose package takes a fifth of a second to import.
    """
    rows, columns = min_weight_full_bipartite_matching(csr_array(costs - costs.min() + 1))  # a weight of 0 is no pair
    return rows, columns


def behind_and_above(start: Array, upwards: Array, place: Array) -> tuple[float, float]:
    """How far a place lies behind another one, and above it along the spine, in mm of the sagittal plane."""
    up = np.array([0.0, *(upwards[1:] / np.linalg.norm(upwards[1:]))])
    offset = place - start
    return float(-offset @ _forwards(up)), float(offset @ up)


def _cost(behind: float, above: float) -> float:
    if not (_BEHIND_MM[0] <= behind <= _BEHIND_MM[1] and _ABOVE_MM[0] <= above <= _ABOVE_MM[1]):
        return 2 * _IMPOSSIBLE
    return abs(behind - USUAL_BEHIND_MM) / _BEHIND_SCALE_MM + abs(above - USUAL_ABOVE_MM) / _ABOVE_SCALE_MM


def expected_canal(disc: DiscRegion, upwards: Array) -> Array:
    """The usual place of the canal behind a disc, RAS mm."""
    up = np.array([0.0, *(upwards[1:] / np.linalg.norm(upwards[1:]))])
    return np.asarray(disc.centre - USUAL_BEHIND_MM * _forwards(up) + USUAL_ABOVE_MM * up)


def _forwards(up: Array) -> Array:
    return np.array([0.0, up[2], -up[1]])
