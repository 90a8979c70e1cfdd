"""``findings.json``: the 25 findings of one study, for people and programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.data.datalist import Record
from monai_spine.files import safe_name, write_text
from monai_spine.grading.evidence import NOT_COVERED, Evidence, SeenImages, study_evidence
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.prevalence import natural_prevalence, normalised
from monai_spine.spine import FINDINGS, Condition, Finding, Grade, Group, Level

SCHEMA = "monai_spine/findings/1"
UNLIKE_TRAINING = "unlike_training"
"""The flag of a finding whose images are further from the training's than the limit."""
UNLIKE_MEASURES = "unlike_measures"
"""The flag of a grade of the canal that is two grades from what its diameter alone would give."""


def study_findings(
    record: Record,
    weighted: Floats,
    natural: Floats | None = None,
    *,
    images: Floats | None = None,
    canal_mm: Mapping[Level, float] | None = None,
    distances: Floats | None = None,
    measures: Mapping[str, Any] | None = None,
    seen: Sequence[SeenImages] = (),
    provenance: str = RESEARCH,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a study's ``findings.json``.

    Parameters
    ----------
    record
        The study, as for `monai_spine.grading.evidence.study_evidence`.
    weighted
        ``(25, 3)`` competition-weighted probabilities.
    natural
        ``(25, 3)`` probabilities at natural prevalence, for instance calibrated ones; None divides ``weighted`` by
        the competition's weights.
    images
        ``(25, 3)``: ``natural`` without the share of the canal's diameter; None if that has none.
    canal_mm
        The canal's diameters that have a share in its grades.
    distances
        ``(25,)``: see `monai_spine.grading.grader.Grades`; None if they are not known.
    measures
        The entry ``measures``; see `monai_spine.measures.study.Measurer`. None without one.
    seen
        The images that each model saw, for the evidence; none for whole volumes.
    provenance
        The sentences about the models; see `monai_spine.bundle.provenance`.
    about
        Further entries, before the findings: the models, the volumes.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        If the header of a volume cannot be read.
    """
    natural = natural_prevalence(weighted) if natural is None else normalised(natural)
    away = np.full(len(FINDINGS), np.nan) if distances is None else distances
    entry = {} if measures is None else {"measures": measures}
    rows = zip(FINDINGS, study_evidence(record, seen), natural, normalised(weighted), away, strict=True)
    content = [_against(_finding(*row), measures or {}) for row in rows]
    if images is not None and canal_mm:
        content = [_with_diameter(*row, canal_mm) for row in zip(content, FINDINGS, images, strict=True)]
    return {
        "schema": SCHEMA,
        "provenance": provenance,
        "study_id": record["study_id"],
        "coordinates": "RAS mm",
        **(about or {}),
        "findings": content,
        **entry,
    }


def write_findings(folder: Path, findings: Mapping[str, Any]) -> Path:
    """Write `study_findings` as ``<folder>/<study_id>/findings.json``, and return the path."""
    path = folder / safe_name(findings["study_id"]) / "findings.json"
    write_text(path, json.dumps(findings, indent=2) + "\n")
    return path


def _against(finding: dict[str, Any], measures: Mapping[str, Any]) -> dict[str, Any]:
    """A finding, flagged if it is a grade of the canal two grades from the one that the measures alone give."""
    measured = measures.get("levels", {}).get(finding["level"], {}).get("canal_grade")
    if measured and finding["condition"] == Condition.SPINAL_CANAL_STENOSIS.value:
        grades = [grade.column for grade in Grade]
        if abs(grades.index(measured) - grades.index(finding["grade"])) > 1:
            finding["flags"].append(UNLIKE_MEASURES)
    return finding


def _with_diameter(
    content: dict[str, Any], finding: Finding, images: Floats, canal_mm: Mapping[Level, float]
) -> dict[str, Any]:
    """A finding; a grade of the canal in which its diameter has a share, with that and with what the images say."""
    if finding.condition.group is Group.SPINAL and finding.level in canal_mm:
        content |= {"diameter_mm": round(canal_mm[finding.level], 1), "natural_of_images": _by_grade(images)}
    return content


def _finding(
    finding: Finding, evidence: Evidence, natural: Floats, weighted: Floats, distance: float
) -> dict[str, Any]:
    side = finding.condition.side
    # What no slice shows is empty, which is rare in a training, too.
    unlike = [UNLIKE_TRAINING] if distance > 1 and NOT_COVERED not in evidence.flags else []
    return {
        "finding": finding.name,
        "condition": finding.condition.value,
        "level": finding.level.value,
        "side": side.value if side else None,
        # The most probable grade at natural prevalence: with the weights, severe would be reported too often.
        "grade": Grade(int(natural.argmax())).column,
        "natural": _by_grade(natural),
        "weighted": _by_grade(weighted),
        "point": [round(mm, 3) for mm in evidence.point] if evidence.point else None,
        "point_confidence": None if evidence.confidence is None else round(evidence.confidence, 4),
        "series": evidence.volume,
        "series_type": evidence.series.value if evidence.series else None,
        "slice": evidence.slice_index,
        "slice_axis": evidence.slice_axis,
        "distance_mm": None if evidence.distance is None else round(evidence.distance, 2),
        "coverage": evidence.coverage,
        "training_distance": None if np.isnan(distance) else round(float(distance), 2),
        "flags": [*evidence.flags, *unlike],
        "diameter_mm": None,
        "natural_of_images": None,
    }


def _by_grade(probabilities: Floats) -> dict[str, float]:
    return {grade.column: round(float(p), 6) for grade, p in zip(Grade, probabilities, strict=True)}
