"""DICOM in, checked NIfTI volumes out: every stack converted right or refused, every file answered for."""

from __future__ import annotations

import functools
import secrets
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_prep.choices import MAX_BYTES
from data_prep.dicom import job, names, nifti, previous, sources, tables
from data_prep.dicom.frames import FileHeader, Frame
from data_prep.dicom.headers import read_header
from data_prep.dicom.job import Job, JobResult, Settings
from data_prep.dicom.nifti import OutputError
from data_prep.dicom.reasons import Reason
from data_prep.dicom.sources import Source
from data_prep.dicom.tables import FileRow, ManifestRow
from data_prep.workers import run as run_all
from monai_spine.console import track
from monai_spine.errors import ExitCode, SpineError

HEADERS_PER_TASK = 64

SALT = ".salt"


@dataclass(frozen=True)
class ConversionSummary:
    """What a conversion came to.

    Attributes
    ----------
    out
        The output folder, with ``manifest.csv`` and ``files.csv``.
    converted, refused
        Numbers of stacks.
    files
        Numbers of input files or frames by status: used, duplicate, refused, ignored.
    """

    out: Path
    converted: int
    refused: int
    files: Counter[str]

    @property
    def exit_code(self) -> ExitCode:
        """``DONE``, or ``SOME_REFUSED`` when a stack or a file was."""
        return ExitCode.SOME_REFUSED if self.refused or self.files["refused"] else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        files = ", ".join(f"{self.files[status]} {status}" for status in tables.STATUSES)
        tables_at = self.out / "manifest.csv"
        return f"{self.converted} stacks converted, {self.refused} refused; files: {files}; see {tables_at}"


