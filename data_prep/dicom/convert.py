"""A whole conversion: each stack is converted right or refused, and the tables account for every input file."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from data_prep import scratch
from data_prep.choices import MAX_BYTES
from data_prep.dicom import job, output_folder, sources, studies, tables
from data_prep.dicom.frames import FileHeader, Frame
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.job import Job, JobResult, Settings
from data_prep.dicom.output_folder import NameBy
from data_prep.dicom.rejoining import rejoined
from data_prep.dicom.sources import Source
from data_prep.dicom.tables import FileRow
from data_prep.workers import run as run_all
from monai_spine.console import track
from monai_spine.errors import ExitCode, SpineError, counted
from monai_spine.files import remove_partial
from monai_spine.output_lock import output_lock

Item = TypeVar("Item")
Result = TypeVar("Result")

HEADERS_PER_TASK = 64
"""Files whose headers one task of a worker reads: one file a task would cost more to hand out than to read."""


@dataclass(frozen=True)
class ConversionSummary:
    """The result of a conversion.

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
        """``DONE``, or ``SOME_REFUSED`` if a stack or a file was refused."""
        return ExitCode.SOME_REFUSED if self.refused or self.files["refused"] else ExitCode.DONE

    def line(self) -> str:
        """The counts in one line of text."""
        files = ", ".join(f"{self.files[status]} {status}" for status in tables.STATUSES)
        tables_at = self.out / "manifest.csv"
        return f"{counted(self.converted, 'stack')} converted, {self.refused} refused; files: {files}; see {tables_at}"


def convert(
    source: Path,
    out: Path,
    *,
    name_by: NameBy = "uid",
    workers: int = 1,
    format: Literal["nii.gz", "nii"] = "nii.gz",
    resume: bool = False,
    quiet: bool = False,
    cluster: str | None = None,
    only: Sequence[str] = (),
    verify: Literal["geometry", "full"] = "geometry",
    keep_uids: bool = True,
    max_bytes: int = MAX_BYTES,
) -> ConversionSummary:
    """Convert every stack that can be proven right, and account for every file.

    Parameters
    ----------
    source
        A DICOM file, a folder tree, a DICOMDIR or a zip archive.
    out
        Where ``<study>/<series>[_<n>].nii.gz``, their sidecars, ``manifest.csv`` and ``files.csv`` go. Volumes are
        removed if an earlier run on the same series made them and this one does not.
    name_by
        ``uid`` names a study and a series by their UIDs, ``folder`` by their folders ``<study>/<series>/*.dcm``.
    workers
        Number of processes; 1 runs everything in this one.
    resume
        Keep the volumes that an interrupted run on the same input has finished.
    cluster
        Address of a Dask scheduler to run on, instead of local processes.
    only
        Convert these planes only: values of `monai_spine.geometry.Plane`.
    verify
        ``geometry`` checks bytes, affine and corners of the written volumes; ``full`` checks every value too.
    keep_uids
        False replaces UIDs by hashes with a random salt, which is deleted after the run.
    max_bytes
        The most bytes that one file may declare or unpack to.

    Raises
    ------
    SpineError
        If the input is absent or holds no DICOM image; if the output cannot be written or holds other volumes.
    """
    run = functools.partial(run_all, workers=workers, cluster=cluster)
    with planned(
        *(source, out),
        run=run,
        name_by=name_by,
        format=format,
        resume=resume,
        only=only,
        verify=verify,
        keep_uids=keep_uids,
        max_bytes=max_bytes,
        quiet=quiet,
        shared=cluster is not None,
    ) as plan:
        function = functools.partial(job.run_job, settings=plan.settings)
        return plan.finish(list(track(run(function, plan.jobs), "series", len(plan.jobs), quiet)))


class Runner(Protocol):
    """Runs a function over many items, in any order; see `data_prep.workers.run`."""

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item], /) -> Iterator[Result]:
        """The results as they come."""
        ...


@dataclass(frozen=True)
class PlannedConversion:
    """What is to be converted, by the headers alone.

    Attributes
    ----------
    files
        How many the input has.
    without_image
        Rows of those that hold no image.
    jobs
        The largest first.
    earlier
        Volumes of an earlier run, relative to the output folder.
    """

    out: Path
    files: int
    without_image: Sequence[FileRow]
    jobs: Sequence[Job]
    settings: Settings
    earlier: Set[str]

    @property
    def studies(self) -> dict[str, tuple[Job, ...]]:
        """The jobs of each study, by its name."""
        by_study: dict[str, list[Job]] = defaultdict(list)
        for one in self.jobs:
            by_study[one.frames[0].identity.study_name].append(one)  # a job is of one study
        return {name: tuple(jobs) for name, jobs in sorted(by_study.items())}

    def write_tables(self, results: Sequence[JobResult]) -> ConversionSummary:
        """Write the tables of the jobs that are done so far."""
        out = self.out
        manifest = sorted(row for result in results for row in result.manifest)
        files = [*(row for result in results for row in result.files), *self.without_image]
        files = tables.sorted_files(files)
        tables.write(out / "manifest.csv", manifest)
        tables.write(out / "files.csv", files)
        (out / tables.REFUSED).unlink(missing_ok=True)
        if refused := tables.refused_rows(files):
            tables.write(out / tables.REFUSED, refused)
        counts = Counter(row.status for row in files)
        converted = sum(row.status == "converted" for row in manifest)
        return ConversionSummary(out, converted, len(manifest) - converted, counts)

    def finish(self, results: Sequence[JobResult]) -> ConversionSummary:
        """Write the tables of all jobs, and remove volumes of an earlier run that this one did not make.

        Raises
        ------
        SpineError
            If the input holds no DICOM image.
        """
        remove_partial(self.out)
        summary = self.write_tables(results)
        if not (summary.converted or summary.refused or summary.files["refused"]):
            count, table = counted(self.files, "file"), self.out / "files.csv"
            raise SpineError(f"no DICOM image among the {count} of the input; see {table}")
        output_folder.remove_volumes(self.out, self.earlier - {row.nifti for one in results for row in one.manifest})
        output_folder.keep_salt(self.out, None)
        return summary


