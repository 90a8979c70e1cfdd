"""The chain of discs: which canal peaks belong to the spine, in which order, and which disc has which level.

Second step after the maps: `find_peaks` finds single peaks, this module makes a spine of them, `points` names it.
The steps of `link`, which sees the canal's peaks alone, in order:

1. The best chain: each disc lies below the one before, 20 to 90 mm away, and the chain bends by less than 50 degrees.
   Of all such chains the one with the greatest sum of peak heights is taken (`peak_chain.best_chain`).
2. Too few or too faint discs, or too many peaks between them, are no lumbar spine.
3. The anchor: the disc below which the sacrum begins is the lumbosacral disc L5/S1. Discs below it are dropped
   (`find_anchor`).
4. Gaps: where a gap is wide enough for a disc that was missed, one is interpolated (`with_interpolated`).
5. Levels are counted upwards from the anchor (`levels`). Where nobody can be sure of them, `Chain.doubts` says why.

`region_chain` does the same with the discs of the region map, and compares.

All places are RAS mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.peak_chain import USUAL_PITCH_MM, best_chain, directions
from monai_spine.levels.sagittal.peaks import Peak
from monai_spine.spine import Level, Side

# Limits of a chain. They were chosen on phantoms. "Known limit" is what they missed on 124 real volumes.

LEAST_DISCS = 3
"""Fewer discs are no lumbar spine: any two peaks at a usual distance would be one."""
LEAST_MEAN_HEIGHT = 0.3
"""Least mean height of a chain's peaks. False chains, such as those of volumes flipped front to back, stay at .26 or
below."""
_MOST_SKIPPED = 0.4
"""Largest share of the chain's gaps that may hold a peak outside the chain. In a neck, whose discs lie too close, every
other disc would make a chain of usual distances, with a skipped peak in each gap."""

# Gaps between discs.

_ODD_RATIO, _ODD_RATIO_LAST = (0.65, 1.35), (0.55, 1.15)
"""Distances along the canal in shares of the spine's median that are usual; last: from L4/L5 to L5/S1. On 54 patients
of SPIDER .70 to 1.20, and .68 to .98 for the last."""
_LAST_PITCH_MM = (15.0, 45.0)
"""L5/S1 is tilted, so that it crosses the canal 17 to 33 mm below L4/L5."""

_MISSED_RATIO = 1.6
"""A gap wider than this times the chain's median distance holds a disc that was missed: one missed disc makes a gap of
about 2. Known limit: gaps just below this made the levels wrong in some patients with collapsed discs."""
_MISSED_RATIO_BESIDE_PEAK = 1.4
"""The same limit for a gap that holds a skipped peak, since something is there."""
_BETWEEN_DISCS = (0.2, 0.8)
"""Share of the way from one disc to the next at which a peak lies between them, and not at one of them."""
_HALF_CANAL_MM = 9.0
"""A peak farther than this from the line between two discs lies outside the canal: about half a canal."""

# The lumbosacral disc. A vote is between 0 and 1; see `monai_spine.levels.sagittal.points`. On 12 phantom volumes votes
# by regions were .31 to .88 at the lumbosacral disc, and at most .14 at any other disc.

_LEAST_SACRUM = 0.15
"""Least vote of an anchor; below it the sacrum is out of view."""
SURE_SACRUM = 0.4
"""Least vote with which the levels are certain."""
_RIVAL_SACRUM = 0.5
"""A second disc with this share of the anchor's vote makes the levels uncertain. Known limit: a bright remnant of the
disc S1/S2 may have a little less on real images."""

# Places beside the canal, (sideways, forwards, upwards along the spine) in mm, after the phantom's anatomy.

_FORAMEN_OFFSET_MM = (17.5, 3.0, 6.5)
"""From the canal at a disc to a foramen; adults' foramina lie 15 to 25 mm from the midline."""
_RECESS_OFFSET_MM = (9.5, 2.5, -2.0)
"""From the canal at a disc to a lateral recess, which lies below the disc and in front of the canal's middle."""
_FORAMEN_RADIUS_MM = 14.0
"""A foraminal peak farther than this from the expected place belongs to another level: about half the distance from
disc to disc."""
_HEIGHT_WORTH_MM = 10.0
"""Of two foraminal peaks in that radius, one that is higher by 1 may be this much farther from the expected place."""

FAINT_HEIGHT = 0.3
"""Peaks below this height are flagged `Flag.FAINT`."""


