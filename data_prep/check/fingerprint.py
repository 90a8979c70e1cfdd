"""The fingerprint of a data set: statistics of its volumes, labels and folds. It names no study and no patient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.check.codes import Code
from data_prep.check.entries import SECTIONS, Study
from data_prep.check.point_faults import level_distances
from data_prep.check.volume_facts import FEATURES, VolumeFacts
from data_prep.faults import Fault
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import read_json
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group, Level, SeriesType, columns_of

SCHEMA = "monai_spine/fingerprint/1"
_CHECK_SCHEMA = "monai_spine/check/1"
_SURPRISE = 4.0
"""Standard errors by which a grade's share must differ to be a fault. Of the 50 shares that are compared, one differs
that much by chance in one data set of 320 (one share in 16,000)."""


@dataclass(frozen=True)
class Spread:
    """How a number is spread over many volumes."""

    count: int
    minimum: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    maximum: float


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    levels = np.percentile(np.asarray(values, dtype=np.float64), (0, 5, 25, 50, 75, 95, 100))
    return Spread(len(values), *(float(f"{level:.6g}") for level in levels))


@dataclass(frozen=True)
class Fingerprint:
    """A fingerprint that was read back: spreads by series type and feature, and counts of grades by finding."""

    spreads: dict[SeriesType, dict[str, Spread]]
    grades: dict[str, dict[str, int]]


def fingerprint_of(
    studies: Sequence[Study], facts: Sequence[VolumeFacts], faultless: Sequence[VolumeFacts]
) -> dict[str, Any]:
    """The fingerprint of studies, as it is written to JSON. Only volumes without errors make spreads."""
    pairs = [pair for study in studies for pair in level_distances(study)]
    distances = {level: [distance for lower, distance in pairs if lower is level] for level in Level}
    return {
        "schema": SCHEMA,
        "studies": len(studies),
        "patients": len({study.patient_id for study in studies}),
        "sections": {section: sum(study.section == section for study in studies) for section in SECTIONS},
        "series": {series_type.value: _series(series_type, studies, facts, faultless) for series_type in SeriesType},
        "labels": {condition.value: _labels(condition, studies) for condition in Condition},
        "level_distances_mm": {level.value: asdict(spread_of(mm)) for level, mm in distances.items() if mm},
        "folds": _folds(studies),
    }


def read(path: Path) -> Fingerprint:
    """Read ``fingerprint.json``, or the ``check.json`` that holds one.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if it is not JSON, or no fingerprint.
    """
    if not path.is_file():
        raise MissingInputError(f"there is no fingerprint {path}; `python -m data_prep check` writes one")
    content = read_json(path)
    if isinstance(content, dict) and content.get("schema") == _CHECK_SCHEMA:
        content = content.get("fingerprint")
    schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if schema != SCHEMA:
        raise InvalidTableError(f"{path}: expected the schema {SCHEMA!r}, but found {schema!r}")
    try:
        return _parsed(content)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise InvalidTableError(f"{path}: the fingerprint breaks its format: {type(err).__name__} {err}") from err


def _parsed(content: Mapping[str, Any]) -> Fingerprint:
    names = [field.name for field in fields(Spread)]
    spreads = {
        series_type: {
            name: Spread(**{key: _number(spread[key]) for key in names})
            for name, spread in content["series"][series_type.value]["features"].items()
        }
        for series_type in SeriesType
    }
    grades = {
        finding.name: {
            grade.column: int(content["labels"][finding.condition.value][finding.level.value][grade.column])
            for grade in Grade
        }
        for finding in FINDINGS
    }
    return Fingerprint(spreads, grades)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, but found {value!r}")
    return value


def faults_of_shares(studies: Sequence[Study], stored: Fingerprint) -> list[Fault]:
    """Grades whose share differs from the stored one by more than chance (two proportions, normal approximation)."""
    faults = []
    for finding in FINDINGS:
        here, there = _grades(studies, FINDINGS.index(finding)), stored.grades[finding.name]
        for grade in (Grade.MODERATE, Grade.SEVERE):
            a, b, n, m = here[grade.column], there[grade.column], _graded(here), _graded(there)
            if n and m and abs(_surprise(a, n, b, m)) > _SURPRISE:
                detail = f"{grade.title} in {100 * a / n:.1f} % of {n}, in the fingerprint {100 * b / m:.1f} % of {m}"
                faults.append(Fault(Code.LABEL_SHARES_DIFFER, detail, targets=(finding.name,)))
    return faults


def _surprise(a: int, n: int, b: int, m: int) -> float:
    """Difference of the shares a/n and b/m in standard errors."""
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (a / n - b / m) / error if error else 0.0


def _graded(counts: Mapping[str, int]) -> int:
    return sum(counts[grade.column] for grade in Grade)


def _series(
    series_type: SeriesType, studies: Sequence[Study], facts: Sequence[VolumeFacts], faultless: Sequence[VolumeFacts]
) -> dict[str, Any]:
    readable, of_type = ([one for one in some if one.series_type is series_type] for some in (facts, faultless))
    listed = [len(study.series[series_type]) for study in studies]
    return {
        "studies": sum(count > 0 for count in listed),
        "missing": sum(count == 0 for count in listed),
        "volumes": sum(listed),
        "readable": len(readable),
        "sound": len(of_type),
        "volumes_per_study": {str(count): n for count, n in sorted(Counter(listed).items())},
        "planes": dict(sorted(Counter(one.plane.value for one in readable).items())),
        "features": {name: asdict(spread_of([one.features[name] for one in of_type])) for name in FEATURES}
        if of_type
        else {},
    }


def _labels(condition: Condition, studies: Sequence[Study]) -> dict[str, dict[str, Any]]:
    """Counts of grades, of missing labels and of points, and shares of the grades, by level."""
    result = {}
    for n in columns_of(condition):
        counts = _grades(studies, n)
        total = _graded(counts)
        shares = {grade.column: round(counts[grade.column] / total, 4) for grade in Grade} if total else None
        points = sum(FINDINGS[n] in study.points for study in studies)
        result[FINDINGS[n].level.value] = {**counts, "points": points, "shares": shares}
    return result


def _grades(studies: Iterable[Study], n: int) -> dict[str, int]:
    """How many studies with labels have each grade of the ``n``-th finding, and how many none."""
    counts = Counter(int(study.label[n]) for study in studies if study.label is not None)
    return {**{grade.column: counts[grade] for grade in Grade}, "missing": counts[MISSING]}


def _folds(studies: Sequence[Study]) -> dict[str, dict[str, int]]:
    spinal = columns_of(Group.SPINAL)
    training = [study for study in studies if study.section == "training"]
    result = {}
    for fold in sorted({study.fold for study in training if study.fold is not None}):
        members = [study for study in training if study.fold == fold]
        severe = [s for s in members if s.label is not None and bool((s.label[spinal] == Grade.SEVERE).any())]
        patients = len({study.patient_id for study in members})
        result[str(fold)] = {"studies": len(members), "patients": patients, "any_severe_spinal": len(severe)}
    return result
