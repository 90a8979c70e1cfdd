"""What an input holds: each stack and whether it can be converted, from the headers alone, before any conversion."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import scratch
from data_prep.choices import MAX_BYTES
from data_prep.dicom import sources
from data_prep.dicom.convert import plan, read_headers
from data_prep.dicom.frames import FileHeader
from data_prep.dicom.output_folder import NameBy
from data_prep.dicom.stacks.series import drop_copies_by_header, stacks_of
from data_prep.dicom.stacks.stack import Stack
from data_prep.workers import run
from monai_spine.errors import MissingInputError, counted
from monai_spine.geometry import spacing

if TYPE_CHECKING:
    from rich.table import Table


FILE_WIDTH = 220
"""Columns of a table that goes to a file or a pipe."""


@dataclass(frozen=True, slots=True)
class StackReport:
    """One stack in a scan.

    Attributes
    ----------
    size
        Columns × rows × slices, and × volumes where there are several.
    spacing
        Voxel size in millimetres along columns, rows and slices; empty when refused.
    orientations
        How many different orientations the stacks of this series have.
    transfer_syntax
        The name of the transfer syntax.
    verdict
        ``convertible``, or the reason code.
    """

    study: str
    series_uid: str
    stack: int
    description: str
    plane: str
    size: str
    spacing: str
    slices: int
    orientations: int
    transfer_syntax: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class ScanReport:
    """All stacks of an input, the number of files, and how many files gave no image, by reason code."""

    stacks: tuple[StackReport, ...]
    files: int
    other_files: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def scan(
    source: Path,
    *,
    name_by: NameBy = "uid",
    workers: int = 1,
    max_bytes: int = MAX_BYTES,
    quiet: bool = False,
) -> ScanReport:
    """Report for every stack of a file, a folder, a DICOMDIR or a zip whether it can be converted.

    Each header is read once; no pixels are read.

    Raises
    ------
    MissingInputError
        If there is no such path, or no file under it.
    """
    with scratch.folder() as unpacked:
        files = sources.find(source, unpacked, max_bytes)
        headers = read_headers(files, max_bytes=max_bytes, run=functools.partial(run, workers=workers), quiet=quiet)
    if not headers:
        raise MissingInputError(f"expected DICOM files to scan, but {source} holds no file at all")
    reports = [
        report
        for job in plan(headers, source, name_by, None)
        for report in _reports(stacks_of(drop_copies_by_header(job.frames)))
    ]
    reports.sort(key=lambda report: (report.study, report.series_uid, report.stack))
    return ScanReport(tuple(reports), len(headers), _other_files(headers))


def _other_files(headers: Sequence[FileHeader]) -> dict[str, int]:
    return dict(sorted(Counter(header.reason.value for header in headers if header.reason is not None).items()))


def _reports(stacks: Sequence[Stack]) -> list[StackReport]:
    orientations: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    for stack in stacks:
        orientations[stack.first.identity.series].add(_orientation(stack))
    numbers: Counter[str] = Counter()
    reports = []
    for stack in stacks:
        series = stack.first.identity.series
        reports.append(_report(stack, numbers[series], len(orientations[series])))
        numbers[series] += 1
    return reports


def _orientation(stack: Stack) -> tuple[float, ...]:
    geometry = stack.first.geometry
    return tuple(round(value, 4) for value in geometry.orientation) if geometry else ()


def _report(stack: Stack, number: int, orientations: int) -> StackReport:
    identity = stack.first.identity
    sizes = [] if stack.affine is None else [f"{value:.3f}" for value in spacing(stack.affine)]
    return StackReport(
        study=identity.study_name,
        series_uid=identity.series,
        stack=number,
        description=identity.description,
        plane=stack.plane.value if stack.plane else "",
        size=" x ".join(map(str, stack.shape)),
        spacing=" x ".join(sizes),
        slices=len(stack.volumes[0]),
        orientations=orientations,
        transfer_syntax=_syntax_name(stack.first.pixels.syntax),
        verdict="convertible" if stack.reason is None else stack.reason.value,
        detail=stack.detail,
    )


def _syntax_name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name


def table(report: ScanReport) -> Table:
    """The report as a table for the terminal."""
    from rich.table import Table

    columns = ("study", "description", "plane", "size", "spacing mm", "stack", "orient.", "transfer syntax", "verdict")
    shown = Table(*columns, header_style="bold", row_styles=["", "dim"])
    for stack in report.stacks:
        colour = "green" if stack.verdict == "convertible" else "red"
        verdict = f"[{colour}]{stack.verdict}[/]" + (f"\n{stack.detail}" if stack.detail else "")
        place = (str(stack.stack), str(stack.orientations))
        shown.add_row(
            stack.study[-12:],
            stack.description,
            stack.plane,
            stack.size,
            stack.spacing,
            *place,
            stack.transfer_syntax,
            verdict,
        )
    others = ", ".join(f"{count} {reason}" for reason, count in report.other_files.items())
    shown.caption = f"{counted(report.files, 'file')}" + (f"; {others}" if others else "")
    return shown


def show(report: ScanReport, as_json: bool) -> None:
    """Print a report to stdout."""
    import json
    import sys

    from rich.console import Console

    if as_json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
        return
    width = None if sys.stdout.isatty() else FILE_WIDTH
    Console(width=width).print(table(report))
