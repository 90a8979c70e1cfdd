"""How bright a tissue is: its spin-echo signal, and the grain inside it.

Grain is looked up in a cube of smooth random numbers that repeats itself in space. The cube is the same for everyone;
each person looks it up at a place of their own. The grain belongs to the anatomy: all series of a person show the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import Patch, Tissue
from data_prep.phantom.person import Anatomy
from monai_spine.spine import SeriesType


@dataclass(frozen=True)
class Relaxation:
    """Proton density (water = 1), T1 and T2 in ms at 1.5 T, and the factor by which T1 grows at 3 T."""

    density: float
    t1: float
    t2: float
    growth: float = 1.2


RELAXATION: dict[int, Relaxation] = {
    # After Stanisz et al. 2005, de Bazelaire et al. 2004 and Gold et al. 2004, rounded. Fat and marrow have the long
    # apparent T2 of fast spin echo (Henkelman et al. 1992), solids the little signal that partial volume leaves them.
    Tissue.AIR: Relaxation(0.0, 1000.0, 50.0),
    Tissue.FAT: Relaxation(0.95, 290.0, 145.0, 1.25),
    Tissue.MUSCLE: Relaxation(0.85, 1000.0, 42.0, 1.35),
    Tissue.VISCERA: Relaxation(0.80, 800.0, 60.0),
    Tissue.BOWEL: Relaxation(0.55, 1100.0, 60.0),
    Tissue.FLOWING_BLOOD: Relaxation(0.12, 1000.0, 60.0),
    Tissue.CORTEX: Relaxation(0.12, 900.0, 15.0),
    Tissue.MARROW: Relaxation(0.82, 520.0, 118.0, 1.15),
    Tissue.VEIN: Relaxation(0.90, 1100.0, 130.0),
    Tissue.ANNULUS: Relaxation(0.66, 900.0, 34.0),
    Tissue.LIGAMENT: Relaxation(0.50, 900.0, 30.0),
    Tissue.CARTILAGE: Relaxation(0.85, 1200.0, 75.0),
    Tissue.CSF: Relaxation(1.00, 3200.0, 900.0, 1.0),
    Tissue.NERVE: Relaxation(0.78, 900.0, 75.0, 1.1),
    Tissue.CORD: Relaxation(0.80, 850.0, 85.0, 1.15),
    Tissue.SKIN: Relaxation(0.60, 800.0, 35.0),
    Tissue.HAEMANGIOMA: Relaxation(0.95, 380.0, 135.0, 1.15),
    Tissue.INTERSPINOUS: Relaxation(0.80, 480.0, 95.0),
    Tissue.KIDNEY: Relaxation(0.85, 950.0, 80.0),
    Tissue.FLOWING_CSF: Relaxation(1.00, 3200.0, 60.0, 1.0),
    Tissue.FLUID: Relaxation(0.95, 2500.0, 250.0, 1.0),
    Tissue.OEDEMA: Relaxation(0.85, 950.0, 125.0, 1.15),
    Tissue.SCLEROSIS: Relaxation(0.35, 900.0, 40.0),
}


def nucleus(hydration: float) -> Relaxation:
    """A nucleus pulposus: its T2 falls from about 170 ms to 40 ms as it dries out, fastest at the beginning."""
    return Relaxation(0.60 + 0.32 * hydration, 850.0 + 400.0 * hydration, 40.0 + 130.0 * hydration**1.6)


@dataclass(frozen=True)
class Sequence:
    """Timing in ms; without inversion (None) a plain spin echo."""

    repetition: float
    echo: float
    inversion: float | None = None

    @property
    def contrast(self) -> str:
        """T1, T2 or STIR."""
        if self.inversion is not None:
            return "STIR"
        return "T1" if self.repetition < 1000 else "T2"

    @property
    def echo_train(self) -> int:
        """Echoes per excitation, as the headers give it."""
        return 1 if self.repetition < 1000 else 16


def stir(field: float) -> Sequence:
    """A STIR whose inversion time nulls fat at a field strength in T."""
    fat = _t1(RELAXATION[Tissue.FAT], field)
    return Sequence(4500.0, 60.0, round(fat * float(np.log(2.0 / (1.0 + np.exp(-4500.0 / fat)))), 1))


def draw_sequence(series_type: SeriesType, field: float, rng: np.random.Generator) -> Sequence:
    """The timing of a series, from the range of clinical protocols; 12 % of the sagittal T2 are STIR."""
    repetition, echo, fat_nulled = rng.uniform([0.0, 0.0, 0.0], 1.0).tolist()
    if series_type is SeriesType.SAGITTAL_T1:
        return Sequence(round(450.0 + 300.0 * repetition, 1), round(8.0 + 7.0 * echo, 1))
    if series_type is SeriesType.SAGITTAL_T2 and fat_nulled < 0.12:
        return stir(field)
    return Sequence(round(2800.0 + 2200.0 * repetition, 1), round(85.0 + 37.0 * echo, 1))


def _t1(tissue: Relaxation, field: float) -> float:
    """T1 at a field strength, linear between 1.5 T and 3 T."""
    return tissue.t1 * (1.0 + (tissue.growth - 1.0) * (field - 1.5) / 1.5)


def strength(tissue: Relaxation, sequence: Sequence, field: float) -> float:
    """Magnitude of the spin-echo signal; 1 is that of water after full recovery and without an echo time.

    ``|PD (1 - exp(-TR/T1)) exp(-TE/T2)|``, and with inversion ``|PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2)|``.
    """
    t1 = _t1(tissue, field)
    recovered = 1.0 - np.exp(-sequence.repetition / t1)
    if sequence.inversion is not None:
        recovered = 1.0 - 2.0 * np.exp(-sequence.inversion / t1) + np.exp(-sequence.repetition / t1)
    return float(abs(tissue.density * recovered * np.exp(-sequence.echo / tissue.t2)))


def relaxations(anatomy: Anatomy) -> dict[int, Relaxation]:
    """The relaxation of every number in a person's label maps; tissues differ a little between persons."""
    rng = np.random.default_rng(anatomy.seed)
    factors = np.exp(rng.normal(0.0, [0.04, 0.08, 0.10], (len(RELAXATION), 3)))
    own = {
        number: replace(tissue, density=tissue.density * density, t1=tissue.t1 * t1, t2=tissue.t2 * t2)
        for (number, tissue), (density, t1, t2) in zip(RELAXATION.items(), factors.tolist(), strict=True)
    }
    fatty = rng.uniform(-1.0, 1.0)  # red marrow of the young, yellow marrow of the old
    marrow = own[Tissue.MARROW]
    own[Tissue.MARROW] = replace(marrow, t1=marrow.t1 * (1.0 - 0.25 * fatty), t2=marrow.t2 * (1.0 + 0.18 * fatty))
    nuclei = {Tissue.NUCLEUS + i: nucleus(disc.hydration) for i, disc in enumerate(anatomy.discs)}
    return {**own, **nuclei}


