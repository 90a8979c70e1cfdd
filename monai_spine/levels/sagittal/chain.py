"""From peaks to a spine: which belong together, in which order, and which disc is which.

The discs of a spine are a chain: each lies below the one before, 20 to 60 mm away, and the chain bends slowly. Levels
are counted upwards from the lumbosacral disc; without it in view nobody can be sure of them, and the chain says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.peaks import Peak
from monai_spine.spine import Level, Side

LEAST_PITCH, MOST_PITCH = 20.0, 90.0
"""Millimetres between discs that follow each other in a chain; beyond `_USUAL_PITCH` one between them was missed."""
_USUAL_PITCH = (24.0, 50.0)
"""Adults have 27 to 48 mm from disc to disc, the least in the thoracic spine."""
_MISSED = 1.6
"""Times the median pitch of a chain: a wider gap holds a disc that was not seen."""
_MISSED_BESIDE_PEAK = 1.4
"""The same for a gap in which a peak was passed over, since something is there."""
_SHARPEST_TURN = 50.0
"""Degrees by which a chain may bend from one disc to the next."""
LEAST_DISCS = 3
LEAST_MEAN_HEIGHT = 0.35
"""Fewer discs, or fainter ones, are no spine."""
_MOST_SKIPPED = 0.4
"""Share of the chain's gaps that may hold a peak that is not in the chain."""
_LEAST_SACRUM = 0.15
_SURE_SACRUM = 0.4
_RIVAL_SACRUM = 0.5
"""A second disc with this share of the first one's vote makes the numbering uncertain."""
_FORAMEN_OFFSET = (17.5, 3.0, 6.5)
"""A foramen seen from the canal at its disc: to the side, forwards and upwards along the spine, mm. After the phantom's
anatomy; adults' foramina lie 15 to 25 mm from the midline."""
_RECESS_OFFSET = (9.5, 2.5, -2.0)
_FORAMEN_REACH = 14.0
"""A foraminal peak farther than this many mm from where it should be is another's."""


class Flag(str, Enum):
    """What to know about a level or a point."""

    UNCERTAIN_LEVEL = "uncertain_level"
    """The lumbosacral disc is out of view, faint, or there are two of it: the level may be off."""
    ODD_SPACING = "odd_spacing"
    """A neighbouring disc is closer or farther than adults have it."""
    FAINT = "faint"
    """The peak is lower than half."""
    INTERPOLATED = "interpolated"
    """Not seen: a disc missing between two others, or a foramen put where it should be."""


@dataclass(frozen=True)
class Disc:
    """One disc of a chain: the canal's middle there, RAS mm, its confidence, and the spine's direction upwards."""

    canal: Array
    confidence: float
    upwards: Array
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Chain:
    """All discs found, from above.

    Attributes
    ----------
    anchored
        Whether the lowest is the lumbosacral disc, as far as anybody can tell.
    sacrum
        How much it looks as if the sacrum began below the lowest.
    certain
        Whether the levels are beyond doubt: the sacrum is seen below the lowest disc and nowhere else, and no peak
        between two discs was passed over, which might be the disc that counts.
    """

    discs: tuple[Disc, ...]
    anchored: bool
    sacrum: float
    certain: bool


def link(canal: Sequence[Peak], sacrum_below: Callable[[Disc], float]) -> Chain | None:
    """The most convincing chain of discs, or None if there is no spine.

    ``sacrum_below`` says from 0 to 1 how much a disc looks as if the sacrum began below it.
    """
    best = _best_chain(canal)
    if len(best) < LEAST_DISCS or np.mean([peak.height for peak in best]) < LEAST_MEAN_HEIGHT:
        return None
    skipped = _passed_over(best, canal)
    if sum(skipped) > _MOST_SKIPPED * (len(best) - 1):
        return None
    anchor, sacrum, certain = _anchor([sacrum_below(disc) for disc in _discs(best)])
    if anchor:
        best = best[: anchor + 1]
    filled = _filled(_discs(best), _passed_over(best, canal))
    return Chain(filled, anchor is not None, sacrum, certain and not any(skipped))


def _best_chain(peaks: Sequence[Peak]) -> list[Peak]:
    """The chain with the greatest sum of heights, by dynamic programming over pairs of neighbours."""
    if not peaks:
        return []
    peaks = sorted(peaks, key=lambda peak: -peak.world[2])
    heights = np.array([peak.height for peak in peaks])
    places = np.stack([peak.world for peak in peaks])
    steps = places[None] - places[:, None]
    pitches = np.linalg.norm(steps, axis=2)
    costs = _pitch_costs(pitches)
    directions = steps / np.maximum(pitches, 1e-9)[:, :, None]
    straight = np.cos(np.radians(_SHARPEST_TURN))
    scores = np.full(pitches.shape, -np.inf)
    before = np.full(pitches.shape, -1)
    for i, j in np.argwhere(np.triu(np.isfinite(costs), 1)):
        shorter = np.where(directions[:i, i] @ directions[i, j] >= straight, scores[:i, i], -np.inf)
        best = max(shorter, default=-np.inf)
        if best > heights[i]:
            before[i, j] = shorter.argmax()
        scores[i, j] = max(best, heights[i]) + heights[j] - costs[i, j]
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    if not np.isfinite(scores[i, j]):
        return [max(peaks, key=lambda peak: peak.height)]
    chain = [peaks[j], peaks[i]]
    while before[i, j] >= 0:
        i, j = before[i, j], i
        chain.append(peaks[i])
    return chain[::-1]


