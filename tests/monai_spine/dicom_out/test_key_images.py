"""Key images show the worst finding as the reader graded it."""

from dataclasses import replace

import pytest

from monai_spine.dicom_out.key_images import _title
from monai_spine.dicom_out.structured_report import plain
from monai_spine.report.pdf_page import drawable
from monai_spine.report.study_result import ReaderGrade, worst
from monai_spine.spine import Condition, Grade
from tests.monai_spine.report.results import result

CANAL = "spinal_canal_stenosis_l4_l5"


def test_the_worst_finding_is_that_of_the_reader() -> None:
    findings = result((CANAL,)).of(Condition.SPINAL_CANAL_STENOSIS)
    assert worst(findings, read=True) is worst(findings) is findings[3]
    read = [*findings]
    read[3] = replace(read[3], reader=ReaderGrade(Grade.NORMAL_MILD, "AB", ""))
    read[1] = replace(read[1], reader=ReaderGrade(Grade.MODERATE, "AB", ""))
    assert worst(read, read=True) is read[1]
    assert worst(read) is read[3]
    unseen = replace(read[1], flags=("not_covered",))
    assert (worst([unseen]), worst([unseen], read=True)) == (None, unseen)


@pytest.mark.parametrize(
    ("initials", "drawn"), [("AB", "AB"), ("Ö", "Ö"), ("Ж", "Ж"), ("李", "U+674E"), ("王", "U+738B")]
)
def test_initials_of_any_script_are_told_apart_in_pictures(initials: str, drawn: str) -> None:
    one = result((CANAL,)).of(Condition.SPINAL_CANAL_STENOSIS)[3]
    title = _title(replace(one, reader=ReaderGrade(Grade.SEVERE, initials, "")))
    assert title.endswith(f"; reader {initials}: severe")
    assert drawable(title).endswith(f"; reader {drawn}: severe")


def test_letters_without_a_latin_form_are_code_points() -> None:
    assert plain("Müller, 李 ≥ 5 mm") == "Muller, U+674E  5 mm"
    assert plain("김") != plain("박")
