"""Unusual findings: drawn one by one, and visible in the image."""

import numpy as np

from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.quirks import NONE, NORMAL, Quirk, draw_variants
from data_prep.phantom.signal import RELAXATION, T1, T2, strength
from tests.data_prep.phantom.people import UNUSUAL, person, sagittal


def test_a_variant_does_not_depend_on_the_others():
    every = frozenset({Quirk.SPONDYLOLISTHESIS, Quirk.HAEMANGIOMA, Quirk.L6, Quirk.FLOW_VOID})
    drawn = draw_variants(every, np.random.default_rng(5))
    assert draw_variants(frozenset({Quirk.SPONDYLOLISTHESIS}), np.random.default_rng(5)).slip == drawn.slip
    assert draw_variants(NONE, np.random.default_rng(5)) == NORMAL
    assert set(drawn.describe()) == every - {Quirk.FLOW_VOID}


def test_a_slip_shows_in_the_image_and_leaves_the_skin_alone():
    usual, slipped = sagittal(person()), sagittal(person(variants=UNUSUAL["slip"]))
    bone = [np.isin(image, [Tissue.CORTEX, Tissue.MARROW]) for image in (usual, slipped)]
    assert (bone[0] != bone[1]).mean() > 0.02
    assert np.array_equal(usual == Tissue.AIR, slipped == Tissue.AIR)


def test_a_haemangioma_is_bright_on_t1_and_t2_and_keeps_to_its_body():
    for sequence in (T1, T2):
        haemangioma, marrow = (strength(RELAXATION[t], sequence, 1.5) for t in (Tissue.HAEMANGIOMA, Tissue.MARROW))
        assert haemangioma > 1.2 * marrow
    usual, unusual = sagittal(person()), sagittal(person(variants=UNUSUAL["haemangioma"]))
    assert (unusual == Tissue.HAEMANGIOMA).sum() > 100
    assert set(usual[usual != unusual]) == {Tissue.MARROW}
