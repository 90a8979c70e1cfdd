"""One series from frames to files: the unit of work that runs in any process, and may safely run twice."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_prep.dicom import duplicates, nifti, sidecar
from data_prep.dicom.frames import Frame
from data_prep.dicom.nifti import OutputError
from data_prep.dicom.reasons import Reason, Refused
from data_prep.dicom.series import stacks_of
from data_prep.dicom.stacks import Stack
from data_prep.dicom.tables import FileRow, ManifestRow
from data_prep.dicom.values import encoded, encoding
from monai_spine import __version__

logger = logging.getLogger(__name__)

CONVERTER = f"monai_spine {__version__}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all jobs of a run."""

    out: str
    extension: str = "nii.gz"
    resume: bool = False
    verify_values: bool = False
    only: tuple[str, ...] = ()
    max_bytes: int = 4 << 30


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
    """Convert one series: split, check, write, verify. Whatever goes wrong inside it stays inside it.

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
        refusal = Refused(Reason.UNREADABLE, f"{type(error).__name__} while converting")
        rows = tuple(_row(frame, "refused", frame.reason or refusal.reason) for frame in job.frames)
        return JobResult((_manifest_row(Stack((job.frames,)), 0, "", refusal),), rows)


def _convert_series(job: Job, settings: Settings) -> JobResult:
    stacks, copies = _split(job, settings)
    manifest: list[ManifestRow] = []
    files = [FileRow(copy.path, copy.index, "duplicate", "", "", None, None) for copy in copies]
    counter: Counter[tuple[str, str]] = Counter()
    for stack in stacks:
        if settings.only and stack.plane not in settings.only:
            files += [_row(frame, "ignored", Reason.NOT_SELECTED) for frame in stack.frames]
            continue
        identity = stack.first.identity
        number = counter[identity.names]
        counter[identity.names] += 1
        row, rows = _convert_stack(stack, number, settings)
        manifest.append(row)
        files += rows
    return JobResult(tuple(manifest), tuple(files))


def _split(job: Job, settings: Settings) -> tuple[list[Stack], list[Frame]]:
    """The job's stacks without copies of images, and the copies."""
    kept, copies = duplicates.drop(job.frames, settings.max_bytes)
    stacks = stacks_of(kept)
    unclear = [frame for stack in stacks if stack.reason is Reason.AMBIGUOUS_VOLUMES for frame in stack.frames]
    _, resent = duplicates.drop_resent(unclear, settings.max_bytes)
    if resent:
        gone = {id(frame) for frame in resent}
        stacks = stacks_of([frame for frame in kept if id(frame) not in gone])
    copies += resent
    return [_with_copies(stack, copies) for stack in stacks], copies


def _with_copies(stack: Stack, copies: list[Frame]) -> Stack:
    """The stack, its detail saying how many identical copies were left out."""
    places = {(frame.identity.series, frame.kind, frame.geometry) for frame in stack.frames}
    count = sum((copy.identity.series, copy.kind, copy.geometry) in places for copy in copies)
    if not count:
        return stack
    note = f"{count} identical {'copy' if count == 1 else 'copies'} left out"
    return replace(stack, detail="; ".join(filter(None, (stack.detail, note))))


def _convert_stack(stack: Stack, number: int, settings: Settings) -> tuple[ManifestRow, list[FileRow]]:
    name = _name(stack, number, settings)
    try:
        if stack.reason is not None:
            raise Refused(stack.reason, stack.detail)
        _write(stack, Path(settings.out) / name, settings)
    except Refused as refusal:
        rows = [_row(frame, "refused", frame.reason or refusal.reason) for frame in stack.frames]
        return _manifest_row(stack, number, "", refusal), rows
    rows = [
        FileRow(frame.path, frame.index, "used", "", name, k, t if stack.is_4d else None)
        for t, volume in enumerate(stack.volumes)
        for k, frame in enumerate(volume)
    ]
    return _manifest_row(stack, number, name), rows


def _name(stack: Stack, number: int, settings: Settings) -> str:
    identity = stack.first.identity
    suffix = f"_{number}" if number else ""
    return f"{identity.study_name}/{identity.series_name}{suffix}.{settings.extension}"


def _row(frame: Frame, status: str, reason: Reason) -> FileRow:
    return FileRow(frame.path, frame.index, status, reason.value, "", None, None)


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
    """Write a sound stack and its sidecar, verified; leave nothing behind when it cannot be verified.

    Raises
    ------
    Refused
        If the pixels cannot be read, or what was written does not agree with the headers.
    OutputError
        If the output cannot be written.
    """
    assert stack.affine is not None
    source = sidecar.source_digest(stack)
    beside = nifti.sidecar_path(path)
    if settings.resume and _is_finished(path, beside, source):
        return
    _check_size(stack, settings)
    try:
        checksum = _write_volume(path, stack, settings.max_bytes)
        nifti.verify(path, checksum, stack.volumes)
        if settings.verify_values:
            _verify_values(path, stack, settings.max_bytes)
    except Refused:  # nor what an earlier run made of the same series
        path.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
        raise
    nifti.write_atomically(beside, [sidecar.content(stack, stack.affine, checksum, source, CONVERTER)])


def _check_size(stack: Stack, settings: Settings) -> None:
    first = stack.first.pixels
    size = first.frame_bytes * len(stack.frames)
    if max(first.rows, first.columns, len(stack.volumes[0]), len(stack.volumes)) > np.iinfo(np.int16).max:
        raise Refused(Reason.UNSUPPORTED, "a side of more than 32767 voxels does not fit into NIfTI")
    if size > 8 * settings.max_bytes:
        raise Refused(Reason.TOO_LARGE, f"a stack of {size} bytes")


def _write_volume(path: Path, stack: Stack, max_bytes: int) -> int:
    """Write slice after slice, so that never more than one is in memory; the CRC-32 of the file."""
    assert stack.affine is not None
    frames, pixels = stack.frames, stack.first.pixels
    shape = (pixels.columns, pixels.rows, len(stack.volumes[0]), *((len(stack.volumes),) if stack.is_4d else ()))
    chosen = encoding(frames)
    head = nifti.header(shape, chosen.dtype, stack.affine, chosen.slope, chosen.inter)
    nifti.make_folder(path.parent)
    pieces = (values.reshape(-1).view(np.uint8).data for values in encoded(frames, chosen, max_bytes))
    return nifti.write_atomically(path, nifti.pack(itertools.chain([head], pieces), path.name.endswith(".gz")))


def _is_finished(path: Path, beside: Path, source: str) -> bool:
    """Whether an earlier run wrote this volume from the same headers, and its bytes are still what they were."""
    try:
        record = json.loads(beside.read_text())
        return record["SourceDigest"] == source and record["FileCRC32"] == f"{nifti.file_checksum(path)[0]:08x}"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _verify_values(path: Path, stack: Stack, max_bytes: int) -> None:
    from data_prep.dicom.verification import reference_values

    nifti.verify_values(path, (reference_values(frame, max_bytes) for frame in stack.frames), len(stack.volumes[0]))
