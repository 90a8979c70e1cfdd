"""A cohort in the competition's layout: DICOM files, label tables, and the truth behind them with ``floor.json``."""

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

from data_prep.choices import PhantomSize
from data_prep.phantom import dicom
from data_prep.phantom.acquire import acquire
from data_prep.phantom.disease import MEASURES
from data_prep.phantom.enhanced import write_enhanced
from data_prep.phantom.label_maps import SHORT_SLICES, short_rows, write_label_maps, write_label_names
from data_prep.phantom.labels import floor_report
from data_prep.phantom.plan import Series
from data_prep.phantom.quirks import NONE, Quirk, draw_quirks
from data_prep.phantom.study import Stream, Study, draw_study, stream
from monai_spine import console
from monai_spine.errors import SpineError
from monai_spine.files import PARTIAL
from monai_spine.output_lock import LOCK, output_lock
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, SeriesType

IMAGES = "train_images"
SERIES_COLUMNS = ["study_id", "series_id", "series_description"]
QUIRK_COLUMNS = ["study_id", "quirk", "detail"]
Row = dict[str, object]


@dataclass(frozen=True)
class Job:
    """One study to make: study ``index`` of a seed, written to the folder ``out``."""

    out: Path
    seed: int
    index: int
    size: PhantomSize = PhantomSize.SMALL
    quirks: frozenset[Quirk] = NONE
    label_maps: bool = False
    uncorrelated: float = 0.0


def generate(
    out: Path,
    studies: int,
    seed: int,
    *,
    size: PhantomSize = PhantomSize.SMALL,
    quirks: bool = False,
    forced: Sequence[frozenset[Quirk]] = (),
    label_maps: bool = False,
    uncorrelated: float = 0.0,
    workers: int = 1,
    quiet: bool = False,
) -> dict[str, object]:
    """Write a cohort to the new folder ``out`` and return the content of its ``floor.json``.

    Everything is written to a temporary folder beside ``out`` first, so that ``out`` is complete or does not exist. The
    temporary folder is locked while the run lasts; the next run clears that of a killed one.

    Parameters
    ----------
    quirks
        Whether to draw the oddities of real people, scans and collections at their rates.
    forced
        Quirks that the first studies must have, a set per study.
    label_maps
        Whether to write the tissues of every series as NIfTI as well.
    uncorrelated
        See `data_prep.phantom.disease.draw_disease`.

    Raises
    ------
    SpineError
        If ``out`` is a file or a folder that is not empty, if another run writes it, or ``studies`` is not positive.
    """
    if studies < 1:
        raise SpineError(f"expected at least 1 study, but given --studies {studies}")
    if not 0 <= uncorrelated <= 1:
        raise SpineError(f"expected --uncorrelated from 0 to 1, but given {uncorrelated:g}")
    _check_free(out)
    partial = out.with_name(f".{out.name}{PARTIAL}")
    jobs = []
    for index, certain in enumerate([*forced, *[NONE] * studies][:studies]):
        drawn = draw_quirks(stream(seed, index, Stream.QUIRKS), certain) if quirks else certain
        jobs.append(Job(partial, seed, index, size, drawn, label_maps, uncorrelated))
    with output_lock(partial):
        _clear(partial)
        try:
            report = _write(partial, jobs, workers, quiet)
            _check_free(out)  # again: another run may have filled it before this one took the lock
            if out.exists():
                out.rmdir()
            partial.rename(out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # nobody can go on from it, and the disk may be full
            raise
        (out / LOCK).unlink()
    return report


def _write(out: Path, jobs: Sequence[Job], workers: int, quiet: bool) -> dict[str, object]:
    """Write studies and tables to a folder; the content of ``floor.json``."""
    (out / IMAGES).mkdir()
    (out / "test_images").mkdir()
    report = write_tables(out, _write_studies(jobs, workers, quiet))
    if any(job.label_maps for job in jobs):
        write_label_names(out)
    return report


def _check_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpineError(f"{out}: expected a new or empty folder; remove it or name another")


def _clear(folder: Path) -> None:
    """Remove what a killed run has left, but the lock, which this run holds."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _write_studies(jobs: Sequence[Job], workers: int, quiet: bool) -> list[StudyRows]:
    from joblib import Parallel, delayed

    done: Iterable[StudyRows] = Parallel(n_jobs=workers, return_as="generator")(
        delayed(write_study)(job) for job in jobs
    )
    return list(console.track(done, "phantom studies", total=len(jobs), quiet=quiet))


def write_study(job: Job) -> StudyRows:
    """Acquire and write one study's series and return its rows."""
    study = draw_study(job.seed, job.index, job.size, job.quirks, job.uncorrelated)
    rng = stream(job.seed, job.index, Stream.NOISE)
    encodings = stream(job.seed, job.index, Stream.ENCODING)
    with threadpool_limits(1):  # not slower, and the same to the last bit on any number of cores
        for number, series in enumerate(study.series, start=1):
            tags = _tags(study, series, number, encodings)
            _write_series(job.out / IMAGES / study.id / series.id, study, series, tags, rng)
            if job.label_maps:
                write_label_maps(job.out, study, series)
    return study_rows(study)


def _write_series(folder: Path, study: Study, series: Series, tags: dicom.SeriesTags, rng: np.random.Generator) -> None:
    """Acquire and write the stacks of a series."""
    folder.mkdir(parents=True)
    images = [_shaped(acquire(study.anatomy, stack.scan, rng), study, series) for stack in series.stacks]
    if not series.stacks:
        return
    if Quirk.ENHANCED in study.quirks:
        write_enhanced(folder / "1.dcm", series.stacks, images, tags)
        return
    for stack, pixels in zip(series.stacks, images, strict=True):
        dicom.write_stack(folder, stack, pixels, tags)
    if Quirk.REPEATED_SLICE in study.quirks:
        numbers = [instance for stack in series.stacks for instance in stack.instances]
        dicom.write_repeated(folder, numbers[len(numbers) // 2], max(numbers) + 1, tags)


def _tags(study: Study, series: Series, number: int, rng: np.random.Generator) -> dicom.SeriesTags:
    """How a series is identified and encoded."""
    spacing, syntax = dicom.SpacingTags.RIGHT, ExplicitVRLittleEndian
    if Quirk.NO_SPACING_TAGS in study.quirks:
        spacing = dicom.SpacingTags.MISSING
    elif Quirk.WRONG_SPACING_TAGS in study.quirks:
        spacing = dicom.SpacingTags.WRONG
    if Quirk.COMPRESSED in study.quirks:
        syntax = dicom.COMPRESSED[int(rng.integers(len(dicom.COMPRESSED)))]
    elif Quirk.IMPLICIT_VR in study.quirks:
        syntax = ImplicitVRLittleEndian
    elif Quirk.BIG_ENDIAN in study.quirks:
        syntax = ExplicitVRBigEndian
    return dicom.SeriesTags(study.id, series.id, number, study.seed, study.manufacturer, spacing, syntax)


def _shaped(pixels: dicom.Pixels, study: Study, series: Series) -> list[dicom.Pixels]:
    """The slices; with the quirk `MIXED_SHAPE`, the last ones of an axial stack lack their lowest rows."""
    slices = list(pixels)
    if Quirk.MIXED_SHAPE in study.quirks and series.series_type is SeriesType.AXIAL_T2:
        last = slices[-SHORT_SLICES:]
        slices[-SHORT_SLICES:] = [np.ascontiguousarray(image[: short_rows(len(image))]) for image in last]
    return slices


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
                "value": round(float(study.anatomy.measures[i]), 4),
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