@dataclass(frozen=True)
class Disc:
    """One disc of a chain."""

    canal: Array
    """RAS mm of the canal's middle at the disc."""
    confidence: float
    """From 0 to 1: the peak's height."""
    upwards: Array
    """Unit vector in RAS along the spine."""
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Chain:
    """The discs of a spine, from above."""

    discs: tuple[Disc, ...]
    anchored: bool
    """Whether the lowest disc is the lumbosacral disc, as far as the volume shows."""
    sacrum: float
    """The vote for a sacrum below the lowest disc, from 0 to 1."""
    doubts: tuple[Doubt, ...] = ()
    """Why the levels are uncertain."""
    rise: float | None = None
    """Millimetres by which the lumbosacral disc crosses the canal above its own centre, along the spine; None if its
    region or its peak was not seen. The disc is tilted, so that this is positive unless the image is upside down."""

    @property
    def certain(self) -> bool:
        """Whether the levels are beyond doubt."""
        return not self.doubts


def link(canal: Sequence[Peak], sacrum_below: Callable[[Disc], float]) -> Chain | None:
    """The best chain of discs, or None if there is no lumbar spine.

    ``canal``: peaks of the canal map, in any order.
    ``sacrum_below``: the vote for a sacrum below a disc, from 0 to 1.
    """
    peaks = best_chain(canal)
    if len(peaks) < LEAST_DISCS or np.mean([peak.height for peak in peaks]) < LEAST_MEAN_HEIGHT:
        return None
    skipped = _skipped(peaks, canal)
    if sum(skipped) > _MOST_SKIPPED * (len(peaks) - 1):
        return None
    anchor, vote, doubts = find_anchor([sacrum_below(disc) for disc in place_discs(peaks)])
    if anchor:  # an anchor at the very top would leave a single disc; then all are kept, and the levels are uncertain
        peaks = peaks[: anchor + 1]
    discs = with_interpolated(place_discs(peaks, anchor is not None), _skipped(peaks, canal))
    more = [Doubt.PASSED_OVER] * any(skipped)
    more += [Doubt.WIDE_GAP] * has_wide_gap(peaks, anchor is not None)
    return Chain(discs, anchor is not None, vote, (*doubts, *more))


def _skipped(chain: Sequence[Peak], peaks: Sequence[Peak]) -> list[bool]:
    """For each gap of the chain, whether it holds a clear peak that is not in the chain."""
    members = {id(peak) for peak in chain}
    others = [peak for peak in peaks if id(peak) not in members and peak.height >= LEAST_MEAN_HEIGHT]
    gaps = pairwise([peak.world for peak in chain])
    return [any(_is_between(above, below, peak.world) for peak in others) for above, below in gaps]


def _is_between(start: Array, end: Array, point: Array) -> bool:
    """Whether a point lies between two others, in the canal."""
    line = end - start
    share = float((point - start) @ line / (line @ line))
    beside = float(np.linalg.norm(point - start - share * line))
    return _BETWEEN_DISCS[0] < share < _BETWEEN_DISCS[1] and beside < _HALF_CANAL_MM


def find_anchor(votes: Sequence[float], sure: float = SURE_SACRUM) -> tuple[int | None, float, tuple[Doubt, ...]]:
    """Index of the lumbosacral disc, its vote, and the doubts about it; None if no vote is high enough.

    ``sure``: the least vote with which the levels are certain.
    """
    order = sorted(range(len(votes)), key=lambda n: (-votes[n], n))
    best = order[0]
    if votes[best] < _LEAST_SACRUM:
        return None, votes[best], (Doubt.NO_SACRUM,)
    doubts = [Doubt.FAINT_SACRUM] * (votes[best] < sure)
    doubts += [Doubt.RIVAL] * (len(votes) > 1 and votes[order[1]] >= _RIVAL_SACRUM * votes[best])
    # Discs where there should be the sacrum contradict the anchor.
    doubts += [Doubt.BELOW] * (best != len(votes) - 1)
    return best, votes[best], tuple(doubts)


def place_discs(chain: Sequence[Peak], anchored: bool = False) -> tuple[Disc, ...]:
    """Discs at the peaks of a chain, with directions and flags; a peak without height is flagged as interpolated.

    ``anchored``: whether the lowest is the lumbosacral disc, whose distance to the next one is shorter.
    """
    places = [peak.world for peak in chain]
    gaps = [float(np.linalg.norm(above - below)) for above, below in pairwise(places)]
    odd = _odd_gaps(gaps, anchored)
    discs = []
    for n, (peak, upwards) in enumerate(zip(chain, directions(places), strict=True)):
        flags = [Flag.ODD_SPACING] * any(odd[m] for m in (n - 1, n) if 0 <= m < len(odd))
        flags += [Flag.INTERPOLATED if peak.height == 0 else Flag.FAINT] * (peak.height < FAINT_HEIGHT)
        discs.append(Disc(peak.world, peak.height, upwards, tuple(flags)))
    return tuple(discs)


