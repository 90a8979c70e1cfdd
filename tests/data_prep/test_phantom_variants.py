"""The phantom's unusual spines: transitional vertebrae, slips, haemangiomas, flowing fluid."""

import numpy as np
import pytest

from data_prep.phantom import anatomy, canal, disease, variants
from data_prep.phantom.acquisition import label_map
from data_prep.phantom.anatomy import FIRST_LUMBAR, FIRST_SACRAL
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.phantom.signal import T1, T2, strength
from data_prep.phantom.tissue import RELAXATION, Tissue
from data_prep.phantom.variants import NORMAL, Haemangioma, Slip, Transition, Variants
from monai_spine.spine import FINDINGS, Group, Level

STEP = 0.25
SAC = [Tissue.CSF, Tissue.NERVE, Tissue.CORD, Tissue.FLOWING_CSF]
UNUSUAL = [
    Variants(Transition.L6),
    Variants(Transition.SACRALISED_L5),
    Variants(slip=Slip(Level.L4_L5, 9.0)),
    Variants(haemangioma=Haemangioma(2, (0.1, 0.0, 0.0), 8.0)),
    Variants(pulsating=True),
]
NAMES = ["l6", "sacralised", "slip", "haemangioma", "pulsating"]


def person(unusual=NORMAL, severity=0.5):
    severities = np.full(len(FINDINGS), severity)
    illness = disease.Disease(severities, disease.measures(severities))
    return anatomy.draw(illness, np.random.default_rng(0), np.array([5.0, -10.0, 20.0]), unusual)


def sagittal(someone, centre=(0.0, -15.0, -20.0), size=(161, 321), step=0.5):
    """Label map of the plane x = that of ``centre``: columns to the front, rows upwards, and its affine."""
    affine = np.zeros((4, 4))
    affine[1, 0] = affine[2, 1] = step
    affine[0, 2] = affine[3, 3] = 1.0
    affine[:3, 3] = someone.curve.to_world(np.array(centre)) - affine[:3, :2] @ ((np.array(size) - 1) / 2)
    return label_map(someone, affine, (*size, 1))[0], affine


def tissue_at(someone, place):
    affine = np.diag([0.2, 0.2, 0.2, 1.0])
    affine[:3, 3] = someone.curve.to_world(np.array(place)) - 0.6
    return label_map(someone, affine, (7, 7, 7))[3, 3, 3]


@pytest.mark.parametrize("unusual", UNUSUAL, ids=NAMES)
@pytest.mark.parametrize("level", [Level.L1_L2, Level.L4_L5, Level.L5_S1])
def test_the_sac_is_as_deep_as_its_measure(unusual, level):
    someone = person(unusual)
    middle = canal.canal_point(someone, level)
    places = [middle + np.array([0.0, offset, 0.0]) for offset in np.arange(-12.0, 12.01, STEP)]
    found = [tissue_at(someone, place) in SAC for place in places]
    assert sum(found) * STEP == pytest.approx(someone.measure(Group.SPINAL, None, level), abs=3 * STEP)


@pytest.mark.parametrize("unusual", UNUSUAL, ids=NAMES)
def test_l5_s1_is_the_last_disc_above_the_sacrum(unusual):
    someone = person(unusual)
    assert [body.sacral for body in someone.vertebrae] == [False] * FIRST_SACRAL + [True] * 3
    disc = someone.level_disc(Level.L5_S1)
    assert someone.vertebrae[FIRST_SACRAL - 1].s > disc.s > someone.vertebrae[FIRST_SACRAL].s
    assert disc.height > 4.0


def test_six_lumbar_vertebrae_have_a_twelfth_thoracic_one_above_them():
    names = [body.name for body in person(Variants(Transition.L6)).vertebrae]
    assert names[1:8] == ["T12", "L1", "L2", "L3", "L4", "L5", "L6"]
    assert names[FIRST_LUMBAR] == "L2"


