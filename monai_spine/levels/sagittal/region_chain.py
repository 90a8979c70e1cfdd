"""The chain of discs by both witnesses: the discs of the region map lead, the canal's peaks are their places.

Each disc of the region map takes the canal peak behind it. The chain of the canal's peaks alone (`chain.link`) is the
second count, and the only one where the region map shows no row of discs. Where both count differently, or the sacrum
is not plain, the levels are uncertain, and `Chain.doubts` says why. Measured on patients by
`benchmarks/real_spines.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.chain import (
    FAINT_HEIGHT,
    LEAST_DISCS,
    SURE_SACRUM,
    Chain,
    find_anchor,
    has_wide_gap,
    levels,
    place_discs,
    with_interpolated,
)
from monai_spine.levels.sagittal.disc_regions import RegionSpine, behind_and_above, canal_peaks_of, expected_canal
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.peaks import Peak
from monai_spine.spine import Level

LEAST_MEAN_HEIGHT = 0.28
"""Least mean height of the canal peaks of a spine's discs."""
_REMNANT_SHARE = 0.5
"""A disc with less than this share of the area of the disc above it may be a remnant of S1/S2."""
_REMNANT_HEIGHT = 0.25
"""Height of the canal peak below which it is one."""
_FAINT_LOWEST = 0.2
"""A canal peak at the lumbosacral disc that is lower than this leaves its place, and maybe its level, open."""
_CLEAR_PEAK = 0.3
"""A canal peak of this height that belongs to no disc may be a disc that is not counted."""
_CLEAR_PEAK_BELOW = 0.2
_BELOW_MM = (15.0, 45.0)
_BEFORE_CANAL_MM = 9.0
"""The same below the lumbosacral disc, at this distance, and not before the canal, which bends backwards there. On 51
patients no such peak was higher than .1."""
_SURE_SACRUM = 0.27
"""Least vote with which the levels are certain: it is more on 47 of 54 patients."""
_LEAST_SACRAL_AREA_MM2 = 160.0
"""Least area of the sacrum in view. It is 280 mm² and more on 52 of 54 patients, and below 80 on 53 of 54 whose image
was cut above L5/S1, where votes reach .33."""
_LEAST_RISE_MM = 0.0
"""Least rise of a spine that stands upright. It is 0 to 14 mm on 51 of 54 patients, and below on 46 of 54 images that
were turned upside down."""


def link_regions(spine: RegionSpine, canal: Sequence[Peak], lumbosacral: Sequence[Peak]) -> Chain | None:
    """The chain of the discs of a region map, or None if these and the canal's peaks make no lumbar spine."""
    peaks = canal_peaks_of(spine, canal)
    seen = [n for n, peak in enumerate(peaks) if peak is not None]
    if len(seen) < LEAST_DISCS or np.mean([p.height for p in peaks if p is not None]) < LEAST_MEAN_HEIGHT:
        return None
    votes = [max(vote, _lumbosacral(peak, lumbosacral)) for vote, peak in zip(spine.votes, peaks, strict=True)]
    votes, remnant = _without_remnant(spine, peaks, votes)
    anchor, vote, doubts = find_anchor(votes, _SURE_SACRUM)
    last = seen[-1] if anchor is None else anchor
    places = [
        peak or Peak(expected_canal(disc, up), 0.0)
        for disc, up, peak in list(zip(spine.discs, spine.upwards, peaks, strict=True))[seen[0] : last + 1]
    ]
    if len(places) < LEAST_DISCS:
        return None
    more = [Doubt.RIVAL] * remnant
    more += [Doubt.FAINT_SACRUM] * (anchor is not None and spine.sacral_areas[last] < _LEAST_SACRAL_AREA_MM2)
    more += [Doubt.FEW_DISCS] * (len(places) < len(Level) and spine.goes_on)
    more += [Doubt.FAINT_LOWEST] * (places[-1].height < _FAINT_LOWEST)
    more += [Doubt.NOT_BORNE_OUT] * (places[-1].height < FAINT_HEIGHT and spine.votes[last] < SURE_SACRUM)
    more += [Doubt.PASSED_OVER] * _passed_over(places, canal)
    more += [Doubt.WIDE_GAP] * has_wide_gap(places, anchor is not None)
    more += [Doubt.BELOW] * (anchor is not None and _goes_on_below(places[-1], spine.upwards[anchor], canal))
    rise = _rise(spine, peaks, anchor)
    more += [Doubt.UPSIDE_DOWN] * (rise is not None and rise < _LEAST_RISE_MM)
    discs = with_interpolated(place_discs(places, anchor is not None), [False] * (len(places) - 1))
    return Chain(discs, anchor is not None, vote, tuple(dict.fromkeys((*doubts, *more))), rise)


