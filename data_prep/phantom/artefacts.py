"""What goes wrong while a series is acquired: ghosts of a breathing patient, ringing at edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_prep.phantom.ghost import Ghost
from data_prep.phantom.plan import Series
from data_prep.phantom.quirks import Quirk


def spoil(
    series: tuple[Series, ...], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[tuple[Series, ...], dict[Quirk, str]]:
    """Some series with the artefacts that quirks call for, and what `quirks.csv` says of them."""
    spoilt = list(series)
    said: dict[Quirk, str] = {}
    for quirk in (Quirk.MOTION_GHOST, Quirk.GIBBS_RINGING):
        there = [n for n, one in enumerate(spoilt) if one.stacks]
        which = there[int(rng.integers(len(there)))]
        ghost = Ghost(*rng.uniform([1.0, 6.0, 0.0], [2.2, 16.0, 6.28]).tolist())
        kept = float(rng.uniform(0.5, 0.65))
        if quirk not in quirks:
            continue
        one = spoilt[which]
        scans = [
            replace(stack.scan, ghost=ghost) if quirk is Quirk.MOTION_GHOST else replace(stack.scan, kept=kept)
            for stack in one.stacks
        ]
        stacks = tuple(replace(stack, scan=scan) for stack, scan in zip(one.stacks, scans, strict=True))
        spoilt[which] = replace(one, stacks=stacks)
        said[quirk] = f"series {one.id}"
    return tuple(spoilt), said
