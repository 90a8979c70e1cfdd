"""The cleaner of every text that leaves a header: it strikes the words of the elements that identify somebody.

Both sides are folded alike before they are compared: decoded by SpecificCharacterSet, accents taken off, in one case,
without regard to punctuation or order. In doubt a word is struck; only the words of sequences stay.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations

from data_prep.dicom.headers.elements import Elements

_PERSON_NAMES = (
    0x00080090,  # ReferringPhysicianName
    0x0008009C,  # ConsultingPhysicianName
    0x00081048,  # PhysiciansOfRecord
    0x00081050,  # PerformingPhysicianName
    0x00081060,  # NameOfPhysiciansReadingStudy
    0x00081070,  # OperatorsName
    0x00100010,  # PatientName
    0x00101001,  # OtherPatientNames
    0x00101005,  # PatientBirthName
    0x00101060,  # PatientMotherBirthName
    0x00102297,  # ResponsiblePerson
    0x00321032,  # RequestingPhysician
    0x00400006,  # ScheduledPerformingPhysicianName
    0x00402008,  # OrderEnteredBy
    0x00404037,  # HumanPerformerName
    0x0040A123,  # PersonName
)
_OTHERS = (
    0x00080050,  # AccessionNumber
    0x00080080,  # InstitutionName
    0x00080081,  # InstitutionAddress
    0x00080092,  # ReferringPhysicianAddress
    0x00080094,  # ReferringPhysicianTelephoneNumbers
    0x00081010,  # StationName
    0x00081040,  # InstitutionalDepartmentName
    0x00100020,  # PatientID
    0x00100021,  # IssuerOfPatientID
    0x00101000,  # OtherPatientIDs
    0x00101040,  # PatientAddress
    0x00101050,  # InsurancePlanIdentification
    0x00101090,  # MedicalRecordLocator
    0x00102154,  # PatientTelephoneNumbers
    0x00102155,  # PatientTelecomInformation
    0x00102180,  # Occupation
    0x00102299,  # ResponsibleOrganization
    0x00181000,  # DeviceSerialNumber
    0x00200010,  # StudyID
    0x00321033,  # RequestingService
    0x00380010,  # AdmissionID
    0x00380300,  # CurrentPatientLocation
    0x00380400,  # PatientInstitutionResidence
    0x00400253,  # PerformedProcedureStepID
    0x00401001,  # RequestedProcedureID
    0x00402010,  # OrderCallbackPhoneNumber
    0x00402016,  # PlacerOrderNumberImagingServiceRequest
    0x00402017,  # FillerOrderNumberImagingServiceRequest
)
_BIRTH_DATE = 0x00100030
TAGS = (*_PERSON_NAMES, *_OTHERS, _BIRTH_DATE)
"""These elements are read only to strike their words."""

_ACRONYMS = (
    "t1 t2 pd fs se gr ir ep ax cor sag tra fse tse stir tirm flair gre axial sagittal coronal mr lspine vibe haste "
    "spgr mprage epi dwi dti adc asl fmri swi tof localizer scout survey phantom"
)
_KEPT_OF_NAMES = frozenset(_ACRONYMS.split())
"""Words that no name may take away: the series type is read from them. Dixon, Post, Field and Head are names too."""
_SEQUENCE_WORDS = (
    "trans transverse obl oblique spine lumbar thoracic cervical head brain dixon space vista cube loc spin "
    "echo grad fast turbo fat sat water inphase opp phase mag map field post pre gad contrast "
    "the and with original primary derived secondary other none"
)
_MAKERS = (  # institutions and stations are named after them
    "siemens healthineers philips ge gems healthcare medical systems toshiba canon hitachi fujifilm esaote neusoft "
    "united imaging magnetom prisma skyra avanto aera vida sola verio espree trio triotim symphony lumina achieva "
    "ingenia ambition elition intera signa premier architect artist pioneer discovery optima vantage titan orian "
    "galan echelon oval"
)
_KEPT_OF_OTHERS = _KEPT_OF_NAMES | frozenset(f"{_SEQUENCE_WORDS} {_MAKERS}".split())
"""Words that stay in a text even if an identifying element other than a name holds them."""

_LONG = 5
"""A word of so many characters is struck anywhere; a shorter one may be part of another word by chance."""
_LEAST_LETTERS, _LEAST_DIGITS = 2, 3
_TRANSLITERATED = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "ı": "i", "ħ": "h", "Ħ": "H"}
)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "ø": "oe"})

# A word ends at anything but a letter, and where a capital follows a small letter ("sagLi").
_BEGIN, _END = r"(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))", r"(?:(?![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))"

_MONTH = r"(?:jan|feb|mar|mae?r|apr|may|mai|maj|jun|jul|aug|sep|oct|okt|oto|nov|dec|dez|dic|gen|fev|abr|ago|ene)[a-z]*"
_YEAR, _DAY_OR_MONTH = r"(?:19|20)\d\d", r"(?:0?[1-9]|[12]\d|3[01])"
_TWO_DIGITS = r"(?:0[1-9]|[12]\d|3[01])"
_DATES = re.compile(
    rf"(?<!\d){_YEAR}[-./_ ]{_DAY_OR_MONTH}[-./_ ]{_DAY_OR_MONTH}(?!\d)"
    rf"|(?<!\d){_DAY_OR_MONTH}[-./_ ]{_DAY_OR_MONTH}[-./_ ]{_YEAR}(?!\d)"
    rf"|(?<!\d){_DAY_OR_MONTH}([-./]){_DAY_OR_MONTH}\1\d\d(?!\d)"
    rf"|(?<!\d){_YEAR}{_TWO_DIGITS}{_TWO_DIGITS}(?!\d)|(?<!\d){_TWO_DIGITS}{_TWO_DIGITS}{_YEAR}(?!\d)"
    rf"|(?<!\d){_DAY_OR_MONTH}(?:st|nd|rd|th)?[-./_ ]*{_MONTH}[-./_ ,]*(?:{_YEAR}|\d\d)(?!\d)"
    rf"|(?<![a-z]){_MONTH}[-./_ ]*{_DAY_OR_MONTH}(?:st|nd|rd|th)?[-./_ ,]+(?:{_YEAR}|\d\d)(?!\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Identifier:
    """The words of a header that identify somebody, as one pattern; None if there are none."""

    pattern: re.Pattern[str] | None

    def strike(self, text: str) -> str:
        """A text in ASCII without these words."""
        return self.pattern.sub("", text) if self.pattern else text


def identifiers(elements: Elements) -> Identifier:
    """What identifies somebody in a header."""
    names, others = (tuple(elements.data(tag) for tag in tags) for tags in (_PERSON_NAMES, _OTHERS))
    return _identifier(names, others, elements.data(_BIRTH_DATE), elements.texts(0x00080005))


@functools.lru_cache(maxsize=256)
def _identifier(
    names: tuple[bytes, ...], others: tuple[bytes, ...], birth_date: bytes, character_sets: tuple[str, ...]
) -> Identifier:
    patterns = {
        pattern
        for values, kept in ((names, _KEPT_OF_NAMES), (others, _KEPT_OF_OTHERS))
        for value in values
        for text in _readings(value, character_sets)
        for pattern in _patterns_of(text, kept)
    }
    patterns.update(_birth_dates(birth_date.decode("latin-1")))
    if not patterns:
        return Identifier(None)
    # Long ones first, or a part of a name would be struck and the rest of it stay.
    return Identifier(re.compile("|".join(sorted(patterns, key=len, reverse=True)), re.IGNORECASE))


def decoded(value: bytes, character_sets: tuple[str, ...]) -> str:
    """A text element's value by SpecificCharacterSet; UTF-8 without a declaration is understood too."""
    from pydicom.charset import convert_encodings, decode_bytes

    if not value.isascii() and not any("2022" in name or name.startswith("GB") for name in character_sets):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    try:
        return decode_bytes(value, convert_encodings(list(character_sets) or ""), set(b"\\^=\r\n\t\f"))
    except (LookupError, UnicodeError, ValueError):
        return value.decode("latin-1")


