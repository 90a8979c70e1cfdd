"""What became of one study, and where it waits on the disk until all are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data_prep.collection.faults import Fault, FaultKind
from data_prep.dicom import nifti

Entry = dict[str, Any]
"""A study as it stands in ``datalist.json``, but for its fold."""
Job = TypeVar("Job")

TRAINING, TEST = "training", "test"


@dataclass(frozen=True)
class StudyResult:
    """One study, done.

    Attributes
    ----------
    folder
        Where its volumes lie, relative to OUT.
    section
        ``training`` or ``test``.
    entry
        None for a study that is left out.
    rows
        Its rows of the tables of OUT, by the table's path in it.
    volumes
        All volumes that were made of it, the paths relative to OUT; more than the entry's, where some have no type.
    refused
        Whether the study or something of it was left out.
    """

    study: str
    folder: str
    section: str
    entry: Entry | None
    faults: Sequence[Fault]
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    volumes: Sequence[str] = ()
    refused: bool = False


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


def do_study(job: tuple[int, Job], work: Callable[[Job], StudyResult], shelf: Path) -> Outline:
    """Do a study and leave its result on the shelf: the caller's memory does not grow with what a study holds."""
    number, study = job
    result = work(study)
    nifti.write(_path(shelf, number), [json.dumps(_plain(result)).encode()])
    entry = result.entry or {}
    label = tuple(entry["label"]) if "label" in entry else None
    patient = str(entry.get("patient_id", result.study))
    return Outline(number, result.study, patient, result.section, label, result.refused, result.entry is not None)


def take_study(shelf: Path, number: int) -> StudyResult:
    """A study's result from the shelf."""
    plain = json.loads(_path(shelf, number).read_bytes())
    faults = [Fault(**{**fault, "kind": FaultKind(fault["kind"])}) for fault in plain.pop("faults")]
    return StudyResult(faults=faults, **plain)


def _path(shelf: Path, number: int) -> Path:
    return shelf / f"{number:07d}.json"


def _plain(result: StudyResult) -> dict[str, Any]:
    return {**vars(result), "faults": [asdict(fault) for fault in result.faults]}
