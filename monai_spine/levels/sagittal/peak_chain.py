"""Peaks in a row: of many places the ones that follow each other as discs do, by dynamic programming.

Used for the canal's peaks and for the discs of the region map. All places are RAS mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.peaks import Peak

LEAST_PITCH_MM, MOST_PITCH_MM = 20.0, 90.0
"""Limits of the distance between discs that follow each other in a chain. The lower one keeps out the discs of a neck,
about 17 mm apart; the upper one leaves room for one disc that was missed. Known limit: collapsed discs 10 to 17 mm from
the next one are skipped."""
USUAL_PITCH_MM = (24.0, 50.0)
"""Distances from disc to disc that cost nothing: adults have 27 to 48 mm, the least in the thoracic spine."""
_SHORT_PITCH_SCALE_MM, _LONG_PITCH_SCALE_MM = 8.0, 10.0
"""Millimetres below or above the usual distances that cost as much as one perfect peak (height 1) is worth."""
_MOST_LONG_PITCH_COST = 1.2
"""Largest cost of a long distance, in peak heights, so that a chain can bridge a disc that was missed."""
_SHARPEST_TURN_DEG = 50.0
"""Largest bend of the chain from one disc to the next, in degrees: a spine bends slowly."""


def best_chain(peaks: Sequence[Peak]) -> list[Peak]:
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
    costs = pitch_costs(pitches)
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


def pitch_costs(pitches: Array) -> Array:
    """Costs of neighbours' distances in mm, in heights of peaks; infinite for distances that a chain cannot have."""
    low, high = USUAL_PITCH_MM
    long = np.minimum(_MOST_LONG_PITCH_COST, (pitches - high) / _LONG_PITCH_SCALE_MM)
    costs = np.maximum(0.0, np.maximum((low - pitches) / _SHORT_PITCH_SCALE_MM, long))
    return np.where((pitches >= LEAST_PITCH_MM) & (pitches <= MOST_PITCH_MM), costs, np.inf)


def directions(places: Sequence[Array]) -> list[Array]:
    """Unit vectors along a chain of places from above: from the next one below to the next one above."""
    steps = [places[max(n - 1, 0)] - places[min(n + 1, len(places) - 1)] for n in range(len(places))]
    return [step / np.linalg.norm(step) for step in steps]
