"""A cohort in the competition's layout: DICOM files, label tables, and the truth behind them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from threadpoolctl import threadpool_limits

from data_prep.phantom import dicom, enhanced, maps, record
from data_prep.phantom.acquisition import acquire
from data_prep.phantom.compression import COMPRESSED
from data_prep.phantom.plan import Series
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.phantom.size import Size
from data_prep.phantom.study import Stream, Study, draw, oddities, stream
from monai_spine import console
from monai_spine.errors import SpineError
from monai_spine.spine import SeriesType

IMAGES = "train_images"


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
    summary = record.write_tables(partial, records)
    if label_maps:
        maps.write_names(partial)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return summary


def _write_studies(jobs: Sequence[Job], workers: int, quiet: bool) -> list[record.Record]:
    from joblib import Parallel, delayed

    done: Iterable[record.Record] = Parallel(n_jobs=workers, return_as="generator")(
        delayed(write_study)(job) for job in jobs
    )
    return list(console.track(done, "phantom studies", total=len(jobs), quiet=quiet))


def write_study(job: Job) -> record.Record:
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
    return record.of(study)


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
