"""Copies and near copies among samples, which of them cross from training to test, and what faults that makes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_prep.faults import Fault
from data_prep.folds import connected
from data_prep.images.codes import Code
from data_prep.images.inspection import Inspection
from data_prep.images.near_duplicates import Pair, near_duplicates
from data_prep.images.sample import Sample, Section
from monai_spine.errors import listed


@dataclass(frozen=True)
class Copies:
    """Samples that are one picture, by their numbers."""

    exact: list[list[int]]
    """Sets of two or more with equal pixels."""
    near: list[Pair]
    """Pairs that are near duplicates, each of another pixel content; of several copies, the first stands for all."""

    def links(self) -> list[tuple[int, int]]:
        """Pairs that connect all that belong together."""
        chains = [(a, b) for same in self.exact for a, b in pairwise(same)]
        return chains + [(pair.first, pair.second) for pair in self.near]

    def pairs(self) -> Iterator[Pair]:
        """Every pair of samples that are copies (similarity 1) or near copies."""
        mates = {same[0]: same for same in self.exact}
        for same in self.exact:
            yield from (Pair(a, b, 1.0) for n, a in enumerate(same) for b in same[n + 1 :])
        for first, second, similarity in self.near:
            yield from (Pair(a, b, similarity) for a in mates.get(first, [first]) for b in mates.get(second, [second]))


@dataclass(frozen=True)
class Leak:
    """A sample to train on that is a copy of a sample to test on."""

    training: int
    test: int
    similarity: float


def find_copies(inspections: Sequence[Inspection]) -> Copies:
    """Copies among images that could be read; constant images are not compared."""
    same: dict[bytes, list[int]] = defaultdict(list)
    images = {one.number: one for one in inspections if not one.constant and not one.fault}
    for number in sorted(images):
        same[images[number].digest].append(number)
    firsts = [numbers[0] for numbers in same.values()]
    if not firsts:
        return Copies([], [])
    whole = np.stack([images[number].whole for number in firsts])
    trimmed = np.stack([images[number].trimmed for number in firsts])
    near = [Pair(firsts[a], firsts[b], similarity) for a, b, similarity in near_duplicates(whole, trimmed)]
    return Copies([numbers for numbers in same.values() if len(numbers) > 1], near)


def leaks_between(copies: Copies, samples: Sequence[Sample]) -> list[Leak]:
    """Copies and near copies of test images among those to train on."""
    leaks = []
    for a, b, similarity in copies.pairs():
        tested = samples[a].section is Section.TEST
        if tested != (samples[b].section is Section.TEST):
            leaks.append(Leak(*((b, a) if tested else (a, b)), similarity))
    return sorted(leaks, key=lambda leak: (leak.training, leak.test))


def faults_of_copies(copies: Copies, samples: Sequence[Sample], names: Sequence[str]) -> Iterator[Fault]:
    """A fault for each set of copies, and for each set that is connected through near copies."""
    for same in copies.exact:
        yield from _faults(same, samples, names, exact=True)
    group = connected(len(samples), copies.links())
    sets: dict[int, list[int]] = defaultdict(list)
    for number in {number for pair in copies.near for number in (pair.first, pair.second)} | {
        number for same in copies.exact for number in same
    }:
        sets[int(group[number])].append(number)
    exact = {tuple(same) for same in copies.exact}
    for members in sets.values():
        if tuple(sorted(members)) not in exact:
            yield from _faults(sorted(members), samples, names, exact=False)


def _faults(members: Sequence[int], samples: Sequence[Sample], names: Sequence[str], *, exact: bool) -> Iterator[Fault]:
    images = tuple(names[number] for number in members)
    sameness = "equal pixels" if exact else "nearly the same"
    tested = sum(samples[number].section is Section.TEST for number in members)
    if 0 < tested < len(members):
        detail = f"{len(members) - tested} to train and {tested} to test on, {sameness}: {listed(images)}"
        yield Fault(Code.COPY_IN_TEST if exact else Code.ALIKE_IN_TEST, detail, images=images)
    else:
        yield Fault(Code.COPY if exact else Code.ALIKE, f"{len(members)}, {sameness}: {listed(images)}", images=images)
    if len({samples[number].label for number in members}) > 1:
        detail = f"{len(members)}, {sameness}, with different labels: {listed(images)}"
        yield Fault(Code.COPIES_DISAGREE if exact else Code.ALIKE_DISAGREE, detail, images=images)