def printable(text: str) -> str:
    """The text in ASCII, letters without their accents, so that every program can read the tables."""
    plain = unicodedata.normalize("NFKD", text.translate(_TRANSLITERATED))
    return plain.encode("ascii", "ignore").decode("ascii")


def without_dates(text: str) -> str:
    """A text without anything that looks like a date of birth or of an examination."""
    return _DATES.sub("", text)


def _readings(value: bytes, character_sets: tuple[str, ...]) -> set[str]:
    """A value in all spellings under which another element may repeat it: Müller is Muller, Mueller and Mller."""
    if not value:
        return set()
    text = decoded(value, character_sets)
    readings = {printable(text), printable(text.translate(_SPELT_OUT)), text.encode("ascii", "ignore").decode("ascii")}
    readings.add(printable(value.decode("latin-1")))
    return readings | {re.sub("([aou])e", r"\1", reading, flags=re.IGNORECASE) for reading in readings}


def _patterns_of(text: str, kept: frozenset[str]) -> Iterator[str]:
    """Patterns for each word of a value, for words that punctuation splits, and for two written together."""
    # Backslash, caret and equals sign separate values, components and groups; the rest of the punctuation lies within.
    components = [part for part in re.split(r"[\\^=\s,;|\0]+", text) if part]
    words = [re.findall(r"[a-zA-Z]+\d[a-zA-Z0-9]*|[a-zA-Z]+|\d+[a-zA-Z][a-zA-Z0-9]*|\d+", part) for part in components]
    single = list(dict.fromkeys(word for group in words for word in group))
    yield from (_word_pattern(word) for word in single if _identifies(word, kept))
    for group in words:
        if len(group) > 1 and _identifies("".join(group), kept):
            yield _bounded(r"[\W_]*".join(map(re.escape, group)), "".join(group))
    short = [word for word in single if word.isalpha() and len(word) < _LONG]
    for first, second in permutations(short[:6], 2):
        if _identifies(first + second, kept):
            yield _word_pattern(first + second)


