"""DICOM among the samples: converted to PNG, and the patients told apart without being named."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.dicom.nifti import OutputError
from data_prep.dicom.refusals import Refused
from data_prep.images.dicom_picture import write_picture
from data_prep.images.files import is_dicom
from data_prep.images.sample import Sample
from data_prep.workers import run
from monai_spine.console import track

FOLDER = "images"
_OURS = re.compile(r"\d{6}\.png")


@dataclass(frozen=True)
class _Job:
    number: int
    part: int
    source: Path
    target: Path


@dataclass(frozen=True)
class Pictures:
    """Samples with pictures in the place of DICOM.

    Attributes
    ----------
    faults
        Why a sample has none, by its number.
    sources
        DICOM file by the name of its picture.
    """

    samples: list[Sample]
    faults: dict[int, str]
    sources: dict[str, Path]


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """A folder for pictures inside of ``out``, gone when the block ends.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    fresh = not out.exists()
    scratch = out / f".{FOLDER}.{os.getpid()}.part"
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot write to the output folder {out}: {error.strerror}; choose another") from error
    done = False
    try:
        yield scratch
        done = True
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if fresh and not done:
            out.rmdir()


def convert(samples: Sequence[Sample], scratch: Path, workers: int, quiet: bool) -> Pictures:
    """Write a picture into ``scratch`` for every DICOM file; other files stay where they are.

    Patients of DICOM files are numbered, where nobody else names them.
    """
    dicom = [(n, part, file) for n, sample in enumerate(samples) for part, file in enumerate(sample.files)]
    jobs = [
        _Job(n, part, file, scratch / f"{place:06d}.png")
        for place, (n, part, file) in enumerate(entry for entry in dicom if is_dicom(entry[2]))
    ]
    if not jobs:
        return Pictures(list(samples), {}, {})
    check_place(scratch.parent)
    made = list(samples)
    faults: dict[int, str] = {}
    patients: dict[int, str] = {}
    results = track(run(_convert, jobs, workers), "DICOM", len(jobs), quiet)
    for job, patient, fault in sorted(results, key=lambda result: result[0].number):
        if fault:
            faults[job.number] = fault
        files = list(made[job.number].files)
        files[job.part] = job.target
        made[job.number] = replace(made[job.number], files=tuple(files))
        if patient and not made[job.number].patient:
            patients[job.number] = patient
    numbers = {digest: f"patient {n}" for n, digest in enumerate(dict.fromkeys(patients.values()), start=1)}
    for number, digest in patients.items():
        made[number] = replace(made[number], patient=numbers[digest])
    return Pictures(made, faults, {job.target.name: job.source for job in jobs if job.number not in faults})


def settle(scratch: Path, out: Path, kept: Sequence[str]) -> None:
    """Move the pictures of these names to their place, instead of those of an earlier run."""
    if not kept:
        return
    for picture in scratch.iterdir():
        if picture.name not in kept:
            picture.unlink()
    if (out / FOLDER).exists():
        shutil.rmtree(out / FOLDER)
    scratch.rename(out / FOLDER)


def check_place(out: Path) -> None:
    """Make sure that nothing but pictures of an earlier run lies where pictures are to go.

    Raises
    ------
    OutputError
        If there is something else.
    """
    place = out / FOLDER
    if place.exists() and not (place.is_dir() and all(_OURS.fullmatch(entry.name) for entry in place.iterdir())):
        raise OutputError(f"{place} is where pictures of DICOM files go, but other files are there; choose another OUT")


def _convert(job: _Job) -> tuple[_Job, str, str]:
    """The job, the patient's digest, and why there is no picture."""
    try:
        return job, write_picture(job.source, job.target), ""
    except Refused as refusal:
        return job, "", f"{refusal.reason.value}: {refusal.detail}"
    except OSError as error:
        return job, "", f"UNREADABLE: {error.strerror}"
