"""Contrasts of the tissues."""

import pytest

from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.signal import RELAXATION, nucleus, stir, strength
from tests.data_prep.phantom.sequences import T1, T2


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_contrasts_are_those_of_t1_t2_and_stir(field):
    def signal(name, sequence):
        return strength(RELAXATION[name], sequence, field)

    t1 = [signal(t, T1) for t in (Tissue.FAT, Tissue.MARROW, Tissue.MUSCLE, Tissue.CSF, Tissue.CORTEX)]
    t2 = [signal(t, T2) for t in (Tissue.CSF, Tissue.FAT, Tissue.MARROW, Tissue.MUSCLE, Tissue.CORTEX)]
    assert t1 == sorted(t1, reverse=True)
    assert t2 == sorted(t2, reverse=True)
    assert signal(Tissue.FAT, stir(field)) < 0.02 * signal(Tissue.CSF, stir(field))


def test_a_drier_disc_is_darker_on_t2():
    wet, dry = (strength(nucleus(hydration), T2, 1.5) for hydration in (0.9, 0.1))
    assert wet > 3 * dry