def _identifies(word: str, kept: Iterable[str]) -> bool:
    least = _LEAST_DIGITS if word.isdigit() else _LEAST_LETTERS
    return len(word) >= least and word.lower() not in kept


def _word_pattern(word: str) -> str:
    # A long word is found with punctuation within it too ("M.uller"), as a short one must not be.
    between = "[.'`_-]?" if word.isalpha() and len(word) >= _LONG else ""
    return _bounded(between.join(word), word)


def _bounded(pattern: str, word: str) -> str:
    if word.isdigit():
        return rf"(?<!\d){pattern}(?!\d)" if len(word) < _LONG else pattern
    if len(word) >= _LONG:
        return pattern
    return f"{_BEGIN}{pattern}{_END}" if word.isalpha() else rf"(?<![a-z0-9]){pattern}(?![a-z0-9])"


def _birth_dates(text: str) -> Iterator[str]:
    """A date of birth in more forms than `without_dates` knows: two digits of the year, or the year alone."""
    date = re.match(r"\s*(\d{4})[-.]?(\d\d)[-.]?(\d\d)", text)
    if not date:
        return
    year, month, day = date.groups()
    orders = ((year, month, day), (day, month, year), (month, day, year))
    short = ((year[2:], month, day), (day, month, year[2:]), (month, day, year[2:]))
    for order in (*orders, *short):
        yield r"(?<!\d)" + r"[\W_]*".join(f"0?{int(part)}" if len(part) == 2 else part for part in order) + r"(?!\d)"
    yield rf"(?<!\d){year}(?!\d)"
