"""Copies and near copies among samples, which of them cross from training to test, and what faults that makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_prep.images.faults import Code, Fault
from data_prep.images.likeness import Pair, alike, components
from data_prep.images.look import Look
from data_prep.images.sample import Sample, Section
from monai_spine.errors import listed


@dataclass(frozen=True)
class Copies:
    """Samples that are one picture, by their numbers.

    Attributes
    ----------
    exact
        Sets of two or more with equal pixels.
    near
        Pairs that are near duplicates, each of another pixel content; of several copies, the first stands for all.
    """

    exact: list[list[int]]
    near: list[Pair]

    def links(self) -> list[tuple[int, int]]:
        """Pairs that connect all that belong together."""
        chains = [(a, b) for same in self.exact for a, b in pairwise(same)]
        return chains + [(pair.first, pair.second) for pair in self.near]

    def pairs(self) -> Iterator[Pair]:
        """Every pair of samples that are copies (likeness 1) or near copies."""
        mates = {same[0]: same for same in self.exact}
        for same in self.exact:
            yield from (Pair(a, b, 1.0) for n, a in enumerate(same) for b in same[n + 1 :])
        for first, second, likeness in self.near:
            yield from (Pair(a, b, likeness) for a in mates.get(first, [first]) for b in mates.get(second, [second]))


@dataclass(frozen=True)
class Leak:
    """A sample to train on that is a copy of a sample to test on."""

    training: int
    test: int
    likeness: float


def find_copies(looks: Sequence[Look]) -> Copies:
    """Copies among images that could be read; what shows nothing is like nothing."""
    same: dict[bytes, list[int]] = defaultdict(list)
    seen = {look.number: look for look in looks if not look.constant and not look.fault}
    for number in sorted(seen):
        same[seen[number].digest].append(number)
    firsts = [numbers[0] for numbers in same.values()]
    if not firsts:
        return Copies([], [])
    whole = np.stack([seen[number].whole for number in firsts])
    trimmed = np.stack([seen[number].trimmed for number in firsts])
    near = [Pair(firsts[a], firsts[b], likeness) for a, b, likeness in alike(whole, trimmed)]
    return Copies([numbers for numbers in same.values() if len(numbers) > 1], near)


def leaks_between(copies: Copies, samples: Sequence[Sample]) -> list[Leak]:
    """Copies and near copies that are trained and tested on."""
    found = []
    for a, b, likeness in copies.pairs():
        tested = samples[a].section is Section.TEST
        if tested != (samples[b].section is Section.TEST):
            found.append(Leak(*((b, a) if tested else (a, b)), likeness))
    return sorted(found, key=lambda leak: (leak.training, leak.test))


def faults_of_copies(copies: Copies, samples: Sequence[Sample], names: Sequence[str]) -> Iterator[Fault]:
    """A fault for each set of copies, and for each set that hangs together through near copies."""
    for same in copies.exact:
        yield from _faults(same, samples, names, exact=True)
    together = components(len(samples), copies.links())
    sets: dict[int, list[int]] = defaultdict(list)
    for number in {number for pair in copies.near for number in (pair.first, pair.second)} | {
        number for same in copies.exact for number in same
    }:
        sets[int(together[number])].append(number)
    exact = {tuple(same) for same in copies.exact}
    for members in sets.values():
        if tuple(sorted(members)) not in exact:
            yield from _faults(sorted(members), samples, names, exact=False)


def _faults(members: Sequence[int], samples: Sequence[Sample], names: Sequence[str], *, exact: bool) -> Iterator[Fault]:
    images = tuple(names[number] for number in members)
    kind = "equal pixels" if exact else "nearly the same"
    tested = sum(samples[number].section is Section.TEST for number in members)
    if 0 < tested < len(members):
        found = f"{len(members) - tested} to train and {tested} to test on, {kind}: {listed(images)}"
        yield Fault(Code.COPY_IN_TEST if exact else Code.ALIKE_IN_TEST, found, images)
    else:
        yield Fault(Code.COPY if exact else Code.ALIKE, f"{len(members)}, {kind}: {listed(images)}", images)
    if len({samples[number].label for number in members}) > 1:
        found = f"{len(members)}, {kind}, with different labels: {listed(images)}"
        yield Fault(Code.COPIES_DISAGREE if exact else Code.ALIKE_DISAGREE, found, images)
