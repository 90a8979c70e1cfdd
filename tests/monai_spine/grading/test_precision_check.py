"""The comparison of precisions, with models whose answers are known."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError
from monai_spine.grading import precision_check
from monai_spine.grading.grader import Grades
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.points import LevelPoint, Structure
from monai_spine.levels.study_search import SearchResult
from monai_spine.runtime.choice import Runtime, RuntimeChoice
from monai_spine.runtime.converted_model import ConvertedModel
from monai_spine.runtime.precision_gate import passed
from monai_spine.spine import Level
from tests.monai_spine.prediction.parts import record_of, write_bundle

POINT = LevelPoint(Structure.CANAL, Level.L4_L5, None, np.array([1.0, 2.0, 3.0]), 0.9)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([POINT], True),
        ([replace(POINT, world=POINT.world + np.array([0.0, 0.09, 0.0]))], True),
        ([replace(POINT, world=POINT.world + np.array([0.0, 0.0, 0.11]))], False),
        ([replace(POINT, flags=("uncertain_level",))], False),
        ([replace(POINT, level=Level.L3_L4)], False),
        ([], False),
    ],
)
def test_points_that_move_or_change_do_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: list[LevelPoint], expected: bool
) -> None:
    found = iter([[POINT], other])

    def search(*_: object) -> SearchResult:
        return SearchResult(LocatedStudy("s", tuple(next(found)), (), {}, {}), {}, {})

    monkeypatch.setattr(precision_check, "search", search)
    (tmp_path / "model.pt").write_bytes(b"weights")
    model = ConvertedModel(tmp_path / "model.pt", [], RuntimeChoice(Runtime.OPENVINO), {})
    comparison = precision_check._PointComparison(tmp_path, model, (None, None), (None, None))  # type: ignore[arg-type]
    record = record_of(tmp_path / "s") | {precision_check.STUDY_IMAGES: precision_check.StudyImages()}
    comparison.add(record, LocatedStudy("s", (), (), {}, {}))
    kept = comparison.kept()
    assert passed(kept.rows) is expected
    assert len(kept.files) == 1


@dataclass
class Fixed:
    """A grader with the same probabilities for each study."""

    rows: np.ndarray
    graded: np.ndarray

    def __call__(self, record: dict) -> Grades:
        return Grades(self.rows, self.rows)


@pytest.mark.parametrize(("change", "expected"), [(0.0, True), (1e-4, True), (0.02, False)])
def test_grades_that_change_the_score_do_not_pass(tmp_path: Path, change: float, expected: bool) -> None:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet([3, 1, 1], size=25)
    moved = rows + change * np.array([1.0, 0.0, 0.0])
    graded = np.ones(25, dtype=bool)
    bundle = write_bundle(tmp_path / "one")
    pair = Fixed(rows, graded), Fixed(moved / moved.sum(axis=1, keepdims=True), graded)
    comparison = precision_check._GradeComparison(bundle, *pair)  # type: ignore[arg-type]
    for _ in range(3):
        record = record_of(tmp_path / "s") | {"label": rng.integers(0, 3, size=25)}
        comparison.add(record, LocatedStudy("s", (), (), {}, {}))
    assert passed(comparison.kept().rows) is expected


def test_a_bundle_that_is_neither_localizer_nor_grader_is_refused(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/metadata.json").write_text("{}")
    with pytest.raises(InvalidTableError, match="expected a localizer or a grader"):
        precision_check._comparison(tmp_path, None, None)  # type: ignore[arg-type]
