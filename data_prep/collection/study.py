"""The result of one study, stored on a shelf (a folder of the output) until all studies are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data_prep.collection.codes import Code
from data_prep.dicom import nifti
from data_prep.faults import Fault

Entry = dict[str, Any]
"""A study's entry of ``datalist.json``, without its fold."""
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
    """Do a study and store its result on the shelf: the caller's memory does not grow with what a study holds."""
    number, study = job
    result = work(study)
    nifti.write(_path(shelf, number), [json.dumps(_plain(result)).encode()])
    entry = result.entry or {}
    label = tuple(entry["label"]) if "label" in entry else None
    patient = str(entry.get("patient_id", result.study))
    return Outline(number, result.study, patient, result.section, label, result.refused, result.entry is not None)


def stored_study(shelf: Path, number: int) -> StudyResult:
    """A study's result from the shelf."""
    plain = json.loads(_path(shelf, number).read_bytes())
    faults = [
        Fault(**{**fault, "code": Code[fault["code"]], "targets": tuple(fault["targets"])})
        for fault in plain.pop("faults")
    ]
    return StudyResult(faults=faults, **plain)


def _path(shelf: Path, number: int) -> Path:
    return shelf / f"{number:07d}.json"


def _plain(result: StudyResult) -> dict[str, Any]:
    faults = [{**asdict(fault), "code": fault.code.name} for fault in result.faults]
    return {**vars(result), "faults": faults}