def signal_table(tissues: Mapping[int, Relaxation], sequence: Sequence, field: float) -> Field:
    """Signal of every number in a label map, shape ``(256,)``."""
    signal = np.zeros(256, dtype=np.float32)
    for number, relaxation in tissues.items():
        signal[number] = strength(relaxation, sequence, field)
    return signal


BITS = 6
SIDE = 2**BITS
"""Cells along a side of the cube of grain."""
CELL = 0.9
"""Size of a cell in mm."""
Cube = npt.NDArray[np.float32]


class Grain(IntEnum):
    """What the inside of a tissue looks like."""

    EVEN = 0
    MARROW = 1
    MUSCLE = 2
    FAT = 3
    ORGAN = 4
    FIBRES = 5


_GRAINS = {
    Tissue.MARROW: Grain.MARROW,
    Tissue.MUSCLE: Grain.MUSCLE,
    Tissue.INTERSPINOUS: Grain.ORGAN,
    Tissue.OEDEMA: Grain.MARROW,
    Tissue.SCLEROSIS: Grain.MARROW,
    Tissue.HAEMANGIOMA: Grain.MARROW,
    Tissue.ANNULUS: Grain.FIBRES,
    Tissue.LIGAMENT: Grain.FIBRES,
    Tissue.FAT: Grain.FAT,
    Tissue.VISCERA: Grain.ORGAN,
    Tissue.BOWEL: Grain.ORGAN,
    Tissue.KIDNEY: Grain.ORGAN,
}
_FIRST_CELLS = np.zeros(256, dtype=np.intp)
"""Of every number in a label map: where the cells of its grain begin in `grain_table`."""
for _tissue, _grain in _GRAINS.items():
    _FIRST_CELLS[_tissue] = int(_grain) * SIDE**3


