"""What the tables say of a study: labels, points, series, the truth behind them, its quirks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.phantom import floor
from data_prep.phantom.disease import MEASURES
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.study import Study
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade

Row = dict[str, object]


@dataclass(frozen=True)
class Record:
    """What the tables say of one study."""

    train: Row
    points: list[Row]
    series: list[Row]
    truth: list[Row]
    labels: list[int]
    posterior: list[list[float]]
    quirks: list[Row]


def of(study: Study) -> Record:
    """The rows of all tables for one study."""
    labels = [int(label) for label in study.findings.labels]
    names = ["" if label == MISSING else Grade(label).title for label in labels]
    return Record(
        train={"study_id": study.id, **dict(zip(TARGETS, names, strict=True))},
        points=_point_rows(study),
        series=[_series_row(study.id, s.id, s.kind.title) for s in study.series],
        truth=_truth_rows(study, names),
        labels=labels,
        posterior=study.findings.posterior.tolist(),
        quirks=[
            {"study_id": study.id, "quirk": quirk.value, "detail": study.details.get(quirk, "")}
            for quirk in Quirk
            if quirk in study.quirks
        ],
    )


def _series_row(study: str, series: str, description: str) -> Row:
    return {"study_id": study, "series_id": series, "series_description": description}


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


def write_tables(out: Path, records: Sequence[Record]) -> dict[str, object]:
    """All CSVs and ``floor.json``."""
    pd.DataFrame([r.train for r in records]).to_csv(out / "train.csv", index=False)
    _table(out / "train_label_coordinates.csv", [row for r in records for row in r.points])
    _table(out / "train_series_descriptions.csv", [row for r in records for row in r.series])
    _table(out / "truth.csv", [row for r in records for row in r.truth])
    pd.DataFrame([row for r in records for row in r.quirks], columns=["study_id", "quirk", "detail"]).to_csv(
        out / "quirks.csv", index=False
    )
    series_columns = list(_series_row("", "", ""))
    pd.DataFrame(columns=series_columns).to_csv(out / "test_series_descriptions.csv", index=False)
    _sample_submission(out / "sample_submission.csv", [str(r.train["study_id"]) for r in records])
    summary = floor.report(np.array([r.labels for r in records]), np.array([r.posterior for r in records]))
    (out / "floor.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _table(path: Path, rows: list[Row]) -> None:
    pd.DataFrame(rows).to_csv(path, index=False)


def _sample_submission(path: Path, studies: Sequence[str]) -> None:
    """Uniform rows for the first study, in the competition's alphabetical order."""
    names = sorted(finding.row_id(studies[0]) for finding in FINDINGS)
    pd.DataFrame({"row_id": names, **{grade.column: 1 / 3 for grade in Grade}}).to_csv(path, index=False)
