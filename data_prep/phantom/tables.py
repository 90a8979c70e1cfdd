"""The tables of a cohort: labels, points, series, the truth behind them, quirks; and `floor.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.phantom.anatomy.disease import MEASURES
from data_prep.phantom.labels import floor_report
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.study import Study
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade

SERIES_COLUMNS = ["study_id", "series_id", "series_description"]
QUIRK_COLUMNS = ["study_id", "quirk", "detail"]
Row = dict[str, object]


@dataclass(frozen=True)
class StudyRows:
    """One study's rows by table, its labels, and the probability of each label."""

    tables: dict[str, list[Row]]
    labels: list[int]
    posterior: list[list[float]]


def study_rows(study: Study) -> StudyRows:
    """The rows of one study in all tables."""
    labels = [int(label) for label in study.findings.labels]
    names = ["" if label == MISSING else Grade(label).title for label in labels]
    series = [(study.id, one.id, one.series_type.title) for one in study.series]
    quirks = [(study.id, quirk.value, study.details.get(quirk, "")) for quirk in Quirk if quirk in study.quirks]
    tables: dict[str, list[Row]] = {
        "train": [{"study_id": study.id, **dict(zip(TARGETS, names, strict=True))}],
        "train_label_coordinates": _point_rows(study),
        "train_series_descriptions": [dict(zip(SERIES_COLUMNS, row, strict=True)) for row in series],
        "truth": _truth_rows(study, names),
        "quirks": [dict(zip(QUIRK_COLUMNS, row, strict=True)) for row in quirks],
    }
    return StudyRows(tables, labels, study.findings.posterior.tolist())


def _point_rows(study: Study) -> list[Row]:
    return [
        {
            "study_id": study.id,
            "series_id": point.series,
            "instance_number": point.instance,
            "condition": point.named.condition.title,
            "level": point.named.level.title,
            "x": point.x,
            "y": point.y,
        }
        for point in study.points
    ]


def _truth_rows(study: Study, names: Sequence[str]) -> list[Row]:
    places = {point.finding: point.world for point in study.points}
    findings = study.findings
    grades = findings.disease.grades()
    rows: list[Row] = []
    for i, finding in enumerate(FINDINGS):
        measure = MEASURES[finding.condition.group]
        x, y, z = (round(float(value), 4) for value in places.get(finding, np.full(3, np.nan)))
        rows.append(
            {
                "study_id": study.id,
                "condition": finding.condition.value,
                "level": finding.level.value,
                "severity": round(float(findings.disease.severity[i]), 5),
                "measure": measure.name,
                "unit": measure.unit,
                "value": round(float(findings.disease.measure[i]), 4),
                "true_grade": Grade(int(grades[i])).title,
                "label": names[i],
                **{grade.column: round(float(findings.posterior[i, grade]), 6) for grade in Grade},
                **{"x": x, "y": y, "z": z},
            }
        )
    return rows


def write_tables(out: Path, rows: Sequence[StudyRows]) -> dict[str, object]:
    """Write all CSVs and ``floor.json``; return the content of the latter."""
    for name in rows[0].tables:
        columns = QUIRK_COLUMNS if name == "quirks" else None  # a table may be empty, its header not
        table = pd.DataFrame([row for study in rows for row in study.tables[name]], columns=columns)
        table.to_csv(out / f"{name}.csv", index=False)
    pd.DataFrame(columns=SERIES_COLUMNS).to_csv(out / "test_series_descriptions.csv", index=False)
    _sample_submission(str(rows[0].tables["train"][0]["study_id"])).to_csv(out / "sample_submission.csv", index=False)
    report = floor_report(np.array([study.labels for study in rows]), np.array([study.posterior for study in rows]))
    (out / "floor.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _sample_submission(study: str) -> pd.DataFrame:
    """Uniform rows for one study, in the competition's alphabetical order."""
    names = sorted(finding.row_id(study) for finding in FINDINGS)
    return pd.DataFrame({"row_id": names, **{grade.column: 1 / 3 for grade in Grade}})
