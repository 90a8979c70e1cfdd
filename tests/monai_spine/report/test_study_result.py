import json
from pathlib import Path

import pytest

from monai_spine.data.volume_names import WITHOUT_SPINE
from monai_spine.errors import InvalidTableError
from monai_spine.grading.evidence import NOT_COVERED, SUBSTITUTE
from monai_spine.grading.findings import UNLIKE_MEASURES, UNLIKE_TRAINING
from monai_spine.levels.marked import MARKED
from monai_spine.levels.recesses.planes import PROJECTED
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.report.study_result import FindingResult, read_result, worst
from monai_spine.report.wording import flag_words, percent
from monai_spine.spine import FINDINGS, Level, SeriesType
from tests.monai_spine.report.results import content, result


def test_the_worst_level_comes_first() -> None:
    levels = result(("left_subarticular_stenosis_l4_l5",)).levels()
    assert levels[0] is Level.L4_L5
    assert levels[1:] == [level for level in Level if level is not Level.L4_L5]


def test_a_finding_that_no_slice_shows_is_never_the_worst() -> None:
    assert worst(result(("spinal_canal_stenosis_l3_l4",), covered=False).findings) is None
    found = content(("spinal_canal_stenosis_l3_l4",))
    found["findings"][2]["flags"] = ["not_covered"]
    assert worst(result(("spinal_canal_stenosis_l3_l4",)).findings).finding.level is Level.L3_L4


def test_every_flag_has_plain_words() -> None:
    flags = [NOT_COVERED, SUBSTITUTE, WITHOUT_SPINE, PROJECTED, MARKED, *(flag.value for flag in Flag)]
    flags += [UNLIKE_TRAINING, UNLIKE_MEASURES]
    flags += [f"missing_{series_type.value}" for series_type in SeriesType]
    assert all(flag_words(flag).endswith(".") for flag in flags)
    assert flag_words("some_new_flag") == "some new flag"


def test_a_note_says_where_the_diameter_changed_the_grade() -> None:
    found = content(("spinal_canal_stenosis_l3_l4",))
    entry = found["findings"][2]
    images = {"normal_mild": 0.8, "moderate": 0.1, "severe": 0.1}
    entry |= {"diameter_mm": 5.6, "natural_of_images": images}
    changed, alike = (
        FindingResult.of(FINDINGS[2], entry),
        FindingResult.of(FINDINGS[2], entry | {"grade": "normal_mild"}),
    )
    assert any("about 6 mm" in note and "normal/mild" in note for note in changed.notes)
    assert not any("mm" in note for note in alike.notes)
    with pytest.raises(ValueError, match="about"):
        FindingResult.of(FINDINGS[2], entry | {"diameter_mm": "about 6"})


@pytest.mark.parametrize(
    "measures",
    [
        {"levels": 3, "whole": {}, "volume": "v", "reference": "r"},
        {"levels": {"l4_l5": {"canal_diameter_mm": {"value": "x"}}}, "whole": {}, "volume": "v", "reference": "r"},
        {"levels": {}},
    ],
)
def test_measures_of_another_form_are_refused(tmp_path: Path, measures: dict) -> None:
    (tmp_path / "findings.json").write_text(json.dumps({**content(), "measures": measures}))
    with pytest.raises(InvalidTableError, match="expected the results of a study"):
        read_result(tmp_path)


def test_no_probability_is_shown_as_certain_that_is_not() -> None:
    shown = [percent(p).replace("\N{NO-BREAK SPACE}", "") for p in (0, 0.004, 0.5, 0.996, 1)]
    assert shown == ["0%", "<1%", "50%", ">99%", "100%"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "other"}', json.dumps({**content(), "findings": []}), '{"schema": 1}']
)
def test_results_that_break_the_format_are_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(InvalidTableError, match=str(tmp_path)):
        read_result(tmp_path)


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"no findings\.json"):
        read_result(tmp_path)
