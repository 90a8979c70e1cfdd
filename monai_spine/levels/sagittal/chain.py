"""The chain of discs: which canal peaks belong to the spine, in which order, and which disc has which level.

Second step after the maps: `find_peaks` finds single peaks, this module makes a spine of them, `points` names it.
The steps of `link`, in order:

1. The best chain: each disc lies below the one before, 20 to 90 mm away, and the chain bends by less than 50 degrees.
   Of all such chains the one with the greatest sum of peak heights is taken (`_best_chain`).
2. Too few or too faint discs, or too many peaks between them, are no lumbar spine.
3. The anchor: the disc below which the sacrum begins is the lumbosacral disc L5/S1. Discs below it are dropped
   (`_anchor`).
4. Gaps: where a gap is wide enough for a disc that was missed, one is interpolated (`_with_interpolated`).
5. Levels are counted upwards from the anchor (`levels`). Without the sacrum in view nobody can be sure of them, and
   `Chain.certain` is false.

All places are RAS mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.landmark_maps import Peak
from monai_spine.spine import Level, Side

# Limits of a chain. They were chosen on phantoms. "Known limit" is what they missed on 124 real volumes.

LEAST_PITCH_MM, MOST_PITCH_MM = 20.0, 90.0
"""Limits of the distance between discs that follow each other in a chain. The lower one keeps out the discs of a neck,
about 17 mm apart; the upper one leaves room for one disc that was missed. Known limit: collapsed discs 10 to 17 mm from
the next one are skipped."""
_USUAL_PITCH_MM = (24.0, 50.0)
"""Distances from disc to disc that cost nothing: adults have 27 to 48 mm, the least in the thoracic spine."""
_SHORT_PITCH_SCALE_MM, _LONG_PITCH_SCALE_MM = 8.0, 10.0
"""Millimetres below or above the usual distances that cost as much as one perfect peak (height 1) is worth."""
_MOST_LONG_PITCH_COST = 1.2
"""Largest cost of a long distance, in peak heights, so that a chain can bridge a disc that was missed."""
_SHARPEST_TURN_DEG = 50.0
"""Largest bend of the chain from one disc to the next, in degrees: a spine bends slowly."""
LEAST_DISCS = 3
"""Fewer discs are no lumbar spine: any two peaks at a usual distance would be one."""
LEAST_MEAN_HEIGHT = 0.35
"""Least mean height of a chain's peaks. False chains, such as those of volumes flipped front to back, stay at .26 or
below. Known limit: nine real slabs of three to six slices have .29 to .34, and count as no spine."""
_MOST_SKIPPED = 0.4
"""Largest share of the chain's gaps that may hold a peak outside the chain. In a neck, whose discs lie too close, every
other disc would make a chain of usual distances, with a skipped peak in each gap."""

# Gaps with a missed disc.

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
_SURE_SACRUM = 0.4
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

FAINT_HEIGHT = 0.5
"""Peaks below this height are flagged `Flag.FAINT`. The median height is .67 on phantoms. Known limit: on real images
it is .57, and a height says little about the error (AUC .65)."""


class Flag(str, Enum):
    """A warning about a level or a point."""

    UNCERTAIN_LEVEL = "uncertain_level"
    """The level may be wrong: the lumbosacral disc is out of view, faint, or not the only candidate."""
    ODD_SPACING = "odd_spacing"
    """A neighbouring disc is closer or farther than in adults."""
    FAINT = "faint"
    """The peak is lower than `FAINT_HEIGHT`."""
    INTERPOLATED = "interpolated"
    """No peak: a disc placed between two others, or a foramen at its expected place."""


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
    certain: bool
    """Whether the levels are beyond doubt: the sacrum is seen below the lowest disc and nowhere else, and no peak
    between two discs was skipped, which might be a disc that counts."""


def link(canal: Sequence[Peak], sacrum_below: Callable[[Disc], float]) -> Chain | None:
    """The best chain of discs, or None if there is no lumbar spine.

    ``canal``: peaks of the canal map, in any order.
    ``sacrum_below``: the vote for a sacrum below a disc, from 0 to 1.
    """
    peaks = _best_chain(canal)
    if len(peaks) < LEAST_DISCS or np.mean([peak.height for peak in peaks]) < LEAST_MEAN_HEIGHT:
        return None
    skipped = _skipped(peaks, canal)
    if sum(skipped) > _MOST_SKIPPED * (len(peaks) - 1):
        return None
    anchor, vote, sure = _anchor([sacrum_below(disc) for disc in _discs(peaks)])
    if anchor:  # an anchor at the very top would leave a single disc; then all are kept, and the levels are uncertain
        peaks = peaks[: anchor + 1]
    discs = _with_interpolated(_discs(peaks), _skipped(peaks, canal))
    return Chain(discs, anchor is not None, vote, sure and not any(skipped))


def _best_chain(peaks: Sequence[Peak]) -> list[Peak]:
    """The chain with the greatest sum of heights less the costs of its distances.

    Dynamic programming over pairs ``(i, j)`` of neighbours, since the bend at ``i`` depends on the disc before it:
    ``scores[i, j]`` is the best sum of a chain that ends with ``i`` and then ``j``.
    """
    if not peaks:
        return []
    peaks = sorted(peaks, key=lambda peak: -peak.world[2])
    heights = np.array([peak.height for peak in peaks])
    places = np.stack([peak.world for peak in peaks])
    steps = places[None] - places[:, None]
    pitches = np.linalg.norm(steps, axis=2)
    costs = _pitch_costs(pitches)
    directions = steps / np.maximum(pitches, 1e-9)[:, :, None]
    least_cosine = np.cos(np.radians(_SHARPEST_TURN_DEG))
    scores = np.full(pitches.shape, -np.inf)
    before = np.full(pitches.shape, -1)
    # Peaks are sorted from above, so pairs come in an order in which all chains that end with i are complete.
    for i, j in np.argwhere(np.triu(np.isfinite(costs), 1)):
        shorter = np.where(directions[:i, i] @ directions[i, j] >= least_cosine, scores[:i, i], -np.inf)
        best = max(shorter, default=-np.inf)
        if best > heights[i]:  # otherwise the chain begins with i
            before[i, j] = shorter.argmax()
        scores[i, j] = max(best, heights[i]) + heights[j] - costs[i, j]
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    if not np.isfinite(scores[i, j]):  # no two peaks can follow each other
        return [max(peaks, key=lambda peak: peak.height)]
    chain = [peaks[j], peaks[i]]
    while before[i, j] >= 0:
        i, j = before[i, j], i
        chain.append(peaks[i])
    return chain[::-1]


def _pitch_costs(pitches: Array) -> Array:
    """Costs of neighbours' distances in mm, in heights of peaks; infinite for distances that a chain cannot have."""
    low, high = _USUAL_PITCH_MM
    long = np.minimum(_MOST_LONG_PITCH_COST, (pitches - high) / _LONG_PITCH_SCALE_MM)
    costs = np.maximum(0.0, np.maximum((low - pitches) / _SHORT_PITCH_SCALE_MM, long))
    return np.where((pitches >= LEAST_PITCH_MM) & (pitches <= MOST_PITCH_MM), costs, np.inf)


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