def grain_factors(patch: Patch, anatomy: Anatomy, table: Cube) -> Field:
    """What to multiply the signal with at the samples of a patch; ``table`` comes from `grain_table`."""
    across = _cells(patch.a, anatomy.seed % 59)
    across <<= BITS
    across += _cells(patch.r, anatomy.seed % 61)
    place = np.take(_FIRST_CELLS, patch.tissue, mode="clip")  # twice as fast as with a check of the numbers
    place += across
    place += _cells(patch.s, anatomy.seed % 53).astype(np.intp) << (2 * BITS)
    return np.take(table, place, mode="clip")


def _cells(values: Field, offset: int) -> npt.NDArray[np.int16]:
    """The cell along one axis that each place lies in."""
    cells = values * np.float32(1.0 / CELL)
    cells += np.float32(100 * SIDE + offset)
    numbers = cells.astype(np.int16)
    numbers &= SIDE - 1
    return numbers


def grain_table(anatomy: Anatomy, signal: Field) -> Cube:
    """What to multiply the signal with, for every grain and cell, ``(grains * SIDE**3,)``.

    ``signal`` is the signal of every tissue: fat is mixed into muscle.
    """
    fat = float(signal[Tissue.FAT] / max(float(signal[Tissue.MUSCLE]), 1e-6))
    share = np.clip(_fat_of_muscle() + np.float32(0.12 + 1.3 * anatomy.streaks), 0.0, 0.7)
    table = np.clip(_grains(), 0.1, None)
    table[Grain.MUSCLE] *= 1.0 + np.float32(fat - 1.0) * share
    return table.ravel()


@cache
def _grains() -> Cube:
    """The factors of every grain without the fat of muscle, ``(grains, SIDE**3)``."""
    fine, coarse, trabeculae = _noise(1, (2.2, 2.2, 2.2)), _patches(), _noise(5, (1.3, 1.3, 2.0))
    septa = np.clip(1.0 - 14.0 * np.abs(_noise(4, (9.0, 5.0, 9.0))), 0.0, 1.0)
    factors = {
        Grain.EVEN: np.ones_like(fine),
        Grain.MARROW: 1.0 + 0.06 * trabeculae + 0.05 * fine + 0.06 * coarse,
        Grain.MUSCLE: 1.0 + 0.09 * fine,
        Grain.FAT: 1.0 + 0.03 * fine - 0.20 * septa,
        Grain.ORGAN: 1.0 + 0.10 * fine + 0.20 * coarse,
        Grain.FIBRES: 1.0 + 0.12 * fine + 0.12 * coarse,
    }
    return np.stack([factors[grain] for grain in Grain]).astype(np.float32)


@cache
def _fat_of_muscle() -> Cube:
    """How much more or less fat there is than on average: most along sheets between bundles, which run upwards."""
    return np.asarray(0.22 * _patches() - 1.6 * np.abs(_noise(3, (5.5, 5.5, 29.0))), dtype=np.float32)


@cache
def _patches() -> Cube:
    """Patches of 10 to 20 mm."""
    return _noise(2, (11.0, 11.0, 11.0))


def _noise(seed: int, lengths: tuple[float, float, float]) -> Cube:
    """Random numbers of unit deviation, smooth over ``lengths`` mm along r, a and s; flattened, r runs fastest."""
    white = np.random.default_rng(seed).standard_normal((SIDE,) * 3)
    frequency = np.fft.fftfreq(SIDE, CELL)
    s, a, r = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    distance = (r * lengths[0]) ** 2 + (a * lengths[1]) ** 2 + (s * lengths[2]) ** 2
    smooth = np.fft.ifftn(np.fft.fftn(white) * distance * np.exp(-distance * 4.0)).real
    return (smooth / smooth.std()).astype(np.float32).ravel()
