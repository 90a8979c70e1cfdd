"""The vocabulary: levels, sides, conditions, grades, series types and the 25 findings made of them.

Nothing else in the project spells a level, a side, a condition or a grade. Names and orders are those of the
RSNA 2024 Lumbar Spine Degenerative Classification files: findings in the column order of ``train.csv``, that is
condition by condition, levels running from cranial to caudal within each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Level(Enum):
    """A lumbar disc level, named by the two vertebrae it lies between; declared from cranial to caudal."""

    L1_L2 = "l1_l2"
    L2_L3 = "l2_l3"
    L3_L4 = "l3_l4"
    L4_L5 = "l4_l5"
    L5_S1 = "l5_s1"

    @property
    def title(self) -> str:
        """As radiologists and ``train_label_coordinates.csv`` write it, for example ``L4/L5``."""
        return self.value.replace("_", "/").upper()


class Side(Enum):
    """The patient's side."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


class Group(Enum):
    """Groups of conditions that the competition scores together, left and right pooled."""

    SPINAL = "spinal"
    FORAMINAL = "foraminal"
    SUBARTICULAR = "subarticular"


class Condition(Enum):
    """A degenerative condition, with its side if it has one; declared in the order of ``train.csv``."""

    SPINAL_CANAL_STENOSIS = "spinal_canal_stenosis"
    LEFT_NEURAL_FORAMINAL_NARROWING = "left_neural_foraminal_narrowing"
    RIGHT_NEURAL_FORAMINAL_NARROWING = "right_neural_foraminal_narrowing"
    LEFT_SUBARTICULAR_STENOSIS = "left_subarticular_stenosis"
    RIGHT_SUBARTICULAR_STENOSIS = "right_subarticular_stenosis"

    @property
    def title(self) -> str:
        """As ``train_label_coordinates.csv`` writes it, for example ``Left Subarticular Stenosis``."""
        return self.value.replace("_", " ").title()

    @property
    def side(self) -> Side | None:
        """The patient's side, or None for the canal."""
        # "spinal_canal_stenosis" begins with no side, so its first word is none of the values.
        word = self.value.split("_", 1)[0]
        return Side(word) if word in {side.value for side in Side} else None

    @property
    def group(self) -> Group:
        """The group of the competition's score."""
        return next(group for group in Group if group.value in self.value)

    @property
    def flipped(self) -> Condition:
        """The same condition on the other side; the canal, which has no side, stays."""
        if self.side is None:
            return self
        return Condition(self.value.replace(self.side.value, self.side.opposite.value, 1))

    @property
    def series_type(self) -> SeriesType:
        """The series type on which the competition's annotators placed this condition's point."""
        return _SERIES_OF_GROUP[self.group]


class Grade(IntEnum):
    """Severity of a finding. The value is the class index everywhere; a missing label is ``MISSING``."""

    NORMAL_MILD = 0
    MODERATE = 1
    SEVERE = 2

    @property
    def title(self) -> str:
        """As ``train.csv`` writes it: ``Normal/Mild``, ``Moderate`` or ``Severe``."""
        return "Normal/Mild" if self is Grade.NORMAL_MILD else self.name.title()

    @property
    def column(self) -> str:
        """The column of a submission: ``normal_mild``, ``moderate`` or ``severe``."""
        return self.name.lower()

    @property
    def weight(self) -> int:
        """The competition's sample weight: 1, 2 or 4."""
        return 2**self.value


MISSING = -1
"""Label of a finding that nobody graded."""


class SeriesType(Enum):
    """Plane and weighting of a series; the value is its key in ``datalist.json``."""

    SAGITTAL_T1 = "sagittal_t1"
    SAGITTAL_T2 = "sagittal_t2"
    AXIAL_T2 = "axial_t2"

    @property
    def title(self) -> str:
        """As ``*_series_descriptions.csv`` writes it, for example ``Sagittal T2/STIR``."""
        return _SERIES_TITLES[self]


_SERIES_TITLES = {
    SeriesType.SAGITTAL_T1: "Sagittal T1",
    SeriesType.SAGITTAL_T2: "Sagittal T2/STIR",
    SeriesType.AXIAL_T2: "Axial T2",
}

# The series in which annotators of the competition marked each group of conditions.
_SERIES_OF_GROUP = {
    Group.SPINAL: SeriesType.SAGITTAL_T2,
    Group.FORAMINAL: SeriesType.SAGITTAL_T1,
    Group.SUBARTICULAR: SeriesType.AXIAL_T2,
}


@dataclass(frozen=True)
class Finding:
    """One of the 25 things to grade: a condition at a level."""

    condition: Condition
    level: Level

    @property
    def name(self) -> str:
        """The column of ``train.csv``, for example ``spinal_canal_stenosis_l1_l2``."""
        return f"{self.condition.value}_{self.level.value}"

    @property
    def flipped(self) -> Finding:
        """The finding that this one becomes when left and right are exchanged."""
        return Finding(self.condition.flipped, self.level)

    def row_id(self, study_id: str) -> str:
        """The row of a submission: ``{study_id}_{condition}_{level}``."""
        return f"{study_id}_{self.name}"


FINDINGS: tuple[Finding, ...] = tuple(Finding(condition, level) for condition in Condition for level in Level)
"""The 25 findings in the column order of ``train.csv``."""

TARGETS: tuple[str, ...] = tuple(finding.name for finding in FINDINGS)
"""Their names, in the same order."""

FLIPPED: tuple[int, ...] = tuple(FINDINGS.index(finding.flipped) for finding in FINDINGS)
"""Index of each finding's opposite: ``label[list(FLIPPED)]`` is the label of the study flipped left to right."""


def columns_of(part: Group | Condition | Level | Side) -> list[int]:
    """The indices of a group's, condition's, level's or side's findings among the 25."""
    return [
        n
        for n, finding in enumerate(FINDINGS)
        if part in (finding.condition.group, finding.condition, finding.level, finding.condition.side)
    ]


_BY_TARGET = dict(zip(TARGETS, FINDINGS, strict=True))


def parse_row_id(row_id: str) -> tuple[str, Finding]:
    """Split a submission's ``row_id`` into the study's id and the finding.

    Raises
    ------
    ValueError
        If it does not end in one of the 25 findings.
    """
    for target, finding in _BY_TARGET.items():
        # A study's id may hold underscores itself, so the row is matched from its end.
        if row_id.endswith(f"_{target}") and len(row_id) > len(target) + 1:
            return row_id[: -len(target) - 1], finding
    raise ValueError(f"row_id {row_id!r} does not end in one of the 25 findings, such as {TARGETS[0]!r}")
