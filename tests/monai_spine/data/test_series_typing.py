"""Series types from plane, words and timing, or unknown with a reason."""

from pathlib import Path

import pandas as pd
import pytest

from monai_spine.data.series_typing import Confidence, planes_named, series_type_of
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
        (header("T2 DIXON water"), SAG, T2),
        (header("T2 DIXON_F"), SAG, None),
        (header("T2 Dixon fat sat"), SAG, T2),
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
def test_another_type_is_not_the_same_as_an_unknown_type(given, plane, other):
    assert series_type_of(given, plane).other is other


def test_sources_that_contradict_each_other_leave_the_type_unknown_and_are_both_quoted():
    verdict = series_type_of(header("SAG T1", 4000, 100), SAG)
    assert verdict.series_type is None
    assert verdict.reason == "contradiction: description says T1, TR 4000 TE 100 ms say T2"


def test_two_sources_are_surer_than_one():
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


@pytest.mark.parametrize(
    ("repetition", "echo", "inversion", "expected"),
    [
        (1099, 39.9, None, T1),
        (1100, 39.9, None, None),
        (1099, 40, None, None),
        (1100, 40, None, T2),
        (3000, 35, 79, None),
        (3000, 35, 80, T2),
        (3000, 35, 300, T2),
        (3000, 35, 301, None),
        (1099, 35, 160, T1),  # no STIR without a long repetition
        (2100, 12, 599, None),
        (2100, 12, 600, T1),
        (2100, 12, 1300, T1),
        (2100, 12, 1301, None),
        (2100, 40, 860, T2),  # no T1 FLAIR with a long echo
        (1099, 12, 860, T1),
    ],
)
def test_times_at_the_bounds_decide_the_weighting(repetition, echo, inversion, expected):
    assert series_type_of(header("", repetition, echo, inversion), SAG).series_type is expected


@pytest.mark.parametrize(
    ("repetition", "echo", "other"), [(900, 12, False), (1200, 12, True), (900, 45, True), (1200, 45, True)]
)
def test_a_gradient_echo_is_unknown_with_short_times_and_another_contrast_with_long_ones(repetition, echo, other):
    verdict = series_type_of(header("", repetition, echo, ScanningSequence=["GR"]), SAG)
    assert (verdict.series_type, verdict.other) == (None, other)
    mixed = series_type_of(header("", 500, 12, ScanningSequence=["SE", "GR"]), SAG)
    assert mixed.series_type is T1
    assert series_type_of(header("", 500, 12, ScanningSequence="SE"), SAG).series_type is T1


def test_the_reason_quotes_plane_words_and_times():
    assert series_type_of(header("SAG T2", 4000, 100), SAG).reason == (
        "sagittal slices, description says T2, TR 4000 TE 100 ms say T2"
    )
    assert series_type_of(header("", 4500, 35, 220), SAG).reason == "sagittal slices, TR 4500 TE 35 TI 220 ms say STIR"
    assert series_type_of({}, SAG).reason.startswith("neither a description nor")


@pytest.mark.parametrize(
    ("text", "confidence"),
    [("cor sag T2", Confidence.HIGH), ("cor T2", Confidence.MEDIUM), ("T2", Confidence.HIGH)],
)
def test_a_description_that_names_the_plane_of_the_slices_too_is_no_contradiction(text, confidence):
    assert series_type_of(header(text, 4000, 100), SAG).confidence is confidence


WITH_AGENT = (
    "T1 SAG C+", "T1 SAG W CON", "SAG T1 FS W/C", "T1 SAG Kontrast", "T1 SAG KONTRASTLI", "T1 SAG CM", "T1 SAG +K",
    "SAG T1 INJ", "T1 SAG MDC", "SAG T1 POST", "T1 SAG nach KM", "T1 mit Kontrastmittel", "T1 avec injection",
    "T1 SAG injecté", "T1 dopo mdc", "T1 con gadolinio", "T1 na contrast", "T1_tse_sag_KM", "T1 SAG C/C", "SAG T1 +",
    "T1 SAG i.v.", "T1 POST FAT SAT", "SAG T1 POSTGAD", "T1 post-op post contrast", "T1 SAG DOTAREM", "SAG T1 GBCA",
    "SAG T1 DCE", "T1 SAG VUEWAY", "T1 SAG ELUCIREM", "T1 SAG con CMC",
)  # fmt: skip
WITHOUT_AGENT = (
    "SAG T1 POST OP", "SAG T1 POSTOP", "T1 SAG post-operative", "T1 PRE CONTRAST", "T1 W/O CONTRAST", "T1 SAG WO",
    "T1 ohne KM", "T1 SAG vor KM", "T1 SAG o. KM", "T1 sag prä KM", "T1 POSTERIOR SAT", "T1 SAG POST SAT",
    "T1 Sag Cervical", "T1 SAG CERVICOTHORACIC", "SAG T1 CE JUNCTION", "T1 sans injection", "T1 avant injection",
    "T1 senza mdc", "T1 prima di mdc", "T1 sin contraste", "T1 con saturacion grasa", "T1 zonder contrast",
    "T1 voor contrast", "T1 SAG kontrastsiz", "T1 SAG S/C", "T1 PREGAD", "T1 NONCON", "T1 NATIV", "T1 FOV 28 CM",
)  # fmt: skip


