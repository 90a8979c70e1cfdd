"""The spin-echo signal of tissues in the three kinds of sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.tissue import RELAXATION, Relaxation, Tissue, nucleus


@dataclass(frozen=True)
class Sequence:
    """Timing in ms; without inversion (None) a plain spin echo."""

    repetition: float
    echo: float
    inversion: float | None = None


T1 = Sequence(600.0, 10.0)
T2 = Sequence(4000.0, 100.0)


def stir(field: float) -> Sequence:
    """A STIR whose inversion time nulls fat at a field strength in T."""
    fat = _t1(RELAXATION[Tissue.FAT], field)
    return Sequence(4500.0, 60.0, round(fat * float(np.log(2.0 / (1.0 + np.exp(-4500.0 / fat)))), 1))


def _t1(tissue: Relaxation, field: float) -> float:
    """T1 at a field strength, between 1.5 T and 3 T."""
    return tissue.t1 * (1.0 + (tissue.growth - 1.0) * (field - 1.5) / 1.5)


def strength(tissue: Relaxation, sequence: Sequence, field: float) -> float:
    """Magnitude of the spin-echo signal, 1 for fully relaxed water at once.

    ``|PD (1 - exp(-TR/T1)) exp(-TE/T2)|``, and with inversion ``|PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2)|``.
    """
    t1 = _t1(tissue, field)
    recovered = 1.0 - np.exp(-sequence.repetition / t1)
    if sequence.inversion is not None:
        recovered = 1.0 - 2.0 * np.exp(-sequence.inversion / t1) + np.exp(-sequence.repetition / t1)
    return float(abs(tissue.density * recovered * np.exp(-sequence.echo / tissue.t2)))


def table(anatomy: Anatomy, sequence: Sequence, field: float) -> npt.NDArray[np.float32]:
    """Signal of every number in a label map, shape ``(256,)``."""
    signal = np.zeros(256, dtype=np.float32)
    for tissue, relaxation in RELAXATION.items():
        signal[tissue] = strength(relaxation, sequence, field)
    for i, disc in enumerate(anatomy.discs):
        signal[Tissue.NUCLEUS + i] = strength(nucleus(disc.hydration), sequence, field)
    return signal
