"""Series types told from plane, words and timing, or refused with a reason."""

import pytest

from monai_spine.data.series_typing import Confidence, series_type_of
from monai_spine.geometry import Plane
from monai_spine.spine import SeriesType

T1, T2, AXIAL = SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2, SeriesType.AXIAL_T2
SAG, AX, COR = Plane.SAGITTAL, Plane.AXIAL, Plane.CORONAL


def header(description="", repetition=None, echo=None, inversion=None, **more):
    timing = {"RepetitionTime": repetition, "EchoTime": echo, "InversionTime": inversion}
    return {"SeriesDescription": description, **{key: value for key, value in timing.items() if value}, **more}


@pytest.mark.parametrize(
    ("given", "plane", "expected"),
    [
        (header("Sag T1"), SAG, T1),
        (header("SAG STIR"), SAG, T2),
        (header("t2_tirm_sag"), SAG, T2),
        (header("Sagittal T2/STIR"), SAG, T2),
        (header("t2_tse_tra_320"), AX, AXIAL),
        (header("", 550, 11), SAG, T1),
        (header("", 4500, 60, 160), SAG, T2),
        (header("", 4500, 35, 220), SAG, T2),
        (header("", 2100, 12, 860), SAG, T1),
        (header("Sag T1 FLAIR", 2100, 12, 860), SAG, T1),
        (header("sub-01_T1w"), SAG, T1),
        (header("T1 sub"), SAG, None),
        (header("AX T1"), AX, None),
        (header("t2_cor"), COR, None),
        (header("T1 and T2"), SAG, None),
        (header("T2 DIXON water"), SAG, None),
        (header("", 3500, 20), SAG, None),
        (header("PD TSE", 3500, 20), SAG, None),
        (header("SAG T1 post gad"), SAG, None),
        (header("T1 +C", 550, 11), SAG, None),
        (header("AX T2*"), AX, None),
        (header("T2 MEDIC", 900, 17), AX, None),
        (header("", 650, 45, ScanningSequence=["GR"]), AX, None),
        ({"RepetitionTime": "fast", "EchoTime": 20}, SAG, None),
        ({"RepetitionTime": True, "EchoTime": True}, SAG, None),
        ({}, AX, None),
    ],
)
def test_weighting_and_plane_make_the_series_type_or_none(given, plane, expected):
    verdict = series_type_of(given, plane)
    assert verdict.series_type is expected
    assert verdict.reason
    assert (verdict.confidence is Confidence.NONE) == (expected is None)


@pytest.mark.parametrize(
    ("given", "plane", "other"),
    [
        (header(), COR, True),
        (header("AX T1"), AX, True),
        (header("SAG T1 post gad"), SAG, True),
        (header("AX DWI"), AX, True),
        (header(), AX, False),
        (header("SAG T1", 4000, 100), SAG, False),
        (header("", 3500, 20), SAG, False),
    ],
)
def test_something_else_is_told_from_something_unknown(given, plane, other):
    assert series_type_of(given, plane).other is other


def test_witnesses_that_contradict_each_other_tell_nothing_and_both_are_quoted():
    verdict = series_type_of(header("SAG T1", 4000, 100), SAG)
    assert verdict.series_type is None
    assert verdict.reason == "contradiction: description says T1, TR 4000 TE 100 ms say T2"


def test_two_witnesses_are_worth_more_than_one():
    assert series_type_of(header("SAG T2", 4000, 100), SAG).confidence is Confidence.HIGH
    assert series_type_of(header("SAG T2"), SAG).confidence is Confidence.MEDIUM
    assert series_type_of(header("", 4000, 100), SAG).confidence is Confidence.MEDIUM


def test_the_plane_comes_from_the_slices_and_a_description_of_another_is_mentioned():
    verdict = series_type_of(header("AX T2", 4000, 100), SAG)
    assert (verdict.series_type, verdict.confidence) == (T2, Confidence.MEDIUM)
    assert "description says axial" in verdict.reason


def test_free_text_of_the_description_is_not_quoted():
    for plane in Plane:
        for text in ("Smith John sag T1 knee", "Smith", "Smith T2 DIXON", "Smith T1 +C"):
            assert "smith" not in series_type_of(header(text, 550, 11), plane).reason.lower()
