"""Near duplicates: the same picture compressed again, rescaled, brightened, with another border, or a little cropped.

Two pictures are alike if the cosine between their features reaches `THRESHOLD`: of the whole pictures, of what is left
without an even border, or after one was shifted and stretched onto the other. The last is tried with the most alike of
each picture alone. docs/images.md says what the threshold was measured on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.images.alignment import aligned_cosines
from data_prep.images.thumbnail import Thumbnails, Vectors, features, middles

THRESHOLD = 0.985
_WORTH_ALIGNING = 0.6
_ALIGNED = 4
"""How many of the most alike of a picture are aligned with it."""
_PARTNERS = 32
"""The most pairs a picture is given: enough to connect copies, however many there are."""
_BLOCK = 1 << 21
"""Cosines that are held at once."""


class Pair(NamedTuple):
    """Two images, by their places, and how alike they are: 1 for the same picture."""

    first: int
    second: int
    likeness: float


def alike(whole: Thumbnails, trimmed: Thumbnails) -> list[Pair]:
    """Pairs of pictures that are near duplicates, each once, ``first < second``.

    Parameters
    ----------
    whole, trimmed
        Thumbnails ``(images, side, side)`` of the pictures, with and without their even borders.
    """
    sure: dict[tuple[int, int], float] = {}
    candidates: set[tuple[int, int]] = set()
    for start, cosines, hopeful in _blocks(features(whole), features(trimmed), features(middles(whole))):
        for n, (row, other_row) in enumerate(zip(cosines, hopeful, strict=True), start=start):
            likely = _largest(row, _PARTNERS)
            sure |= {_pair(n, other): float(row[other]) for other in likely if row[other] >= THRESHOLD}
            rest = [m for m in _largest(other_row, _PARTNERS) if row[m] < THRESHOLD and other_row[m] > _WORTH_ALIGNING]
            candidates |= {_pair(n, other) for other in rest[:_ALIGNED]}
    sure |= _aligned(whole, sorted(candidates))
    return [Pair(*pair, round(likeness, 4)) for pair, likeness in sorted(sure.items())]


def components(count: int, pairs: Iterable[tuple[int, int]]) -> npt.NDArray[np.intp]:
    """A number for each of ``count`` things, equal for those that hang together through pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(pairs), dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return numbers.astype(np.intp)


def _blocks(whole: Vectors, trimmed: Vectors, middle: Vectors) -> Iterator[tuple[int, Vectors, Vectors]]:
    """Some rows at a time: cosines that tell copies, and those that tell what might be a cropped one.

    Nothing is like itself.
    """
    count = len(whole)
    rows = max(1, _BLOCK // max(count, 1))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        cosines = np.maximum(whole[part] @ whole.T, trimmed[part] @ trimmed.T)
        hopeful = np.maximum(cosines, np.maximum(whole[part] @ middle.T, middle[part] @ whole.T))
        own = np.arange(len(cosines))
        cosines[own, start + own] = hopeful[own, start + own] = -1
        yield start, cosines, hopeful


def _largest(row: Vectors, count: int) -> npt.NDArray[np.intp]:
    """Places of the largest values, falling."""
    if len(row) > count:
        places = np.argpartition(row, -count)[-count:]
        return places[np.argsort(-row[places], kind="stable")]
    return np.argsort(-row, kind="stable")


def _pair(a: int, b: int) -> tuple[int, int]:
    return (int(a), int(b)) if a < b else (int(b), int(a))


def _aligned(whole: Thumbnails, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Pairs that are alike after alignment."""
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    likeness = aligned_cosines(whole, first, second)
    return {pair: float(value) for pair, value in zip(pairs, likeness, strict=True) if value >= THRESHOLD}