def _anchor(votes: Sequence[float]) -> tuple[int | None, float, bool]:
    """Index of the lumbosacral disc, its vote, and whether it is beyond doubt; None if no vote is high enough."""
    order = sorted(range(len(votes)), key=lambda n: (-votes[n], n))
    best = order[0]
    if votes[best] < _LEAST_SACRUM:
        return None, votes[best], False
    rival = votes[order[1]]
    # A second candidate, or discs where there should be the sacrum, contradict the anchor.
    sure = votes[best] >= _SURE_SACRUM and rival < _RIVAL_SACRUM * votes[best] and best == len(votes) - 1
    return best, votes[best], sure


def _discs(chain: Sequence[Peak]) -> tuple[Disc, ...]:
    """Discs at the peaks of a chain, with directions and flags."""
    places = np.array([peak.world for peak in chain])
    discs = []
    for n, peak in enumerate(chain):
        # From the disc below to the disc above; at the ends, from or to the disc itself.
        upwards = places[max(n - 1, 0)] - places[min(n + 1, len(places) - 1)]
        gaps = [float(np.linalg.norm(places[m] - places[m + 1])) for m in (n - 1, n) if 0 <= m < len(places) - 1]
        odd = any(not _USUAL_PITCH_MM[0] <= gap <= _USUAL_PITCH_MM[1] for gap in gaps)
        flags = [Flag.ODD_SPACING] * odd + [Flag.FAINT] * (peak.height < FAINT_HEIGHT)
        discs.append(Disc(peak.world, peak.height, upwards / np.linalg.norm(upwards), tuple(flags)))
    return tuple(discs)


def _with_interpolated(discs: tuple[Disc, ...], skipped: Sequence[bool]) -> tuple[Disc, ...]:
    """The discs, with one in the middle of each gap that is wide enough for a disc that was missed.

    ``skipped`` tells for each gap whether it holds a peak that is not in the chain.
    """
    gaps = [float(np.linalg.norm(above.canal - below.canal)) for above, below in pairwise(discs)]
    # The median of a short chain may itself be a gap with a missed disc, so it is kept in the usual range.
    usual = float(np.clip(np.median(gaps), *_USUAL_PITCH_MM))
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