def convert(
    source: Path,
    out: Path,
    *,
    name_by: names.NameBy = "uid",
    workers: int = 1,
    format: Literal["nii.gz", "nii"] = "nii.gz",
    resume: bool = False,
    quiet: bool = False,
    cluster: str | None = None,
    only: Sequence[str] = (),
    verify: Literal["geometry", "full"] = "geometry",
    keep_uids: bool = True,
    salt: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> ConversionSummary:
    """Convert every stack that can be proven right and account for every file.

    Parameters
    ----------
    source
        A DICOM file, a folder tree, a DICOMDIR or a zip archive.
    out
        Where ``<study>/<series>[_<n>].nii.gz``, their sidecars, ``manifest.csv`` and ``files.csv`` go. Volumes that an
        earlier run on the same series made there and this one does not are removed.
    name_by
        ``uid`` names a study and a series by their UIDs, ``folder`` by their folders ``<study>/<series>/*.dcm``.
    workers
        Processes; 1 for this one alone.
    resume
        Keep volumes that an interrupted run on the same input finished.
    cluster
        Address of a Dask scheduler to run on, instead of local processes.
    only
        Convert these planes alone: values of `monai_spine.geometry.Plane`.
    verify
        ``geometry`` checks bytes, affine and corners of what was written; ``full`` every value too.
    keep_uids
        False replaces UIDs by hashes, salted with ``salt`` or with a random one that is thrown away.
    max_bytes
        The most bytes that one file may declare or unpack to.

    Raises
    ------
    SpineError
        If the input is absent or holds no DICOM file, or the output cannot be written or holds another input's volumes.
    """
    _check_folders(source, out)
    with tempfile.TemporaryDirectory(prefix="monai-spine-") as scratch:
        found = sources.find(source, Path(scratch), max_bytes)
        headers = read_headers(found, max_bytes=max_bytes, workers=workers, cluster=cluster, quiet=quiet)
        own_salt = "" if keep_uids or salt else _salt(out, resume)
        salt = None if keep_uids else salt or own_salt
        jobs = plan(headers, source, name_by, salt)
        earlier = previous.volumes(out)
        previous.check(out, earlier, {frame.identity.names for job in jobs for frame in job.frames})
        _keep_salt(out, own_salt)
        settings = Settings(
            out=str(out.resolve()),
            extension=format,
            resume=resume,
            verify_values=verify == "full",
            only=tuple(only),
            max_bytes=max_bytes,
        )
        results = list(_run(jobs, settings, workers, cluster, quiet))
    _sweep(out)
    summary = _finish(out, headers, results)
    previous.remove(out, earlier - {row.nifti for result in results for row in result.manifest})
    (out / SALT).unlink(missing_ok=True)
    return summary


def _salt(out: Path, resume: bool) -> str:
    """A random salt, or that of the run to be resumed."""
    path = out / SALT
    return path.read_text() if resume and path.is_file() else secrets.token_hex(16)


def _keep_salt(out: Path, salt: str) -> None:
    """Keep a salt beside the output until the run is done, so that a resumed run finds its own names."""
    path = out / SALT
    path.unlink(missing_ok=True)
    if salt:
        path.touch(mode=0o600)
        path.write_text(salt)


def _check_folders(source: Path, out: Path) -> None:
    inside, outside = out.resolve(), source.resolve()
    if source.is_dir() and inside.is_relative_to(outside):
        raise SpineError(f"the output folder {out} lies inside the input {source}; choose one outside of it")
    if inside.exists() and not inside.is_dir():
        raise SpineError(f"the output {out} is a file; expected a folder, or a new name for one")
    try:
        inside.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the output folder {out}: {error.strerror}") from error
    _sweep(inside)


def _sweep(out: Path) -> None:
    """Remove what a killed run, or a killed worker of this one, left half written."""
    for left in out.rglob(f".*{nifti.PARTIAL}"):
        left.unlink(missing_ok=True)


def read_headers(
    found: Sequence[Source], *, max_bytes: int, workers: int = 1, cluster: str | None = None, quiet: bool = False
) -> list[FileHeader]:
    """Headers of all files, each read once, sorted by path."""
    chunks = [found[start : start + HEADERS_PER_TASK] for start in range(0, len(found), HEADERS_PER_TASK)]
    read = functools.partial(_read_chunk, max_bytes=max_bytes)
    results = run_all(read, chunks, workers, cluster)
    headers = [header for chunk in track(results, "headers", len(chunks), quiet) for header in chunk]
    return sorted(headers, key=lambda header: header.path)


def _read_chunk(chunk: Sequence[Source], max_bytes: int) -> list[FileHeader]:
    return [read_header(source, max_bytes=max_bytes) for source in chunk]


def plan(headers: Sequence[FileHeader], source: Path, name_by: names.NameBy, salt: str | None) -> list[Job]:
    """One job per series, or for several where one stack may have been sent under several series UIDs.

    A series is never divided among jobs, whatever differs inside it: its job numbers its volumes through. The largest
    come first, so that no long one is left to a single process at the end.
    """
    frames = [frame for header in headers for frame in header.frames]
    series: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for frame in names.with_names(frames, source, name_by, salt):
        series[frame.identity.names].append(frame)
    groups = list(series.values()) if name_by == "folder" else _joinable(series.values())
    jobs = [Job(tuple(group)) for group in groups]
    return sorted(jobs, key=lambda job: job.size, reverse=True)


def _joinable(series: Iterable[list[Frame]]) -> list[list[Frame]]:
    """The series put together that share an acquisition, directly or by way of a third."""
    groups: dict[int, list[Frame]] = {}
    owner: dict[tuple[object, ...], int] = {}
    for number, frames in enumerate(series):
        met = {owner[key] for key in _acquisitions(frames) if key in owner}
        groups[number] = [frame for group in sorted(met) for frame in groups.pop(group)] + frames
        owner.update(dict.fromkeys(_acquisitions(groups[number]), number))
    return list(groups.values())


def _acquisitions(frames: Iterable[Frame]) -> set[tuple[object, ...]]:
    """Study, series number and frame of reference of frames that have all three, and a series UID."""
    known = {frame.identity for frame in frames}
    return {
        (identity.study_name, identity.series_number, identity.frame_of_reference)
        for identity in known
        if identity.study and identity.series and identity.series_number is not None and identity.frame_of_reference
    }


def _run(jobs: list[Job], settings: Settings, processes: int, cluster: str | None, quiet: bool) -> Iterator[JobResult]:
    function = functools.partial(job.run_job, settings=settings)
    yield from track(run_all(function, jobs, processes, cluster), "series", len(jobs), quiet)


def _finish(out: Path, headers: Sequence[FileHeader], results: Sequence[JobResult]) -> ConversionSummary:
    manifest = sorted(row for result in results for row in result.manifest)
    files = [row for result in results for row in result.files]
    files += [_frameless(header) for header in headers if not header.frames]
    tables.write(out / "manifest.csv", ManifestRow, manifest)
    tables.write(out / "files.csv", FileRow, tables.sorted_files(files))
    counts = Counter(row.status for row in files)
    if not manifest and not counts["refused"]:
        raise SpineError(f"no DICOM image among the {len(headers)} files of the input; see {out / 'files.csv'}")
    converted = sum(row.status == "converted" for row in manifest)
    return ConversionSummary(out, converted, len(manifest) - converted, counts)


def _frameless(header: FileHeader) -> FileRow:
    reason = header.reason or Reason.UNREADABLE
    status = "ignored" if reason is Reason.NOT_AN_IMAGE else "refused"
    return FileRow(header.path, None, status, reason.value, "", None, None)
