"""Located points in the place of marked ones."""

from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.levels.files import COLUMNS, write_points
from monai_spine.levels.located_points import points_of_findings, read_located_points
from monai_spine.levels.sagittal.points import LevelPoint, PointKind
from monai_spine.levels.study import LocatedStudy
from monai_spine.spine import FINDINGS, TARGETS, Group

KINDS = {Group.SPINAL: PointKind.CANAL, Group.FORAMINAL: PointKind.FORAMEN, Group.SUBARTICULAR: PointKind.RECESS}
POINTS = tuple(
    LevelPoint(KINDS[f.condition.group], f.level, f.condition.side, np.array([n, -n, 0.25 * n]), 0.9)
    for n, f in enumerate(FINDINGS)
)


def test_what_locate_writes_is_read_under_the_names_of_the_findings(tmp_path: Path) -> None:
    write_points(tmp_path, [LocatedStudy("7", POINTS, (), {}, {}), LocatedStudy("9", POINTS[:3], (), {}, {})])
    read = read_located_points(tmp_path / "points.csv")
    assert read["7"] == points_of_findings(POINTS) == {name: (n, -n, 0.25 * n) for n, name in enumerate(TARGETS)}
    assert list(read["9"]) == list(TARGETS[:3])


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("7,canal,l1_l2,,1,2,x,1,", "row 2: could not convert"),
        ("7,canal,l1_l2,,1,2,nan,1,", "row 2: expected finite"),
        ("7,disc,l1_l2,,1,2,3,1,", "expected point out of"),
        ("7,canal,l6_s1,,1,2,3,1,", "l6_s1"),
        ("7,canal,l1_l2,left,1,2,3,1,", "no side for a canal"),
        ("7,recess,l1_l2,,1,2,3,1,", "a side for a recess"),
        ("7,canal,l1_l2,,1,2", "row 2"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, row: str, fault: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{row}\n")
    with pytest.raises(InvalidTableError, match=fault):
        read_located_points(path)


def test_a_second_point_a_missing_column_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{','.join(COLUMNS)}\n" + "7,canal,l1_l2,,1,2,3,1,\n" * 2)
    with pytest.raises(InvalidTableError, match="row 3: a second point"):
        read_located_points(path)
    path.write_text("study,point\n7,canal\n")
    with pytest.raises(InvalidTableError, match="level, side, x, y, z lack"):
        read_located_points(path)
    with pytest.raises(MissingInputError, match="locate"):
        read_located_points(tmp_path / "none.csv")