@contextmanager
def planned(
    source: Path,
    out: Path,
    *,
    run: Runner,
    name_by: NameBy = "uid",
    format: Literal["nii.gz", "nii"] = "nii.gz",
    resume: bool = False,
    only: Sequence[str] = (),
    verify: Literal["geometry", "full"] = "geometry",
    keep_uids: bool = True,
    max_bytes: int = MAX_BYTES,
    quiet: bool = False,
    shared: bool = False,
) -> Iterator[PlannedConversion]:
    """Read all headers. Inside of the block the jobs can be run by any process of this machine.

    Parameters
    ----------
    run
        Reads headers.
    shared
        Whether files are unpacked into the output folder, which other machines see.
    name_by, format, resume, only, verify, keep_uids, max_bytes
        See `convert`, also for the errors.
    """
    settings = Settings(
        out=str(out.resolve()),
        extension=format,
        resume=resume,
        verify_values=verify == "full",
        only=tuple(only),
        max_bytes=max_bytes,
    )

    def read(unpacked: Path) -> PlannedConversion:
        # A function, whose headers do not stay in memory while the block runs.
        files = sources.find(source, unpacked, max_bytes)
        headers = read_headers(files, max_bytes=max_bytes, run=run, quiet=quiet)
        salt = None if keep_uids else output_folder.random_salt(out, resume)
        jobs = plan(headers, source, name_by, salt)
        earlier = output_folder.earlier_volumes(out)
        series = {frame.identity.names for job in jobs for frame in job.frames}
        output_folder.check_earlier_volumes(out, earlier, series)
        output_folder.keep_salt(out, salt)
        without_image = [tables.frameless_row(header) for header in headers if not header.frames]
        return PlannedConversion(out, len(headers), without_image, jobs, settings, earlier)

    output_folder.open_folder(out, source)
    with output_lock(out), scratch.folder(out.resolve() if shared else None) as unpacked:
        remove_partial(out)  # only now: until here they may have been those of another run
        yield read(unpacked)


def read_headers(
    files: Sequence[Source], *, max_bytes: int, run: Runner = run_all, quiet: bool = False
) -> list[FileHeader]:
    """Headers of all files, each read once, sorted by path."""
    chunks = [files[start : start + HEADERS_PER_TASK] for start in range(0, len(files), HEADERS_PER_TASK)]
    read = functools.partial(_read_chunk, max_bytes=max_bytes)
    headers = [header for chunk in track(run(read, chunks), "headers", len(chunks), quiet) for header in chunk]
    return sorted(headers, key=lambda header: header.path)


def _read_chunk(chunk: Sequence[Source], max_bytes: int) -> list[FileHeader]:
    return [read_header(source, max_bytes=max_bytes) for source in chunk]


def plan(
    headers: Sequence[FileHeader], source: Path, name_by: NameBy, salt: str | None, *, one_study: bool = False
) -> list[Job]:
    """One job per series, or per group of series among which one stack may have been sent under several UIDs.

    A series is never divided among jobs, since its job numbers its volumes: two jobs would overwrite each other's. The
    largest jobs come first, so that at the end no process works alone on a long one.

    Parameters
    ----------
    one_study
        Whether the user says that all files are of one study, so of one patient.
    """
    frames = rejoined([frame for header in headers for frame in header.frames])
    named = output_folder.with_names(frames, source, name_by, salt, one_study=one_study)
    series: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for frame in studies.separated(named, by_user=one_study or name_by == "folder"):
        series[frame.identity.names].append(frame)
    groups = list(series.values()) if name_by == "folder" else _joinable(series.values())
    jobs = [Job(tuple(group)) for group in groups]
    return sorted(jobs, key=lambda job: job.size, reverse=True)


def _joinable(series: Iterable[list[Frame]]) -> list[list[Frame]]:
    """Frames grouped so that series which share an acquisition, directly or through a third series, are together."""
    groups: dict[int, list[Frame]] = {}
    group_of: dict[tuple[object, ...], int] = {}
    for number, frames in enumerate(series):
        joined = {group_of[key] for key in _acquisitions(frames) if key in group_of}
        groups[number] = [frame for group in sorted(joined) for frame in groups.pop(group)] + frames
        group_of.update(dict.fromkeys(_acquisitions(groups[number]), number))
    return list(groups.values())


def _acquisitions(frames: Iterable[Frame]) -> set[tuple[object, ...]]:
    """Study, series number and frame of reference of all frames that have these three and a series UID."""
    return {
        (identity.study_name, identity.series_number, identity.frame_of_reference)
        for identity in {frame.identity for frame in frames}
        if identity.study and identity.series and identity.series_number is not None and identity.frame_of_reference
    }
