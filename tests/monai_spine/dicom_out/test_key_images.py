"""Key images show the worst finding as the reader graded it."""

from dataclasses import replace

import pytest

from monai_spine.dicom_out.key_images import _title
from monai_spine.report.study_result import ReaderGrade, worst, worst_read
from monai_spine.spine import Condition, Grade
from tests.monai_spine.report.results import result

CANAL = "spinal_canal_stenosis_l4_l5"


def test_the_worst_finding_is_that_of_the_reader() -> None:
    findings = result((CANAL,)).of(Condition.SPINAL_CANAL_STENOSIS)
    assert worst_read(findings) is worst(findings) is findings[3]
    read = [*findings]
    read[3] = replace(read[3], reader=ReaderGrade(Grade.NORMAL_MILD, "AB", ""))
    read[1] = replace(read[1], reader=ReaderGrade(Grade.MODERATE, "AB", ""))
    assert worst_read(read) is read[1]
    assert worst(read) is read[3]
    assert worst_read([replace(read[1], flags=("not_covered",))]) is None


@pytest.mark.parametrize(
    ("initials", "words"), [("AB", "; reader AB: severe"), ("李", "; reader: severe"), ("Ö", "; reader O: severe")]
)
def test_initials_of_any_script_give_a_title(initials: str, words: str) -> None:
    one = result((CANAL,)).of(Condition.SPINAL_CANAL_STENOSIS)[3]
    title = _title(replace(one, reader=ReaderGrade(Grade.SEVERE, initials, "")))
    assert title.endswith(words)
    assert title.isascii()