def has_wide_gap(chain: Sequence[Peak], anchored: bool) -> bool:
    """Whether two of the lowest discs, which are the graded ones, are farther apart than in adults.

    Between two discs one may have been missed. Above the lowest one the reason may also be that it is no disc, but a
    remnant within the sacrum.
    """
    gaps = [float(np.linalg.norm(above.world - below.world)) for above, below in pairwise(chain)]
    usual = [high for _, high in _usual_gaps(gaps, anchored)]
    return any(gap > high for gap, high in list(zip(gaps, usual, strict=True))[1 - len(Level) :])


def _odd_gaps(gaps: Sequence[float], anchored: bool) -> list[bool]:
    """For each distance of neighbours, from above, whether adults' spines do not have it."""
    return [not low <= gap <= high for gap, (low, high) in zip(gaps, _usual_gaps(gaps, anchored), strict=True)]


def _usual_gaps(gaps: Sequence[float], anchored: bool) -> list[tuple[float, float]]:
    """For each distance of neighbours, from above, the least and the greatest one that adults' spines have, in mm."""
    usual = float(np.clip(np.median(gaps), *USUAL_PITCH_MM)) if gaps else 0.0
    least, most = USUAL_PITCH_MM
    limits = [(max(least, _ODD_RATIO[0] * usual), min(most, _ODD_RATIO[1] * usual)) for _ in gaps]
    if limits and anchored:
        low, high = _ODD_RATIO_LAST
        limits[-1] = max(_LAST_PITCH_MM[0], low * usual), min(_LAST_PITCH_MM[1], high * usual)
    return limits


def with_interpolated(discs: tuple[Disc, ...], skipped: Sequence[bool]) -> tuple[Disc, ...]:
    """The discs, with one in the middle of each gap that is wide enough for a disc that was missed.

    ``skipped`` tells for each gap whether it holds a peak that is not in the chain.
    """
    gaps = [float(np.linalg.norm(above.canal - below.canal)) for above, below in pairwise(discs)]
    # The median of a short chain may itself be a gap with a missed disc, so it is kept in the usual range.
    usual = float(np.clip(np.median(gaps), *USUAL_PITCH_MM))
    filled = [discs[0]]
    for gap, disc, beside_peak in zip(gaps, discs[1:], skipped, strict=True):
        above = filled[-1]
        if gap > (_MISSED_RATIO_BESIDE_PEAK if beside_peak else _MISSED_RATIO) * usual:
            upwards = above.upwards + disc.upwards
            middle = (above.canal + disc.canal) / 2
            filled.append(Disc(middle, 0.0, upwards / np.linalg.norm(upwards), (Flag.INTERPOLATED,)))
        filled.append(disc)
    return tuple(filled)


def levels(chain: Chain) -> list[tuple[Level, Disc]]:
    """The discs of the five graded levels, from above.

    Levels are counted upwards from the lumbosacral disc. Without one, the lowest disc in view is named L4/L5, and
    `Chain.certain` is false.
    """
    lowest = Level.L5_S1 if chain.anchored else Level.L4_L5
    names = list(Level)[: list(Level).index(lowest) + 1]
    return list(zip(names[-len(chain.discs) :], chain.discs[-len(names) :], strict=True))


def expected_foramen(disc: Disc, side: Side) -> Array:
    """Expected place of a foramen, RAS mm, from the canal at its disc."""
    return _beside(disc, side, _FORAMEN_OFFSET_MM)


def expected_recess(disc: Disc, side: Side) -> Array:
    """Expected place of a lateral recess, RAS mm, from the canal at its disc."""
    return _beside(disc, side, _RECESS_OFFSET_MM)


def _beside(disc: Disc, side: Side, offset: tuple[float, float, float]) -> Array:
    """A place beside the canal, in the disc's own frame: the patient's right made perpendicular to the spine."""
    right = np.array([1.0, 0.0, 0.0]) - disc.upwards[0] * disc.upwards
    right /= np.linalg.norm(right)
    forwards = np.cross(disc.upwards, right)
    sideways, ahead, up = offset
    sign = 1.0 if side is Side.RIGHT else -1.0
    return np.asarray(disc.canal + sign * sideways * right + ahead * forwards + up * disc.upwards, dtype=np.float64)


def nearest_foramen(peaks: Sequence[Peak], disc: Disc, side: Side) -> Peak | None:
    """The foraminal peak that belongs to a disc and side, or None."""
    place = expected_foramen(disc, side)
    near = [peak for peak in peaks if np.linalg.norm(peak.world - place) <= _FORAMEN_RADIUS_MM]
    # Distance decides, and among peaks at about the same distance the higher one.
    return min(
        near,
        key=lambda peak: float(np.linalg.norm(peak.world - place)) - _HEIGHT_WORTH_MM * peak.height,
        default=None,
    )
