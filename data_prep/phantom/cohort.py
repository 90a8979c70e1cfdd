"""A cohort in the competition's layout: DICOM files, label tables, and the truth behind them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.phantom import dicom, floor
from data_prep.phantom.acquisition import acquire
from data_prep.phantom.disease import MEASURES
from data_prep.phantom.size import Size
from data_prep.phantom.study import Stream, Study, draw, stream
from monai_spine import console
from monai_spine.errors import SpineError
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade

Row = dict[str, object]
IMAGES = "train_images"


@dataclass(frozen=True)
class Record:
    """What the tables say of one study."""

    train: Row
    points: list[Row]
    series: list[Row]
    truth: list[Row]
    labels: list[int]
    posterior: list[list[float]]


def generate(
    out: Path, studies: int, seed: int, *, size: Size = Size.SMALL, workers: int = 1, quiet: bool = False
) -> dict[str, object]:
    """Write a cohort to the new folder ``out`` and return what `floor.report` says of it.

    Everything goes to a temporary folder beside it first.

    Raises
    ------
    SpineError
        If ``out`` is a file or a folder with something in it, or ``studies`` is not positive.
    """
    if studies < 1:
        raise SpineError(f"expected at least 1 study, but given --studies {studies}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpineError(f"{out}: expected a new or empty folder; remove it or name another")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / IMAGES).mkdir(parents=True)
    (partial / "test_images").mkdir()
    records = _write_studies(partial / IMAGES, range(studies), seed, size, workers, quiet)
    summary = _write_tables(partial, records)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return summary


def _write_studies(
    images: Path, indices: Sequence[int], seed: int, size: Size, workers: int, quiet: bool
) -> list[Record]:
    from joblib import Parallel, delayed

    jobs = (delayed(write_study)(images, seed, index, size) for index in indices)
    done: Iterable[Record] = Parallel(n_jobs=workers, return_as="generator")(jobs)
    return list(console.track(done, "phantom studies", total=len(indices), quiet=quiet))


def write_study(images: Path, seed: int, index: int, size: Size) -> Record:
    """Acquire and write one study's series under ``images`` and return its rows."""
    study = draw(seed, index, size)
    rng = stream(seed, index, Stream.NOISE)
    for number, series in enumerate(study.series, start=1):
        pixels = acquire(study.anatomy, series.scan, rng)
        label = dicom.Label(study.id, series.id, number, seed, study.manufacturer)
        dicom.write(images / study.id / series.id, series.scan, pixels, list(series.instances), label)
    return record(study)


def record(study: Study) -> Record:
    """The rows of all tables for one study."""
    labels = [int(label) for label in study.findings.labels]
    names = ["" if label == MISSING else Grade(label).title for label in labels]
    return Record(
        train={"study_id": study.id, **dict(zip(TARGETS, names, strict=True))},
        points=_point_rows(study),
        series=[_series_row(study.id, s.id, s.scan.kind.title) for s in study.series],
        truth=_truth_rows(study, names),
        labels=labels,
        posterior=study.findings.posterior.tolist(),
    )


def _series_row(study: str, series: str, description: str) -> Row:
    return {"study_id": study, "series_id": series, "series_description": description}


def _point_rows(study: Study) -> list[Row]:
    return [
        {
            "study_id": study.id,
            "series_id": point.series,
            "instance_number": point.instance,
            "condition": point.finding.condition.title,
            "level": point.finding.level.title,
            "x": point.x,
            "y": point.y,
        }
        for point in study.points
    ]


def _truth_rows(study: Study, names: Sequence[str]) -> list[Row]:
    places = {point.finding: point.world for point in study.points}
    findings = study.findings
    grades = findings.disease.grades()
    rows = []
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


def _write_tables(out: Path, records: Sequence[Record]) -> dict[str, object]:
    """All CSVs and ``floor.json``."""
    pd.DataFrame([r.train for r in records]).to_csv(out / "train.csv", index=False)
    _table(out / "train_label_coordinates.csv", [row for r in records for row in r.points])
    _table(out / "train_series_descriptions.csv", [row for r in records for row in r.series])
    _table(out / "truth.csv", [row for r in records for row in r.truth])
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