def _passed_over(chain: Sequence[Peak], peaks: Sequence[Peak]) -> list[bool]:
    """Which gaps of the chain hold a peak that was passed over: the discs of a neck lie so close."""
    members = {id(peak) for peak in chain}
    others = [peak for peak in peaks if id(peak) not in members and peak.height >= LEAST_MEAN_HEIGHT]
    return [
        any(_beside_line(above.world, below.world, peak.world) for peak in others) for above, below in pairwise(chain)
    ]


def _beside_line(start: Array, end: Array, point: Array) -> bool:
    """Whether a point lies between two others, no farther from their line than half a canal."""
    line = end - start
    share = float((point - start) @ line / (line @ line))
    return 0.2 < share < 0.8 and float(np.linalg.norm(point - start - share * line)) < 9.0


def _pitch_costs(pitches: Array) -> Array:
    """How unlikely two neighbours' distances are, in heights of peaks; infinite where they cannot be."""
    low, high = _USUAL_PITCH
    costs = np.maximum(0.0, np.maximum((low - pitches) / 8.0, np.minimum(1.2, (pitches - high) / 10.0)))
    return np.where((pitches >= LEAST_PITCH) & (pitches <= MOST_PITCH), costs, np.inf)


def _anchor(votes: Sequence[float]) -> tuple[int | None, float, bool]:
    """Index of the lumbosacral disc in the chain, its vote, and whether that is beyond doubt."""
    order = sorted(range(len(votes)), key=lambda n: (-votes[n], n))
    best = order[0]
    if votes[best] < _LEAST_SACRUM:
        return None, votes[best], False
    rival = votes[order[1]] if len(votes) > 1 else 0.0
    certain = votes[best] >= _SURE_SACRUM and rival < _RIVAL_SACRUM * votes[best] and best == len(votes) - 1
    return best, votes[best], certain


def _discs(chain: Sequence[Peak]) -> tuple[Disc, ...]:
    places = np.array([peak.world for peak in chain])
    discs = []
    for n, peak in enumerate(chain):
        upwards = places[max(n - 1, 0)] - places[min(n + 1, len(places) - 1)]
        gaps = [float(np.linalg.norm(places[m] - places[m + 1])) for m in (n - 1, n) if 0 <= m < len(places) - 1]
        odd = any(not _USUAL_PITCH[0] <= gap <= _USUAL_PITCH[1] for gap in gaps)
        flags = [Flag.ODD_SPACING] * odd + [Flag.FAINT] * (peak.height < 0.5)
        discs.append(Disc(peak.world, peak.height, upwards / np.linalg.norm(upwards), tuple(flags)))
    return tuple(discs)


def _filled(discs: tuple[Disc, ...], passed_over: Sequence[bool]) -> tuple[Disc, ...]:
    """The discs, with one put halfway where a gap is wide enough for one that was missed.

    ``passed_over`` says of each gap whether it holds a peak that is not in the chain.
    """
    gaps = [float(np.linalg.norm(a.canal - b.canal)) for a, b in pairwise(discs)]
    usual = float(np.clip(np.median(gaps), *_USUAL_PITCH))
    filled = [discs[0]]
    for gap, disc, beside in zip(gaps, discs[1:], passed_over, strict=True):
        above = filled[-1]
        if gap > (_MISSED_BESIDE_PEAK if beside else _MISSED) * usual:
            upwards = above.upwards + disc.upwards
            middle = (above.canal + disc.canal) / 2
            filled.append(Disc(middle, 0.0, upwards / np.linalg.norm(upwards), (Flag.INTERPOLATED,)))
        filled.append(disc)
    return tuple(filled)


def levels(chain: Chain) -> list[tuple[Level, Disc]]:
    """The chain's discs that have one of the five graded levels, from above.

    Counted upwards from the lumbosacral disc. Without one, the lowest disc in view is taken for L4/L5; `Chain.certain`
    is false then.
    """
    lowest = Level.L5_S1 if chain.anchored else Level.L4_L5
    names = list(Level)[: list(Level).index(lowest) + 1]
    return list(zip(names[-len(chain.discs) :], chain.discs[-len(names) :], strict=True))


def expected_foramen(disc: Disc, side: Side) -> Array:
    """Where a foramen should be, RAS mm, seen from the canal at its disc."""
    return _beside(disc, side, _FORAMEN_OFFSET)


def expected_recess(disc: Disc, side: Side) -> Array:
    """Where a lateral recess should be, RAS mm, seen from the canal at its disc."""
    return _beside(disc, side, _RECESS_OFFSET)


def _beside(disc: Disc, side: Side, offset: tuple[float, float, float]) -> Array:
    right = np.array([1.0, 0.0, 0.0]) - disc.upwards[0] * disc.upwards
    right /= np.linalg.norm(right)
    forwards = np.cross(disc.upwards, right)
    sideways, ahead, up = offset
    sign = 1.0 if side is Side.RIGHT else -1.0
    return np.asarray(disc.canal + sign * sideways * right + ahead * forwards + up * disc.upwards, dtype=np.float64)


def nearest_foramen(peaks: Sequence[Peak], disc: Disc, side: Side) -> Peak | None:
    """The foraminal peak that belongs to a disc and side, or None."""
    place = expected_foramen(disc, side)
    near = [peak for peak in peaks if np.linalg.norm(peak.world - place) <= _FORAMEN_REACH]
    return min(near, key=lambda peak: float(np.linalg.norm(peak.world - place)) - 10.0 * peak.height, default=None)