@pytest.mark.parametrize("text", WITH_AGENT)
def test_a_contrast_agent_is_read_in_several_languages(text):
    assert series_type_of(header(text, 600, 10, ScanningSequence="SE"), SAG).other


@pytest.mark.parametrize("text", WITHOUT_AGENT)
def test_a_negated_agent_and_words_that_only_resemble_one_leave_a_t1(text):
    assert series_type_of(header(text, 600, 10, ScanningSequence="SE"), SAG).series_type is T1


@pytest.mark.parametrize(
    "text",
    [
        "T2 NO PHASE WRAP", "T2 PHASE_AP", "T2 PHASE R-L", "SAG T2 LOCAL COIL", "T2 sag difficult", "T2 DIFFERENT FOV",
        "T2 sag DIXON_W", "t2_tse_dixon_sag_p2_in", "T2 SAG mDIXON-TSE", "矢状位T2", "T2 SAG (lumbar subtotal)",
        "T2 myelopathy", "sub-01_acq-sag_T2w", "sag_t2", "T2 Post op", "SAG T2 STIR", "T2 SAG SUBACUTE",
        "SAG T2 IDEAL F/S",
    ],
)  # fmt: skip
def test_words_within_words_do_not_throw_away_a_t2(text):
    assert series_type_of(header(text, 3500, 100, ScanningSequence="SE"), SAG).series_type is T2


@pytest.mark.parametrize(
    "given",
    [
        header("t2_fl2d_tra", 600, 22),
        header("T2 GRE AX", 450, 15),
        header("AX T2", 450, 15, ScanningSequence="GR"),
        header("AX T2", 6, 2.3),
        header("AX T2", 500, 15, FlipAngle=25),
        header("AX T2", 500, 15, SequenceVariant=["SS"]),
        header("AX T2", 500, 15, SequenceName="*me2d1"),
        header("AX T2", 4000, 80, ScanningSequence=["EP"]),
    ],
)
def test_a_gradient_echo_is_no_t2_even_if_only_the_header_says_so(given):
    assert series_type_of(given, AX).other


@pytest.mark.parametrize(("agent", "expected"), [("GADOVIST", None), ("YES", None), ("NONE", T1), ("", T1), (None, T1)])
def test_the_headers_agent_outvotes_words_without_one(agent, expected):
    verdict = series_type_of(header("SAG T1", 600, 10, ContrastBolusAgent=agent), SAG)
    assert (verdict.series_type, verdict.other) == (expected, expected is None)


@pytest.mark.parametrize("text", ["T1 with and without contrast", "T1 pre/post GAD"])
def test_a_series_before_and_after_an_agent_is_unknown(text):
    verdict = series_type_of(header(text, 600, 10), SAG)
    assert (verdict.series_type, verdict.other) == (None, False)


def test_a_header_with_agent_and_words_without_contradict_each_other():
    verdict = series_type_of(header("SAG T1 PRE GAD", 600, 10, ContrastBolusAgent="GADOVIST"), SAG)
    assert (verdict.series_type, verdict.other) == (None, False)
    assert "contradiction" in verdict.reason


def test_an_agent_leaves_a_t2_what_it_is():
    assert series_type_of(header("SAG T2 C+", 3500, 100, ContrastBolusAgent="GADOVIST"), SAG).series_type is T2


def test_an_echo_too_short_for_t2_contradicts_its_words():
    assert series_type_of(header("SAG T2", 3500, 15), SAG).series_type is None
    assert series_type_of(header("SAG STIR", 3500, 15), SAG).series_type is T2


