"""One study of a collection: its DICOM folder to volumes, and its result, which is kept in a file."""

import json
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data_prep import scratch
from data_prep.choices import MAX_BYTES
from data_prep.collection.codes import Code
from data_prep.dicom import nifti, sources
from data_prep.dicom.convert import plan
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.job import JobResult, Settings, run_job
from data_prep.dicom.refusals import Reason
from data_prep.dicom.sources import Source
from data_prep.dicom.tables import FileRow, frameless_row, sorted_files
from data_prep.faults import Fault
from monai_spine.errors import reason_of
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, MISSING, Finding, SeriesType

logger = logging.getLogger(__name__)

DEPTH = 3
"""Parts of a path ``<study>/<series>/<instance>.dcm``."""
Entry = dict[str, Any]
"""A study's entry of ``datalist.json``, without its fold."""
Job = TypeVar("Job")
TRAINING, TEST = "training", "test"


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
    with scratch.folder() as unpacked:
        files = find_files(images / study, study, unpacked)
        inside = [source for source in files if source.path.count("/") == DEPTH - 1]
        headers = [read_header(source, max_bytes=settings.max_bytes) for source in inside]
        results = [run_job(job, settings) for job in plan(headers, images, "folder", None)]
    rows = [row for result in results for row in result.files]
    rows += [frameless_row(header) for header in headers if not header.frames]
    strays = [source.path for source in files if source.path.count("/") != DEPTH - 1]
    rows += [FileRow(path, None, "ignored", Reason.NOT_SELECTED.value, "", None, None) for path in strays]
    manifest = sorted(row for result in results for row in result.manifest)
    return JobResult(tuple(manifest), tuple(sorted_files(rows)))


def find_files(folder: Path, name: str, unpacked: Path, max_bytes: int = MAX_BYTES) -> list[Source]:
    """All input files below a path, as `sources.find` has them, their names put under ``name``."""
    return [
        Source(f"{name}/{source.path}", source.location, source.reason, source.detail)
        for source in sources.find(folder, unpacked, max_bytes)
    ]


def make_entry(
    study: str,
    patient: str,
    volumes: Mapping[SeriesType, Sequence[str]],
    labels: Sequence[int] | None,
    points: Mapping[Finding, Array] | None,
) -> tuple[Entry | None, list[Fault]]:
    """A study's entry, and a fault for each series type that it lacks.

    It has no entry without a volume. ``volumes`` are relative to the datalist, ``points`` in RAS mm; None leaves
    labels or points out.
    """
    if not any(volumes.values()):
        return None, [Fault(Code.NO_VOLUME, "left out of the datalist", study=study)]
    entry: Entry = {"study_id": study, "patient_id": patient}
    entry |= {series_type.value: list(volumes[series_type]) for series_type in SeriesType if volumes[series_type]}
    if labels is not None:
        entry["label"] = list(labels)
    if points is not None:
        placed = [finding for finding in FINDINGS if finding in points]
        entry["points"] = {finding.name: [round(float(mm), 4) for mm in points[finding]] for finding in placed}
    absent = [series_type for series_type in SeriesType if not volumes[series_type]]
    return entry, [Fault(Code.NO_SERIES_TYPE, series_type.title, study=study) for series_type in absent]


def label_faults(study: str, labels: Sequence[int], placed: Container[Finding]) -> list[Fault]:
    """Labels without points and points without labels."""
    return [
        Fault(Code.NO_LABEL if label == MISSING else Code.NO_POINT, "", study=study, targets=(finding.name,))
        for finding, label in zip(FINDINGS, labels, strict=True)
        if (label == MISSING) == (finding in placed)
    ]


@dataclass(frozen=True)
class StudyResult:
    """One study, done."""

    study: str
    folder: str
    """Where its volumes lie, relative to OUT."""
    section: str
    """``training`` or ``test``."""
    entry: Entry | None
    """None for a study that is left out."""
    faults: Sequence[Fault]
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    """Its rows of the tables of OUT, by the table's path in it."""
    volumes: Sequence[str] = ()
    """All volumes that were made of it, the paths relative to OUT; more than the entry's, where some have no type."""
    refused: bool = False
    """Whether the study or something of it was left out."""


@dataclass(frozen=True)
class Outline:
    """What the whole collection must know of a study: enough for its fold. ``label`` is None without an entry."""

    number: int
    study: str
    patient: str
    section: str
    label: tuple[int, ...] | None
    refused: bool
    listed: bool


def failed_study(study: str, folder: str, section: str, error: Exception) -> StudyResult:
    """A study that failed in any way: it is left out with the reason, and the others go on.

    Raises
    ------
    OutputError, OSError, MemoryError
        If the machine failed, not the study.
    """
    reason = reason_of(error)
    logger.debug("study %s failed", study, exc_info=error)
    fault = Fault(Code.STUDY_FAILED, reason, study=study)
    return StudyResult(study, folder, section, entry=None, faults=[fault], refused=True)


def do_study(job: tuple[int, Job], work: Callable[[Job], StudyResult], results: Path) -> Outline:
    """Do a study and store its result in the folder: the caller's memory does not grow with what a study holds."""
    number, study = job
    result = work(study)
    faults = [{**asdict(fault), "code": fault.code.name} for fault in result.faults]
    nifti.write(_path(results, number), [json.dumps({**vars(result), "faults": faults}).encode()])
    entry = result.entry or {}
    label = tuple(entry["label"]) if "label" in entry else None
    patient = str(entry.get("patient_id", result.study))
    return Outline(number, result.study, patient, result.section, label, result.refused, result.entry is not None)


def stored_study(results: Path, number: int) -> StudyResult:
    """A study's result from the folder of results."""
    plain = json.loads(_path(results, number).read_bytes())
    faults = [
        Fault(**{**fault, "code": Code[fault["code"]], "targets": tuple(fault["targets"])})
        for fault in plain.pop("faults")
    ]
    return StudyResult(faults=faults, **plain)


def _path(results: Path, number: int) -> Path:
    return results / f"{number:07d}.json"
