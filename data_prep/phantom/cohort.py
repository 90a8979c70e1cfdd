"""A cohort in the competition's layout: DICOM files, label tables, and the truth behind them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from threadpoolctl import threadpool_limits

from data_prep.phantom import dicom, enhanced, floor, maps
from data_prep.phantom.acquisition import acquire
from data_prep.phantom.compression import COMPRESSED
from data_prep.phantom.disease import MEASURES
from data_prep.phantom.plan import Series
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.phantom.size import Size
from data_prep.phantom.study import Stream, Study, draw, oddities, stream
from monai_spine import console
from monai_spine.errors import SpineError
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, SeriesType

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
    quirks: list[Row]


@dataclass(frozen=True)
class Job:
    """One study to make: which, how large, its quirks, and whether with label maps."""

    out: Path
    seed: int
    index: int
    size: Size = Size.SMALL
    quirks: frozenset[Quirk] = NONE
    label_maps: bool = False


def generate(
    out: Path,
    studies: int,
    seed: int,
    *,
    size: Size = Size.SMALL,
    quirks: bool = False,
    forced: Sequence[frozenset[Quirk]] = (),
    label_maps: bool = False,
    workers: int = 1,
    quiet: bool = False,
) -> dict[str, object]:
    """Write a cohort to the new folder ``out`` and return what `floor.report` says of it.

    Everything goes to a temporary folder beside ``out`` first.

    Parameters
    ----------
    quirks
        Whether to draw the oddities of real people, scans and collections at their rates.
    forced
        Quirks that the first studies have for sure, a set per study.
    label_maps
        Whether to write the tissues of every series as NIfTI, too.

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
    certain = [*forced, *[NONE] * studies][:studies]
    jobs = [
        Job(partial, seed, index, size, oddities(seed, index, sure) if quirks else sure, label_maps)
        for index, sure in enumerate(certain)
    ]
    records = _write_studies(jobs, workers, quiet)
    summary = _write_tables(partial, records)
    if label_maps:
        maps.write_names(partial)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return summary


def _write_studies(jobs: Sequence[Job], workers: int, quiet: bool) -> list[Record]:
    from joblib import Parallel, delayed

    done: Iterable[Record] = Parallel(n_jobs=workers, return_as="generator")(delayed(write_study)(job) for job in jobs)
    return list(console.track(done, "phantom studies", total=len(jobs), quiet=quiet))


def write_study(job: Job) -> Record:
    """Acquire and write one study's series and return its rows."""
    study = draw(job.seed, job.index, job.size, job.quirks)
    rng = stream(job.seed, job.index, Stream.NOISE)
    encodings = stream(job.seed, job.index, Stream.ENCODING)
    with threadpool_limits(1):  # as fast, and the same to the last bit on any number of cores
        for number, series in enumerate(study.series, start=1):
            label = _label(study, series, number, encodings)
            _write_series(job.out / IMAGES / study.id / series.id, study, series, label, rng)
            if job.label_maps:
                maps.write(job.out, study, series)
    return record(study)


def _write_series(folder: Path, study: Study, series: Series, label: dicom.Label, rng: np.random.Generator) -> None:
    """Acquire and write the stacks of a series."""
    folder.mkdir(parents=True)
    images = [_shaped(acquire(study.anatomy, stack.scan, rng), study, series) for stack in series.stacks]
    if Quirk.ENHANCED in study.quirks:
        slabs = [
            enhanced.Slab(stack.scan, pixels, stack.instances)
            for stack, pixels in zip(series.stacks, images, strict=True)
        ]
        if slabs:
            enhanced.write(folder / "1.dcm", slabs, label)
        return
    for stack, pixels in zip(series.stacks, images, strict=True):
        dicom.write(folder, stack.scan, pixels, stack.instances, label)
    if Quirk.REPEATED_SLICE in study.quirks and series.stacks:
        taken = [instance for stack in series.stacks for instance in stack.instances]
        dicom.write_again(folder, taken[len(taken) // 2], max(taken) + 1, label)


def _label(study: Study, series: Series, number: int, rng: np.random.Generator) -> dicom.Label:
    """How a series is named and encoded."""
    spacing, syntax = dicom.Spacing.RIGHT, ExplicitVRLittleEndian
    if Quirk.NO_SPACING_TAGS in study.quirks:
        spacing = dicom.Spacing.MISSING
    elif Quirk.WRONG_SPACING_TAGS in study.quirks:
        spacing = dicom.Spacing.WRONG
    if Quirk.COMPRESSED in study.quirks:
        syntax = COMPRESSED[int(rng.integers(len(COMPRESSED)))]
    elif Quirk.IMPLICIT_VR in study.quirks:
        syntax = ImplicitVRLittleEndian
    elif Quirk.BIG_ENDIAN in study.quirks:
        syntax = ExplicitVRBigEndian
    return dicom.Label(study.id, series.id, number, study.seed, study.manufacturer, spacing, syntax)


def _shaped(pixels: dicom.Pixels, study: Study, series: Series) -> list[dicom.Pixels]:
    """The slices; with the quirk the last ones of an axial stack lack their lowest rows."""
    slices = list(pixels)
    if Quirk.MIXED_SHAPE in study.quirks and series.kind is SeriesType.AXIAL_T2:
        short = slices[-maps.SHORT_SLICES :]
        slices[-maps.SHORT_SLICES :] = [np.ascontiguousarray(image[: maps.shown_rows(len(image))]) for image in short]
    return slices


def record(study: Study) -> Record:
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


def _write_tables(out: Path, records: Sequence[Record]) -> dict[str, object]:
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
