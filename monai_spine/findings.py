"""``findings.json``: what was found in one study, finding by finding, for people and programs to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.datalist import Record
from monai_spine.scoring import WEIGHTS, Floats, normalised
from monai_spine.spine import FINDINGS, Finding, Grade, SeriesType
from monai_spine.text_file import write_text

SCHEMA = "monai_spine/findings/1"

NOTICE = "Research software, not a medical device: not for diagnosis."


def natural_prevalence(weighted: Floats) -> Floats:
    """Probabilities as frequent as the grades are, from ones trained or meant for weights 1, 2 and 4.

    A weighted log loss is least at ``p_g`` proportional to ``natural_g * weight_g``; dividing by the weights undoes it.
    """
    return normalised(np.asarray(weighted) / WEIGHTS)


def study_findings(record: Record, weighted: Floats) -> dict[str, Any]:
    """The content of a study's ``findings.json``.

    Parameters
    ----------
    record
        The study, as `monai_spine.datalist` describes it.
    weighted
        ``(25, 3)`` competition-weighted probabilities.
    """
    natural = natural_prevalence(weighted)
    rows = zip(FINDINGS, natural, normalised(weighted), strict=True)
    return {
        "schema": SCHEMA,
        "notice": NOTICE,
        "study_id": record["study_id"],
        "findings": [_finding(finding, record, *probabilities) for finding, *probabilities in rows],
    }


def write_findings(folder: Path, record: Record, weighted: Floats) -> Path:
    """Write ``<folder>/<study_id>/findings.json``, renamed into place when whole, and return its path."""
    path = folder / safe_name(record["study_id"]) / "findings.json"
    write_text(path, json.dumps(study_findings(record, weighted), indent=2) + "\n")
    return path


def safe_name(study_id: str) -> str:
    """A study's id as the name of a folder that cannot lead out of its parent."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in study_id)
    return kept if kept.strip(".") else "_" * max(1, len(kept))


def _finding(finding: Finding, record: Record, natural: Floats, weighted: Floats) -> dict[str, Any]:
    absent = [kind.value for kind in SeriesType if not record[kind.value]]
    own = finding.condition.series_type
    files = [Path(file).name for file in record[own.value]]
    side = finding.condition.side
    return {
        "finding": finding.name,
        "condition": finding.condition.value,
        "level": finding.level.value,
        "side": side.value if side else None,
        "grade": Grade(int(natural.argmax())).column,
        "natural": _by_grade(natural),
        "weighted": _by_grade(weighted),
        "point": list(record["points"][finding.name]) if finding.name in record["points"] else None,
        "series": files,
        "slice": None,
        "coverage": "series present" if files else f"no {own.value} series",
        "flags": [f"missing_{kind}" for kind in absent],
    }


def _by_grade(probabilities: Floats) -> dict[str, float]:
    return {grade.column: round(float(p), 6) for grade, p in zip(Grade, probabilities, strict=True)}
