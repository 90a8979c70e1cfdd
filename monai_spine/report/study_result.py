"""The result of a study as its folder holds it: ``findings.json`` and ``outcome.json``, read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.errors import InvalidTableError
from monai_spine.grading.evidence import NOT_COVERED
from monai_spine.grading.findings import SCHEMA
from monai_spine.prediction.outcomes import NAME
from monai_spine.report.study_measures import StudyMeasures, read_measures
from monai_spine.report.wording import GRADES, flags_in_words
from monai_spine.spine import FINDINGS, Condition, Finding, Grade, Level, SeriesType

Point = tuple[float, float, float]


@dataclass(frozen=True)
class ReaderGrade:
    """A grade that a person gave in ``monai-spine review``: by initials, and when (UTC)."""

    grade: Grade
    by: str
    at: str

    @classmethod
    def of(cls, one: Mapping[str, Any]) -> ReaderGrade:
        """From an entry ``reader``. Raises `KeyError` or `StopIteration` if it breaks the format."""
        grade = next(grade for grade in Grade if grade.column == one["grade"])
        return cls(grade, str(one["by"]), str(one["at"]))

    @property
    def day(self) -> str:
        """The date of ``at``."""
        return self.at[:10]


@dataclass(frozen=True)
class FindingResult:
    """A finding of ``findings.json``; ``natural`` are its probabilities at natural prevalence, ``point`` RAS mm."""

    finding: Finding
    grade: Grade
    natural: tuple[float, float, float]
    point: Point | None
    point_confidence: float | None
    series: str | None
    series_type: SeriesType | None
    slice_index: int | None
    slice_axis: int | None
    distance: float | None
    coverage: str
    flags: tuple[str, ...]
    reader: ReaderGrade | None = None
    diameter: float | None = None
    """Of the canal, mm, if it has a share in the grade."""
    grade_of_images: Grade | None = None
    """The grade without that share."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the grade should know, in sentences."""
        notes = flags_in_words(self.flags)
        if self.diameter is not None and self.grade_of_images is not None and self.grade_of_images is not self.grade:
            notes.append(
                f"The canal's diameter of about {self.diameter:.0f} mm decides here: by the images alone, it would be "
                f"{GRADES[self.grade_of_images]}."
            )
        return notes

    @property
    def covered(self) -> bool:
        """Whether a slice shows it; the grade of another one rests on images that do not show it."""
        return NOT_COVERED not in self.flags

    @property
    def read_grade(self) -> Grade:
        """The reader's grade, or the program's if no reader graded it."""
        return self.reader.grade if self.reader else self.grade

    @property
    def severity(self) -> tuple[float, ...]:
        """For sorting: the grade, then the probability of severe, then that of moderate or severe."""
        return self.grade, self.natural[2], self.natural[1] + self.natural[2]

    @property
    def read_severity(self) -> tuple[float, ...]:
        """The same by the reader's grade, if there is one."""
        return self.read_grade, *self.severity

    @classmethod
    def of(cls, finding: Finding, one: Mapping[str, Any]) -> FindingResult:
        """From an entry of ``findings.json``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it breaks the format.
        """
        if one["finding"] != finding.name:
            raise ValueError(f"expected {finding.name}, but found {one['finding']!r}")
        rows = tuple(float(one["natural"][grade.column]) for grade in Grade)
        images, diameter = one.get("natural_of_images"), one.get("diameter_mm")
        point = None if one["point"] is None else tuple(float(mm) for mm in one["point"])
        return cls(
            finding=finding,
            grade=next(grade for grade in Grade if grade.column == one["grade"]),
            natural=(rows[0], rows[1], rows[2]),
            point=None if point is None else (point[0], point[1], point[2]),
            point_confidence=one["point_confidence"],
            series=one["series"],
            series_type=None if one["series_type"] is None else SeriesType(one["series_type"]),
            slice_index=one["slice"],
            slice_axis=one["slice_axis"],
            distance=one["distance_mm"],
            coverage=str(one["coverage"]),
            flags=tuple(map(str, one["flags"])),
            reader=ReaderGrade.of(one["reader"]) if one.get("reader") else None,
            diameter=None if diameter is None else float(diameter),
            grade_of_images=None if images is None else max(Grade, key=lambda grade: float(images[grade.column])),
        )


