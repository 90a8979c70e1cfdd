"""What tissue looks like inside: grain of marrow, fat between the bundles of muscle, septa in fat.

Smooth random numbers fill a cube that repeats itself in space; they are the same for everyone, and each person looks
them up at a place of their own. The grain belongs to the anatomy: all series of a person show the same.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Field, Patch
from data_prep.phantom.tissue import Tissue

BITS = 6
SIDE = 2**BITS
"""Cells along a side of the cube."""
CELL = 0.9
"""Millimetres of a cell."""
Cube = npt.NDArray[np.float32]


class Grain(IntEnum):
    """Kinds of inner structure."""

    EVEN = 0
    MARROW = 1
    MUSCLE = 2
    FAT = 3
    ORGAN = 4


_GRAINS = {
    Tissue.MARROW: Grain.MARROW,
    Tissue.MUSCLE: Grain.MUSCLE,
    Tissue.INTERSPINOUS: Grain.ORGAN,
    Tissue.FAT: Grain.FAT,
    Tissue.VISCERA: Grain.ORGAN,
    Tissue.BOWEL: Grain.ORGAN,
    Tissue.KIDNEY: Grain.ORGAN,
}
_KINDS = np.zeros(256, dtype=np.intp)
for _tissue, _grain in _GRAINS.items():
    _KINDS[_tissue] = int(_grain) * SIDE**3


def at(patch: Patch, anatomy: Anatomy, factors: Cube) -> Field:
    """What to multiply the signal with at the samples of a patch; ``factors`` as the function of that name has them."""
    across = _cells(patch.a, anatomy.seed % 59)
    across <<= BITS
    across += _cells(patch.r, anatomy.seed % 61)
    place = np.take(_KINDS, patch.tissue, mode="clip")  # no check of the numbers, twice as fast
    place += across
    place += _cells(patch.s, anatomy.seed % 53).astype(np.intp) << (2 * BITS)
    return np.take(factors, place, mode="clip")


def _cells(values: Field, offset: int) -> npt.NDArray[np.int16]:
    """Which cell along one axis each place lies in."""
    cells = values * np.float32(1.0 / CELL)
    cells += np.float32(100 * SIDE + offset)
    numbers = cells.astype(np.int16)
    numbers &= SIDE - 1
    return numbers


def factors(anatomy: Anatomy, signal: Field) -> Cube:
    """What to multiply the signal with, for every grain and cell, ``(grains * SIDE**3,)``.

    ``signal`` is that of every tissue, to mix fat into muscle.
    """
    fat = float(signal[Tissue.FAT] / max(float(signal[Tissue.MUSCLE]), 1e-6))
    share = np.clip(_bundles() + np.float32(0.12 + 1.3 * anatomy.streaks), 0.0, 0.7)
    made = _grains().copy()
    made[Grain.MUSCLE] *= 1.0 + np.float32(fat - 1.0) * share
    return made.ravel()


@cache
def _grains() -> Cube:
    """The factors of every grain but for fat in muscle, ``(grains, SIDE**3)``."""
    fine, coarse = _fine(), _coarse()
    septa = np.clip(1.0 - 14.0 * np.abs(_noise(4, (9.0, 5.0, 9.0))), 0.0, 1.0)
    kinds = {
        Grain.EVEN: np.ones_like(fine),
        Grain.MARROW: 1.0 + 0.07 * fine + 0.05 * coarse,
        Grain.MUSCLE: 1.0 + 0.10 * fine,
        Grain.FAT: 1.0 + 0.04 * fine - 0.22 * septa,
        Grain.ORGAN: 1.0 + 0.08 * fine + 0.16 * coarse,
    }
    return np.stack([kinds[grain] for grain in Grain]).astype(np.float32)


@cache
def _bundles() -> Cube:
    """Share of fat between bundles of muscle, more or less: largest along sheets that run upwards."""
    return np.asarray(0.22 * _coarse() - 1.6 * np.abs(_noise(3, (5.5, 5.5, 29.0))), dtype=np.float32)


@cache
def _fine() -> Cube:
    """Grain of 2 to 4 mm."""
    return _noise(1, (2.2, 2.2, 2.2))


@cache
def _coarse() -> Cube:
    """Patches of 10 to 20 mm."""
    return _noise(2, (11.0, 11.0, 11.0))


def _noise(seed: int, lengths: tuple[float, float, float]) -> Cube:
    """Random numbers of unit deviation, smooth over ``lengths`` mm along r, a and s, flattened with r fastest."""
    white = np.random.default_rng(seed).standard_normal((SIDE,) * 3)
    frequency = np.fft.fftfreq(SIDE, CELL)
    s, a, r = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    distance = (r * lengths[0]) ** 2 + (a * lengths[1]) ** 2 + (s * lengths[2]) ** 2
    smooth = np.fft.ifftn(np.fft.fftn(white) * distance * np.exp(-distance * 4.0)).real
    return (smooth / smooth.std()).astype(np.float32).ravel()