def _rise(spine: RegionSpine, peaks: Sequence[Peak | None], anchor: int | None) -> float | None:
    peak = peaks[anchor] if anchor is not None else None
    if anchor is None or peak is None:
        return None
    return behind_and_above(spine.discs[anchor].centre, spine.upwards[anchor], peak.world)[1]


def _lumbosacral(peak: Peak | None, lumbosacral: Sequence[Peak]) -> float:
    if peak is None:
        return 0.0
    return max((one.height for one in lumbosacral if np.linalg.norm((one.world - peak.world)[1:]) <= 14.0), default=0.0)


def _without_remnant(spine: RegionSpine, peaks: Sequence[Peak | None], votes: list[float]) -> tuple[list[float], bool]:
    """The votes without that of a remnant of the disc S1/S2, and whether there is one: its vote goes to L5/S1."""
    n = int(np.argmax(votes))
    if n == 0 or n != len(votes) - 1:
        return votes, False
    peak = peaks[n]
    small = spine.discs[n].area < _REMNANT_SHARE * spine.discs[n - 1].area
    if not small or (peak is not None and peak.height >= _REMNANT_HEIGHT):
        return votes, False
    return [*votes[: n - 1], max(votes[n - 1], votes[n])], True


def _goes_on_below(lowest: Peak, upwards: Array, canal: Sequence[Peak]) -> bool:
    """Whether a canal peak lies where the disc below the lumbosacral one would be."""
    for peak in canal:
        behind, above = behind_and_above(lowest.world, upwards, peak.world)
        near = _BELOW_MM[0] <= np.hypot(behind, above) <= _BELOW_MM[1]
        if peak.height >= _CLEAR_PEAK_BELOW and near and above < 0 and behind > -_BEFORE_CANAL_MM:
            return True
    return False


def _passed_over(chain: Sequence[Peak], canal: Sequence[Peak]) -> bool:
    """Whether a clear canal peak lies between two discs and belongs to none."""
    members = {id(peak) for peak in chain}
    others = [peak for peak in canal if id(peak) not in members and peak.height >= _CLEAR_PEAK]
    for above, below in pairwise(chain):
        for peak in others:
            line = below.world - above.world
            share = float((peak.world - above.world) @ line / (line @ line))
            if 0.3 < share < 0.7 and np.linalg.norm((peak.world - above.world - share * line)[1:]) < 9.0:
                return True
    return False


_SAME_DISC_MM = 12.0


def agreed(by_regions: Chain | None, by_peaks: Chain | None) -> Chain | None:
    """One chain of two witnesses, with a doubt if these name a disc differently."""
    if by_regions is None:
        return by_peaks and replace(by_peaks, doubts=(*by_peaks.doubts, Doubt.NO_DISCS))
    if by_peaks is None:
        return by_regions
    by_regions = replace(by_regions, doubts=(*by_regions.doubts, *_below(by_regions, by_peaks)))
    if not by_peaks.anchored:
        return by_regions
    names = {level: disc.canal for level, disc in levels(by_regions)}
    for level, disc in levels(by_peaks):
        for other, canal in names.items():
            if other is not level and np.linalg.norm((canal - disc.canal)[1:]) <= _SAME_DISC_MM:
                return replace(by_regions, doubts=(*by_regions.doubts, Doubt.WITNESSES))
    return by_regions


def _below(by_regions: Chain, by_peaks: Chain) -> tuple[Doubt, ...]:
    """What the chain of peaks says against the lumbosacral disc of the regions, as far as these do not say so too."""
    if not by_regions.anchored or Doubt.BELOW in by_regions.doubts:
        return ()
    anchor, lowest = by_regions.discs[-1], by_peaks.discs[-1]
    behind, above = behind_and_above(anchor.canal, anchor.upwards, lowest.canal)
    same = np.hypot(behind, above) <= _SAME_DISC_MM
    if (same and Doubt.BELOW in by_peaks.doubts) or (not same and above < 0):
        return (Doubt.BELOW,)
    # Only where the peaks have the same lowest disc do they say anything of the sacrum below it.
    return (Doubt.FAINT_SACRUM,) if same and Doubt.NO_SACRUM in by_peaks.doubts else ()