@dataclass(frozen=True)
class StudyResult:
    """A study, graded or refused.

    Attributes
    ----------
    name
        Of its folder in the output.
    findings
        The 25 findings in the order of `FINDINGS`; empty if it was refused.
    refused
        Why it was not graded; empty if it was.
    models, volumes
        As ``findings.json`` holds them.
    bad
        Volumes that could not be used, and why.
    measures
        None if it was not measured.
    reviewed
        By initials, who marked the study as done, and the day; empty if nobody did.
    """

    study_id: str
    name: str
    provenance: str = RESEARCH
    findings: tuple[FindingResult, ...] = ()
    refused: str = ""
    models: Sequence[Mapping[str, Any]] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    measures: StudyMeasures | None = None
    reviewed: str = ""

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """All flags of its findings, sorted."""
        return tuple(sorted({flag for one in self.findings for flag in one.flags}))

    @property
    def points(self) -> dict[str, Point | None]:
        """The points of its findings by their names, RAS mm."""
        return {one.finding.name: one.point for one in self.findings}

    @property
    def not_covered(self) -> int:
        """How many findings no slice shows."""
        return sum(not one.covered for one in self.findings)

    @property
    def regraded(self) -> tuple[FindingResult, ...]:
        """The findings that a reader graded."""
        return tuple(one for one in self.findings if one.reader is not None)

    @property
    def readers(self) -> tuple[str, ...]:
        """The initials of those who graded, sorted."""
        return tuple(sorted({one.reader.by for one in self.findings if one.reader is not None}))

    def at(self, level: Level) -> tuple[FindingResult, ...]:
        """The findings of a level, in the order of `Condition`."""
        return tuple(one for one in self.findings if one.finding.level is level)

    def of(self, condition: Condition) -> tuple[FindingResult, ...]:
        """The findings of a condition, in the order of `Level`."""
        return tuple(one for one in self.findings if one.finding.condition is condition)

    def levels(self) -> list[Level]:
        """The levels, the worst first; levels of which no slice shows a finding come last."""
        return sorted(Level, key=lambda level: _severity(self.at(level)), reverse=True)


def worst(findings: Iterable[FindingResult], *, read: bool = False) -> FindingResult | None:
    """The worst of the findings that a slice shows; None if none does.

    ``read``: by the reader's grade of each finding that has one. It is no guess, so it counts without a slice, too.
    """
    if read:
        seen = (one for one in findings if one.covered or one.reader is not None)
        return max(seen, key=lambda one: one.read_severity, default=None)
    return max((one for one in findings if one.covered), key=lambda one: one.severity, default=None)


def _severity(findings: Sequence[FindingResult]) -> tuple[float, ...]:
    shown = worst(findings)
    return (-1.0,) if shown is None else shown.severity


def read_result(folder: Path) -> StudyResult:
    """The result in a study's folder.

    Raises
    ------
    InvalidTableError
        If neither file is there, or one breaks its format.
    """
    content, outcome = (_json(folder / name) for name in ("findings.json", NAME))
    try:
        bad = {str(name): str(why) for name, why in (outcome or {}).get("bad", {}).items()}
        if outcome is not None and outcome["refused"]:
            return StudyResult(str(outcome["study_id"]), folder.name, refused=str(outcome["refused"]), bad=bad)
        if content is None:
            raise ValueError("there is no findings.json")
        return result_of(content, folder.name, bad)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as err:
        raise InvalidTableError(f"{folder}: expected the results of a study in the schema {SCHEMA!r} ({err})") from err


def result_of(content: Mapping[str, Any], name: str, bad: Mapping[str, str] | None = None) -> StudyResult:
    """The result from the content of ``findings.json``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it breaks the format.
    """
    if content["schema"] != SCHEMA:
        raise ValueError(f"its schema is {content['schema']!r}")
    return StudyResult(
        study_id=str(content["study_id"]),
        name=name,
        provenance=str(content["provenance"]),
        findings=tuple(FindingResult.of(*pair) for pair in zip(FINDINGS, content["findings"], strict=True)),
        models=content.get("models", ()),
        volumes=content.get("volumes", {}),
        bad=bad or {},
        measures=read_measures(content.get("measures", {})),
        reviewed=_reviewed(content.get("reviewed")),
    )


def _reviewed(entry: Mapping[str, Any] | None) -> str:
    return f"{entry['by']}, {str(entry['at'])[:10]}" if entry else ""


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise InvalidTableError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(content, dict):
        raise InvalidTableError(f"{path}: expected a JSON object, but found {type(content).__name__}")
    return content
