"""One study's DICOM folder to volumes, in one process: what a collection is converted by, a study at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

from data_prep.choices import MAX_BYTES
from data_prep.dicom import sources
from data_prep.dicom.convert import plan
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.job import JobResult, Settings, run_job
from data_prep.dicom.refusals import Reason
from data_prep.dicom.sources import Source
from data_prep.dicom.tables import FileRow, frameless_row, sorted_files

DEPTH = 3
"""Parts of a path ``<study>/<series>/<instance>.dcm``."""


def convert_study(images: Path, study: str, settings: Settings) -> JobResult:
    """Convert ``images/<study>/<series>/*.dcm`` to ``<study>/<series>[_<n>]`` under the settings' output.

    Files elsewhere in the study's folder are not read, and their rows say ``ignored``. A study without a folder has no
    rows.

    Returns
    -------
    Rows of ``manifest.csv``, and of ``files.csv`` with paths relative to ``images``.
    """
    if not (images / study).is_dir():
        return JobResult((), ())
    with tempfile.TemporaryDirectory(prefix="monai-spine-") as scratch:
        found = find_files(images / study, study, Path(scratch))
        inside = [source for source in found if source.path.count("/") == DEPTH - 1]
        headers = [read_header(source, max_bytes=settings.max_bytes) for source in inside]
        results = [run_job(job, settings) for job in plan(headers, images, "folder", None)]
    files = [row for result in results for row in result.files]
    files += [frameless_row(header) for header in headers if not header.frames]
    files += [_stray(source) for source in found if source.path.count("/") != DEPTH - 1]
    manifest = sorted(row for result in results for row in result.manifest)
    return JobResult(tuple(manifest), tuple(sorted_files(files)))


def find_files(folder: Path, name: str, scratch: Path, max_bytes: int = MAX_BYTES) -> list[Source]:
    """All input files below a path, as `sources.find` has them, their names put under ``name``."""
    return [
        Source(f"{name}/{source.path}", source.location, source.reason, source.detail)
        for source in sources.find(folder, scratch, max_bytes)
    ]


def _stray(source: Source) -> FileRow:
    return FileRow(source.path, None, "ignored", Reason.NOT_SELECTED.value, "", None, None)