def test_a_sacralised_l5_has_a_thin_disc_below_it():
    someone = person(Variants(Transition.SACRALISED_L5))
    assert someone.vertebrae[FIRST_SACRAL].name == "L5"
    assert someone.vertebrae[FIRST_LUMBAR].name == "T12"
    assert 2.0 < someone.discs[FIRST_SACRAL].height < 5.0 < someone.discs[FIRST_SACRAL - 1].height


def test_the_conus_counts_from_l1_whatever_lies_below():
    usual, six, four = (person(Variants(transition)) for transition in Transition)
    for someone in (usual, six, four):
        assert -18.0 <= someone.conus - someone.vertebra("L1").s <= 6.0
    assert six.conus > usual.conus + 15 > four.conus + 30


@pytest.mark.parametrize("level", list(variants.SLIPS))
def test_a_slip_moves_what_is_above_forwards_by_its_amount(level):
    usual, slipped = person(), person(Variants(slip=Slip(level, 8.0)))
    index = FIRST_LUMBAR + list(Level).index(level)
    above, below = (usual.vertebrae[n].s for n in (index, index + 1))
    moved = [slipped.curve.to_world([0, 0, s]) - usual.curve.to_world([0, 0, s]) for s in (above, below)]
    forwards = [usual.curve.to_world([0, 1, s]) - usual.curve.to_world([0, 0, s]) for s in (above, below)]
    apart = moved[0] @ forwards[0] - moved[1] @ forwards[1]
    assert apart == pytest.approx(8.0, abs=0.01)


def test_slipped_coordinates_come_back():
    someone = person(Variants(slip=Slip(Level.L4_L5, 10.0)))
    points = np.random.default_rng(1).uniform([-50, -40, -120], [50, 30, 120], (300, 3))
    assert np.abs(someone.curve.to_spine(someone.curve.to_world(points)) - points).max() < 0.05


def test_a_slip_shows_in_the_image_and_leaves_the_skin_alone():
    usual, _ = sagittal(person())
    slipped, _ = sagittal(person(Variants(slip=Slip(Level.L4_L5, 9.0))))
    bone = [np.isin(image, [Tissue.CORTEX, Tissue.MARROW]) for image in (usual, slipped)]
    assert (bone[0] != bone[1]).mean() > 0.02
    assert np.array_equal(usual == Tissue.AIR, slipped == Tissue.AIR)


def test_a_haemangioma_is_bright_on_t1_and_t2_and_keeps_to_its_body():
    for sequence in (T1, T2):
        patch, marrow = (strength(RELAXATION[t], sequence, 1.5) for t in (Tissue.HAEMANGIOMA, Tissue.MARROW))
        assert patch > 1.2 * marrow
    usual, _ = sagittal(person())
    found, _ = sagittal(person(UNUSUAL[3]))
    changed = usual != found
    assert (found == Tissue.HAEMANGIOMA).sum() > 100
    assert set(usual[changed]) == {Tissue.MARROW}


def test_flowing_fluid_lies_inside_the_sac_and_is_dark_on_t2_alone():
    usual, _ = sagittal(person())
    found, _ = sagittal(person(Variants(pulsating=True)))
    assert (found == Tissue.FLOWING_CSF).sum() > 200
    assert np.array_equal(np.isin(usual, SAC), np.isin(found, SAC))
    still, fast = RELAXATION[Tissue.CSF], RELAXATION[Tissue.FLOWING_CSF]
    assert strength(fast, T2, 1.5) < 0.3 * strength(still, T2, 1.5)
    assert strength(fast, T1, 1.5) == pytest.approx(strength(still, T1, 1.5), rel=0.2)


def test_a_variant_does_not_depend_on_the_others():
    every = frozenset({Quirk.SPONDYLOLISTHESIS, Quirk.HAEMANGIOMA, Quirk.L6, Quirk.FLOW_VOID})
    drawn = variants.draw(every, np.random.default_rng(5))
    assert variants.draw(frozenset({Quirk.SPONDYLOLISTHESIS}), np.random.default_rng(5)).slip == drawn.slip
    assert variants.draw(NONE, np.random.default_rng(5)) == NORMAL
    assert set(drawn.describe()) == every - {Quirk.FLOW_VOID}
