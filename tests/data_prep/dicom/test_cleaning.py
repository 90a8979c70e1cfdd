"""The cleaner of header texts: every spelling of an identifying value goes, the words of sequences stay."""

import pydicom
import pytest

from data_prep.dicom.headers import identity, parameters
from data_prep.dicom.headers.elements import Elements
from data_prep.dicom.headers.reader import TAGS

CHARACTER_SET, DESCRIPTION = 0x00080005, 0x0008103E
NAME, BIRTH_DATE, PATIENT_ID, INSTITUTION = 0x00100010, 0x00100030, 0x00100020, 0x00080080


def described(text, values=None, charset="", encoding="latin-1"):
    """The description of a header with values by tag."""
    header = {CHARACTER_SET: charset.encode(), DESCRIPTION: text.encode(encoding)}
    for tag, value in (values or {}).items():
        header[tag] = value if isinstance(value, bytes) else value.encode(encoding)
    return parameters.description(Elements(header))


@pytest.mark.parametrize(
    "text", ["Muller", "MULLER", "Mueller", "müller", "M.ü.ller Müller", "Müller,Jörg", "JORG müller"]
)
def test_accents_and_umlauts_are_folded(text):
    assert not set("mulerjogMULERJOG") & set(described(f"T2 {text}", {NAME: "Müller^Jörg"}, "ISO_IR 100")[2:])


@pytest.mark.parametrize(
    ("name", "charset", "encoding", "text"),
    [
        ("Wałęsa^Żaneta", "ISO_IR 101", "iso8859_2", "Walesa ZANETA"),
        ("Ivanova^Anna=Иванова^Анна", "ISO_IR 144", "iso8859_5", "Иванова Ivanova ANNA"),
        ("Παπαδοπούλου^Papadopoulou", "ISO_IR 126", "iso8859_7", "papadopoulou"),
        ("Søren^Ærø", "ISO_IR 192", "utf-8", "Søren Soren Aero"),
        ("Nguyễn^Thị", "ISO_IR 192", "utf-8", "Nguyen thi"),
        ("Sørensen", "", "utf-8", "Sørensen"),
    ],
)
def test_character_sets_are_decoded(name, charset, encoding, text):
    assert described(f"T2 sag {text}", {NAME: name}, charset, encoding) == "T2 sag"


def test_japanese_names_in_their_three_forms_go():
    encoded = pydicom.charset.encode_string("Yamada^Tarou=山田^太郎", ["iso8859", "iso2022_jp"])
    header = {CHARACTER_SET: b"\\ISO 2022 IR 87", NAME: encoded, DESCRIPTION: b"T2 sag TAROU yamada"}
    assert parameters.description(Elements(header)) == "T2 sag"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("O'Brien^Pat", "OBRIEN O'Brien O Brien o`brien PAT"),
        ("Garcia-Lopez^Ana", "GarciaLopez Lopez-Garcia ana"),
        ("Li^Wu", "Wu LI LiWu wuli"),
        ("Xu^Jo", "sagXu"),
        ("van der Berg^Jo", "VanDerBerg"),
    ],
)
def test_punctuation_order_and_two_letters_are_no_hiding_place(name, text):
    left = described(f"T2 {text}", {NAME: name}).lower()
    assert not any(word in left for word in ("brien", "garcia", "lopez", "li", "wu", "xu", "berg", "ana", "pat", "der"))


@pytest.mark.parametrize(
    "date",
    ["19500203", "1950-02-03", "03.02.1950", "3.2.1950", "02/03/1950", "03.02.50", "030250", "500203", "3 Feb 1950",
     "Feb 3, 1950", "03-Feb-50", "1950", "1950.02.03", "2023-11-17", "17.11.2023", "20231117"],
)  # fmt: skip
def test_dates_go_in_their_usual_forms(date):
    assert described(f"T2 sag {date}", {BIRTH_DATE: "19500203"}) == "T2 sag"


@pytest.mark.parametrize("tag", identity.TAGS, ids=[pydicom.datadict.keyword_for_tag(tag) for tag in identity.TAGS])
def test_every_identifying_element_is_struck_from_every_text(tag):
    assert tag in TAGS
    value = "19501203" if tag == BIRTH_DATE else "Quorz^Xeb" if tag in identity._PERSON_NAMES else "Quorz Xeb77"
    words = ["03.12.1950"] if tag == BIRTH_DATE else ["QUORZ", "Xeb" if "^" in value else "xeb77"]
    header = {tag: value.encode(), DESCRIPTION: f"T2 {' '.join(words)} sag".encode()}
    header |= {other: f"T2 {words[-1]}".encode() for other in parameters.TEXTS if other != 0x00100030}
    assert parameters.description(Elements(header)) == "T2 sag"
    for value in dict(parameters.collect(Elements(header))).values():
        assert value in ("T2", ("T2",))


@pytest.mark.parametrize("tag", [tag for tag in parameters.TEXTS if tag != BIRTH_DATE])
def test_long_dated_and_japanese_values_of_every_text_name_nobody(tag):
    header = {NAME: b"Winterbottom^Jane", BIRTH_DATE: b"19500203", tag: b"A" * 52 + b" Winterbottom"}
    assert "Winter" not in str(parameters.collect(Elements(header)))
    header[tag] = b"scan 20240312 2024-03-12"
    assert dict(parameters.collect(Elements(header))) in (
        {parameters.TEXTS[tag]: "scan"},
        {parameters.TEXTS[tag]: ("scan",)},
    )
    name = "\N{CJK UNIFIED IDEOGRAPH-5C71}\N{CJK UNIFIED IDEOGRAPH-7530}"
    header = {CHARACTER_SET: b"\\ISO 2022 IR 87", NAME: name.encode("iso2022_jp"), tag: name.encode("iso2022_jp")}
    assert not dict(parameters.collect(Elements(header)))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({NAME: "Se^T2"}, "T2 SE sag"),
        ({PATIENT_ID: "phantom_fMRI"}, "Ax fMRI"),
        ({INSTITUTION: "Spine Center"}, "T2 Spine sag"),
        ({NAME: "Ax^Tra"}, "T2 tra 384 p2"),
        ({PATIENT_ID: "12"}, "T2 sag 12"),
        ({NAME: "Ma^Li"}, "T2 sag Malign slice"),
    ],
)
def test_words_of_sequences_stay(values, text):
    assert described(text, values) == text


def test_makers_and_defined_terms_stay():
    header = {INSTITUTION: b"Siemens Prisma Health", 0x00080070: b"SIEMENS", 0x00081090: b"Prisma_fit"}
    header |= {NAME: b"HFS^Row", 0x00185100: b"HFS", 0x00181312: b"ROW", 0x00180020: b"SE"}
    assert dict(parameters.collect(Elements(header))) == {
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Prisma_fit",
        "PatientPosition": "HFS",
        "InPlanePhaseEncodingDirection": "ROW",
        "ScanningSequence": ("SE",),
    }


@pytest.mark.parametrize(("value", "stored"), [(b"Gadovist 7 ml Erika", "YES"), (b"NONE", "NO"), (b"", None)])
def test_a_contrast_agent_leaves_as_yes_or_no_only(value, stored):
    assert dict(parameters.collect(Elements({0x00180010: value}))).get("ContrastBolusAgent") == stored
