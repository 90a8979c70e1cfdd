import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.scoring.submission import Labels, read_labels
from monai_spine.spine import FINDINGS
from monai_spine.tables.score_report import read_floor, report_score


@pytest.mark.parametrize(("name", "share"), [("best", 1.0), ("prior", 0.0)])
def test_the_share_of_the_way_is_0_at_the_prior_and_1_at_the_floor(
    phantom_cohort: Path, name: str, share: float
) -> None:
    found = report_score(
        phantom_cohort / "train.csv", phantom_cohort / f"{name}.csv", floor=phantom_cohort / "floor.json"
    )
    assert json.loads(found.to_json())["share_of_way"] == pytest.approx(share, abs=1e-5)
    assert f"{share:.0%}" in found.to_text()


def test_a_cohorts_file_and_its_truth_give_the_same_floor(phantom_cohort: Path) -> None:
    solution = read_labels(phantom_cohort / "train.csv")
    from_file, from_truth = (read_floor(phantom_cohort / name, solution) for name in ("floor.json", "truth.csv"))
    assert from_truth.as_dict() == pytest.approx(from_file.as_dict(), rel=1e-6)


def test_the_truth_gives_the_floor_of_a_part_and_the_cohorts_file_refuses(phantom_cohort: Path) -> None:
    whole = read_labels(phantom_cohort / "train.csv")
    part = Labels(whole.study_ids[:50], whole.grades[:50])
    assert read_floor(phantom_cohort / "truth.csv", part).score != read_floor(phantom_cohort / "truth.csv", whole).score
    with pytest.raises(InvalidTableError, match=r"120 studies, but the solution holds 50.*truth\.csv"):
        read_floor(phantom_cohort / "floor.json", part)


def test_studies_that_the_truth_lacks_are_named(phantom_cohort: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"lacks findings of studies.*4711"):
        read_floor(phantom_cohort / "truth.csv", Labels(("4711",), np.zeros((1, 25), dtype=np.int64)))


@pytest.mark.parametrize("content", ["", "[]", '{"floor": {}}', '{"floor": {"score": "x"}, "studies": 120}'])
def test_another_json_is_refused(tmp_path: Path, phantom_cohort: Path, content: str) -> None:
    (tmp_path / "floor.json").write_text(content)
    with pytest.raises(InvalidTableError, match="floor"):
        read_floor(tmp_path / "floor.json", read_labels(phantom_cohort / "train.csv"))


def test_a_missing_file_is_refused(tmp_path: Path, phantom_cohort: Path) -> None:
    with pytest.raises(MissingInputError, match="no file"):
        read_floor(tmp_path / "floor.json", read_labels(phantom_cohort / "train.csv"))


def test_a_probability_of_0_is_one_and_a_negative_or_missing_one_is_refused(tmp_path: Path) -> None:
    solution = Labels(("s",), np.zeros((1, 25), dtype=np.int64))
    lines = ["study_id,condition,level,normal_mild,moderate,severe"]
    lines += [f"s,{finding.condition.value},{finding.level.value},1,0,0" for finding in FINDINGS]
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    assert read_floor(tmp_path / "truth.csv", solution).score == pytest.approx(0, abs=1e-12)
    for wrong in ("1,0,-1", "0,0,0", "1,0,x", "inf,0,0"):
        (tmp_path / "truth.csv").write_text("\n".join([*lines[:-1], lines[-1].replace("1,0,0", wrong)]))
        with pytest.raises(InvalidTableError, match="a probability for each grade of study s"):
            read_floor(tmp_path / "truth.csv", solution)