OWN = [
    ("T2 SAG FLOW COMP", T2), ("t2_tse_sag_flowcomp", T2), ("SAG T2 NO FLOW", T2), ("SAG T2 FLOW SAT", T2),
    ("SAG T2 ANTI-FLOW", T2), ("SAG T2 FC", T2), ("SAG T2 W/ FLOW COMP", T2), ("CSF FLOW SAG T2", None),
    ("Т2 саг", T2), ("Т2-ВИ сагиттальная", T2), ("SAG T2 STIR с жироподавлением", T2), ("T2 саг диффузия", None),
    ("T2 МР-миелография", None), ("T2 локалайзер", None), ("矢状位 T2 压脂", T2), ("T2 水成像", None),
    ("T2 定位像", None), ("T2WI 矢状断", T2), ("T2 脂肪抑制 矢状", T2), ("T2 MRミエログラフィー", None),
    ("Т1 саг без контраста", T1), ("T1 саг до введения контраста", T1), ("T1 SAG без КУ", T1),
    ("T1 саг без к/у", T1), ("T1 sag нативный", T1), ("Т1 САГ БЕЗ КОНТРАСТУ", T1), ("T1 矢状位 平扫", T1),
    ("矢状T1平掃", T1), ("T1 增强前", T1), ("T1 非增强", T1), ("T1 造影前", T1), ("T1 造影なし", T1),
    ("T1 単純 矢状断", T1), ("T1 조영 전", T1), ("T1 fara contrast", T1), ("T1 ilman tehostetta", T1),
    ("T1 kontrasztanyag nélkül", T1), ("T1 χωρίς σκιαγραφικό", T1),
    ("Т1 саг с контрастом", None), ("T1 саг после контраста", None), ("T1 SAG с к/у", None),
    ("T1 саг с КУ", None), ("T1 SAG постконтрастная", None), ("T1 з контрастом", None), ("T1 矢状位 增强", None),
    ("矢狀T1增強", None), ("T1 FS 造影後", None), ("T1 造影あり", None), ("T1 조영증강", None),
    ("T1 cu contrast", None), ("T1 kontrasztanyaggal", None), ("T1 με σκιαγραφικό", None),
    ("T1 до и после контраста", None),
]  # fmt: skip
"""Written for this test, with the answer from reading; None for another contrast or image."""


@pytest.mark.parametrize(("text", "expected"), OWN)
def test_other_scripts_and_words_of_flow_are_read_as_a_reader_would(text, expected):
    times = (3500, 100) if {"т2", "t2"} & {text.lower()[n : n + 2] for n in range(len(text))} else (600, 10)
    verdict = series_type_of(header(text, *times, ScanningSequence="SE"), SAG)
    assert verdict.series_type is expected
    assert verdict.other is (expected is None)


@pytest.mark.parametrize(
    ("text", "planes"),
    [
        ("Т2 саг", [SAG]), ("Т2 аксиальная", [AX]), ("T2 корональная", [COR]), ("T2 фронтальная", [COR]),
        ("T1 矢状位", [SAG]), ("T2 横断位", [AX]), ("T2轴位", [AX]), ("T2 冠状面", [COR]), ("T2 시상면", [SAG]),
        ("Flexion T2", []), ("T2 thorax", []),
    ],
)  # fmt: skip
def test_planes_are_read_in_other_scripts(text, planes):
    assert planes_named(text) == planes


CASES = next(
    (
        p / "shared" / "cases" / "series_descriptions.csv"
        for p in Path(__file__).resolve().parents
        if (p / "shared" / "cases").is_dir()
    ),
    Path("shared"),
)


@pytest.mark.skipif(not CASES.is_file(), reason=f"there is no {CASES}")
def test_descriptions_that_went_wrong_are_read_as_a_reader_would():
    numbers = ("RepetitionTime", "EchoTime", "InversionTime")
    wrong = []
    for row in pd.read_csv(CASES, dtype=str, keep_default_na=False).to_dict("records"):
        times = {
            key: float(row[name])
            for key, name in zip(numbers, ("repetition_time", "echo_time", "inversion_time"), strict=True)
            if row[name]
        }
        given = {"SeriesDescription": row["description"], "ScanningSequence": row["scanning_sequence"], **times}
        verdict = series_type_of(given, Plane(row["plane"]))
        answer = verdict.series_type.value if verdict.series_type else "other" if verdict.other else "untold"
        if answer != row["series_type"]:
            wrong.append((row["description"], answer))
    assert wrong == []


@pytest.mark.parametrize(
    ("given", "other"),
    [
        (header("AX T2", 99.9, 15), True),
        (header("AX T2", 100, 15), False),
        (header("AX T2", 500, 15, FlipAngle=49.9), True),
        (header("AX T2", 500, 15, FlipAngle=50), False),
        (header("AX T2", 1099, 15, FlipAngle=25), True),
        (header("AX T2", 1100, 15, FlipAngle=25), False),
    ],
)
def test_spin_echoes_begin_at_the_bounds_of_repetition_and_flip_angle(given, other):
    assert series_type_of(given, AX).other is other


@pytest.mark.parametrize(("echo", "expected"), [(0, T2), (29.9, None), (30, T2)])
def test_proton_density_ends_at_its_bounds_and_an_echo_of_0_is_no_value(echo, expected):
    given = {"SeriesDescription": "SAG T2", "RepetitionTime": 3500, "EchoTime": echo}
    assert series_type_of(given, SAG).series_type is expected
