"""One series from frames to files: the unit of work that any process can run, and run twice without harm."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.choices import MAX_BYTES
from data_prep.dicom import nifti, sidecar
from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks.series import split_job
from data_prep.dicom.stacks.stack import Stack
from data_prep.dicom.tables import FileRow, ManifestRow, refused_row, unused_row
from data_prep.dicom.verification import verify, verify_values
from monai_spine import __version__
from monai_spine.errors import OutputError

logger = logging.getLogger(__name__)

CONVERTER = f"monai_spine {__version__}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all jobs of a run."""

    out: str
    extension: str = "nii.gz"
    resume: bool = False
    verify_values: bool = False
    only: tuple[str, ...] = ()
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Job:
    """The frames of one series (or of several that share a series number and a frame of reference)."""

    frames: tuple[Frame, ...]

    @property
    def size(self) -> int:
        """Bytes of the decoded pixels."""
        return sum(frame.pixels.frame_bytes for frame in self.frames)


@dataclass(frozen=True, slots=True)
class JobResult:
    """The rows that a job adds to the two tables."""

    manifest: tuple[ManifestRow, ...]
    files: tuple[FileRow, ...]


def run_job(job: Job, settings: Settings) -> JobResult:
    """Convert one series: split, check, write, verify. An unexpected error refuses this series alone.

    Raises
    ------
    OutputError
        If the output cannot be written.
    """
    try:
        return _convert_series(job, settings)
    except OutputError:
        raise
    except Exception as error:  # one series of thousands must not end the run
        logger.debug("a series could not be converted", exc_info=True)
        return refused_job(job, f"{type(error).__name__} while converting")


def refused_job(job: Job, detail: str) -> JobResult:
    """The rows of a series of which nothing could be converted, and why."""
    refusal = Refused(Reason.UNREADABLE, detail)
    rows = tuple(_refused_row(frame, refusal) for frame in job.frames)
    return JobResult((_manifest_row(Stack((job.frames,)), 0, "", refusal),), rows)


def _refused_row(frame: Frame, refusal: Refused) -> FileRow:
    reason, detail = (frame.reason, frame.detail) if frame.reason else (refusal.reason, refusal.detail)
    return refused_row(frame.path, frame.index, reason, detail)


def _convert_series(job: Job, settings: Settings) -> JobResult:
    stacks, copies = split_job(job.frames)
    manifest: list[ManifestRow] = []
    files = [unused_row(copy, "duplicate") for copy in copies]
    next_number: Counter[tuple[str, str]] = Counter()
    for stack in stacks:
        if settings.only and stack.plane not in settings.only:
            files += [unused_row(frame, "ignored", Reason.NOT_SELECTED) for frame in stack.frames]
            continue
        names = stack.first.identity.names
        row, rows = _convert_stack(stack, next_number[names], settings)
        next_number[names] += 1
        manifest.append(row)
        files += rows
    return JobResult(tuple(manifest), tuple(files))


def _convert_stack(stack: Stack, number: int, settings: Settings) -> tuple[ManifestRow, list[FileRow]]:
    identity = stack.first.identity
    suffix = f"_{number}" if number else ""
    name = f"{identity.study_name}/{identity.series_name}{suffix}.{settings.extension}"
    try:
        if stack.reason is not None:
            raise Refused(stack.reason, stack.detail)
        _write(stack, Path(settings.out) / name, settings)
    except Refused as refusal:
        rows = [_refused_row(frame, refusal) for frame in stack.frames]
        return _manifest_row(stack, number, "", refusal), rows
    rows = [
        FileRow(frame.path, frame.index, "used", "", name, k, t if stack.is_4d else None)
        for t, volume in enumerate(stack.volumes)
        for k, frame in enumerate(volume)
    ]
    return _manifest_row(stack, number, name), rows


def _manifest_row(stack: Stack, number: int, name: str, refusal: Refused | None = None) -> ManifestRow:
    identity = stack.first.identity
    return ManifestRow(
        study=identity.study_name,
        series_uid=identity.series,
        stack=number,
        description=identity.description,
        plane=stack.plane.value if stack.plane else "",
        files=len({frame.path for frame in stack.frames}),
        slices=len(stack.volumes[0]) if refusal is None else len(stack.frames),
        status="converted" if refusal is None else "refused",
        reason="" if refusal is None else refusal.reason.value,
        detail=stack.detail if refusal is None else refusal.detail,
        nifti=name,
    )


def _write(stack: Stack, path: Path, settings: Settings) -> None:
    """Write a stack and its sidecar, and verify the volume. If it cannot be verified, nothing stays.

    Raises
    ------
    Refused
        If the pixels cannot be read, or the written volume does not agree with the headers.
    OutputError
        If the output cannot be written.
    """
    assert stack.affine is not None
    source = sidecar.source_digest(stack)
    beside = nifti.sidecar_path(path)
    if settings.resume and sidecar.is_finished(path, source):
        return
    _check_size(stack, settings)
    try:
        exceptions: set[str] = set()
        checksum = _write_volume(path, stack, exceptions)
        verify(path, checksum, stack)
        if settings.verify_values:
            verify_values(path, stack)
    except Refused:  # a volume that an earlier run made of the same series must not stay either
        path.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
        raise
    nifti.write(beside, [sidecar.content(stack, checksum, source, CONVERTER, exceptions)])


def _check_size(stack: Stack, settings: Settings) -> None:
    size = stack.first.pixels.frame_bytes * len(stack.frames)
    if max(stack.shape) > np.iinfo(np.int16).max:
        raise Refused(Reason.UNSUPPORTED, "NIfTI holds at most 32767 voxels along an axis")
    if size > 8 * settings.max_bytes:
        raise Refused(Reason.TOO_LARGE, f"a stack of {size} bytes, at most {8 * settings.max_bytes}")


def _write_volume(path: Path, stack: Stack, exceptions: set[str]) -> int:
    """Write slice after slice, so that only a few are in memory; return the CRC-32 of the file."""
    assert stack.affine is not None
    chosen = nifti.encoding(stack.frames)
    head = nifti.header(stack.shape, chosen.dtype, stack.affine, chosen.slope, chosen.inter)
    slices = (values.reshape(-1).view(np.uint8).data for values in nifti.encoded(stack.frames, chosen, exceptions))
    return nifti.write(path, nifti.pack(itertools.chain([head], slices), path.name.endswith(".gz")))
