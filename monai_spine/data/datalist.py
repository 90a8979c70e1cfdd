"""``datalist.json``: the volumes, labels and points of each study, read with all checks.

The border between `data_prep`, which writes the file, and everything that reads studies. A record is a plain
dictionary, as MONAI's dictionary transforms take it::

    {"study_id": "1000000017", "patient_id": "1000000017", "fold": 0,
     "sagittal_t1": ["/abs/a.nii.gz"], "sagittal_t2": ["/abs/b.nii.gz"],
     "axial_t2": ["/abs/c.nii.gz", "/abs/c_1.nii.gz"],
     "label": array (25,), "soft_label": array (25, 3), "points": {"spinal_canal_stenosis_l1_l2": (12.1, -30.5, 88.0)}}

Paths in the file are relative to it; records hold absolute ones. Points are RAS millimetres. A series type that the
study lacks has an empty list, and a finding that nobody graded has the label `MISSING`. Soft labels
are probabilities of the grades at natural prevalence; those of a finding without any are 0.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.volume_names import STUDY_FOLDER, common_folder
from monai_spine.errors import InvalidTableError, MissingInputError, counted, listed
from monai_spine.files import read_json
from monai_spine.spine import MISSING, TARGETS, Grade, SeriesType

logger = logging.getLogger(__name__)

SCHEMA = "monai_spine/datalist/1"

Record = dict[str, Any]

_SUM_TOLERANCE = 0.01
"""How far the sum of a soft label may lie from 1, so that numbers rounded to two decimals pass."""

_STUDY_WORDS = ("study", "studies", "patient", "patient_id")
"""What messages call a record, several, and a group that must stay in one fold; and the key of the group."""


def read_datalist(path: str | Path, section: str = "training") -> list[Record]:
    """Read and check one section of a datalist. Studies without any volume are left out with a warning.

    All faults of the file are collected before an error is raised; the message names the first few.

    Raises
    ------
    MissingInputError
        If the datalist, or a volume that it names, does not exist.
    InvalidTableError
        If it is not JSON or has another schema, a study breaks the format or appears twice, a patient appears in two
        folds, or no study has a volume.
    """
    path = Path(path)
    content = read_content(path)
    entries = content.get(section)
    if not isinstance(entries, list) or not entries:
        filled = [name for name in ("training", "test") if content.get(name)]
        raise InvalidTableError(
            f"{path}: expected studies under {section!r}, but found none; it holds {filled or 'nothing'}"
        )
    faults = [fault for n, entry in enumerate(entries) for fault in entry_faults(entry, n)]
    raise_faults(InvalidTableError, path, faults or leaks(entries))
    records = [record_of(entry, path.parent) for entry in entries]
    absent = [
        f"study {r['study_id']}: there is no {file}" for r in records for file in volumes(r) if not Path(file).is_file()
    ]
    raise_faults(MissingInputError, path, absent)
    return _with_series(path, records)


def check_no_leak(entries: Iterable[Record]) -> None:
    """Make sure that every study appears once, and every patient in one fold only.

    Parameters
    ----------
    entries
        Entries of a datalist's training section, or records of `read_datalist`.

    Raises
    ------
    InvalidTableError
        If a study or a patient does not; the message names them.
    """
    if faults := leaks(entries):
        raise InvalidTableError(listed(faults, separator="; "))


def leaks(entries: Iterable[Record]) -> list[str]:
    """A sentence for each study that appears twice, and for each patient in more than one fold."""
    entries = list(entries)
    faults = [f"study {study} appears twice" for study in _repeated(str(_get(e, "study_id")) for e in entries)]
    folds: dict[str, set[int]] = {}
    for entry in entries:
        if entry.get("fold") is not None:
            # Without patient_id, each study counts as a patient of its own.
            folds.setdefault(str(entry.get("patient_id", entry["study_id"])), set()).add(entry["fold"])
    return faults + [
        f"patient {patient} has studies in the folds {', '.join(map(str, sorted(numbers)))}; "
        "give all studies of a patient the same fold"
        for patient, numbers in folds.items()
        if len(numbers) > 1
    ]


def volumes(record: Record) -> list[str]:
    """All volumes of a record, in the order of `SeriesType`."""
    return [file for series_type in SeriesType for file in record[series_type.value]]


def split_folds(records: Sequence[Record], fold: int) -> tuple[list[Record], list[Record]]:
    """Studies or single images to train on, and those of the fold to validate on.

    A study without a fold that has soft labels and no label cannot validate: it is trained on in every fold, unless its
    patient is validated on.

    Raises `InvalidTableError` if another record has no fold, one of the two parts would be empty, or a patient, or a
    group of images, would be in both.
    """
    of_images = bool(records) and "image" in records[0]
    item, items, group, key = ("image", "images", "group", "group") if of_images else _STUDY_WORDS
    additional = [] if of_images else [record for record in records if _is_additional(record)]
    folded = records if not additional else [record for record in records if not _is_additional(record)]
    lacking = [str(r["image"][0] if of_images else r["study_id"]) for r in folded if r["fold"] is None]
    if lacking:
        raise InvalidTableError(f"expected a fold for every {item}, but {listed(lacking)} have none")
    training = [record for record in folded if record["fold"] != fold]
    validation = [record for record in folded if record["fold"] == fold]
    if not training or not validation:
        folds = sorted({record["fold"] for record in folded})
        raise InvalidTableError(f"expected {items} inside and outside of fold {fold}, but the folds are {folds}")
    shared = sorted({record[key] for record in training} & {record[key] for record in validation})
    if shared:
        raise InvalidTableError(
            f"{counted(len(shared), group)} with {items} both in fold {fold} and outside of it: {listed(shared)}; "
            f"give all {items} of a {group} the same fold"
        )
    validated = {record[key] for record in validation}
    return training + [record for record in additional if record[key] not in validated], validation


def _is_additional(record: Record) -> bool:
    """Whether a study has soft labels alone, and no fold."""
    soft = record.get("soft_label")
    return bool(record["fold"] is None and soft is not None and np.any(soft) and np.all(record["label"] == MISSING))


def check_labels(
    training: Sequence[Record], validation: Sequence[Record], conditions: Sequence[str] | None = None
) -> None:
    """Make sure that there are labels to train on and labels to validate on.

    Parameters
    ----------
    conditions
        Conditions whose labels count; None for all.

    Raises
    ------
    InvalidTableError
        If no study to train on, or none to validate on, has a label.
    """
    asked = [n for n, target in enumerate(TARGETS) if conditions is None or target.startswith(tuple(conditions))]
    for records, purpose in ((training, "train on"), (validation, "validate on")):
        if not (label_array(records)[:, asked] != MISSING).any():
            of = "" if conditions is None else f" of {listed(list(conditions))}"
            raise InvalidTableError(
                f"expected labels{of}, but none of the {counted(len(records), 'study')} to {purpose} has any; "
                "take another fold, or grade some of them in the datalist"
            )


def label_array(records: Sequence[Record]) -> np.ndarray:
    """Labels of the records, ``(studies, 25)`` int64."""
    return np.stack([record["label"] for record in records])


def read_content(path: Path) -> dict[str, Any]:
    """The JSON object of a datalist. Its schema and targets are checked, its studies are not.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if it is not JSON, has another schema, or names other targets.
    """
    content = read_schema(path, "a datalist", "rsna")
    if "classes" in content:
        raise InvalidTableError(f"{path}: expected a datalist of studies, but found one of images for classification")
    if content.get("targets") != list(TARGETS):
        raise InvalidTableError(f"{path}: expected the 25 targets {TARGETS[0]} … {TARGETS[-1]} in train.csv's order")
    return content


def read_schema(path: Path, what: str, command: str) -> dict[str, Any]:
    """The JSON object of a file with the schema `SCHEMA`; messages say ``what`` it is, and which command writes it.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if it is not JSON, or has another schema.
    """
    if not path.is_file():
        raise MissingInputError(
            f"expected {what}, but there is no file {path}; `python -m data_prep {command}` writes one"
        )
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise InvalidTableError(f"{path}: expected the schema {SCHEMA!r}, but found {schema!r}")
    return dict(content)


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def entry_faults(entry: Any, n: int) -> list[str]:
    """A sentence for each way in which the ``n``-th entry of a section breaks the format; paths are not opened."""
    if not isinstance(entry, dict) or not isinstance(entry.get("study_id"), str) or not entry["study_id"]:
        return [f"entry {n}: expected an object with a study_id as a string"]
    name = f"study {entry['study_id']}"
    faults = [f"{name}: expected {key} as a list of paths" for key in _bad_series(entry)]
    if "label" in entry and not _is_label(entry["label"]):
        faults.append(f"{name}: expected label as {len(TARGETS)} numbers out of 0, 1, 2, {MISSING}")
    if entry.get("soft_label") is not None and not _is_soft_label(entry["soft_label"]):
        faults.append(
            f"{name}: expected soft_label as {len(Grade)} probabilities for each of {len(TARGETS)} targets, or null"
        )
    if entry.get("fold") is not None and not is_integer(entry["fold"]):
        faults.append(f"{name}: expected fold as an integer, but found {entry['fold']!r}")
    if not _are_points(entry.get("points", {})):
        faults.append(f"{name}: expected points as {{target: [x, y, z]}} in RAS mm")
    return faults


def has_series(entry: Record) -> bool:
    """Whether an entry or a record names any volume."""
    return any(entry.get(series_type.value) for series_type in SeriesType)


def _with_series(path: Path, records: Sequence[Record]) -> list[Record]:
    lacking = [record["study_id"] for record in records if not has_series(record)]
    if len(lacking) == len(records):
        raise InvalidTableError(f"{path}: expected volumes, but none of {counted(len(records), 'study')} has any")
    if lacking:
        logger.warning("%s: left out %s without any volume: %s", path, counted(len(lacking), "study"), listed(lacking))
    return [record for record in records if has_series(record)]


def _bad_series(entry: Record) -> list[str]:
    def good(files: Any) -> bool:
        return isinstance(files, list) and all(isinstance(file, str) and file for file in files)

    return [series_type.value for series_type in SeriesType if not good(entry.get(series_type.value, []))]


def is_integer(value: Any) -> bool:
    """Whether a JSON value is a whole number; true and false, which Python counts as integers, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_label(label: Any) -> bool:
    known = {MISSING, *Grade}
    return isinstance(label, list) and len(label) == len(TARGETS) and all(is_integer(g) and g in known for g in label)


def _is_soft_label(rows: Any) -> bool:
    return isinstance(rows, list) and len(rows) == len(TARGETS) and all(row is None or _are_shares(row) for row in rows)


def _are_shares(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == len(Grade)
        and all(isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1 for p in row)
        and abs(sum(row) - 1) <= _SUM_TOLERANCE
    )


def _are_points(points: Any) -> bool:
    return isinstance(points, dict) and all(
        target in TARGETS
        and isinstance(point, list)
        and len(point) == 3
        and all(isinstance(c, int | float) and math.isfinite(c) for c in point)
        for target, point in points.items()
    )


def record_of(entry: Record, folder: Path) -> Record:
    """The record of an entry without faults (`entry_faults`) of a datalist in a folder."""
    study_id = entry["study_id"]
    files = {
        series_type.value: [str(folder / file) for file in entry.get(series_type.value, [])]
        for series_type in SeriesType
    }
    return {
        "study_id": study_id,
        "patient_id": str(entry.get("patient_id", study_id)),
        "fold": entry.get("fold"),
        **files,
        STUDY_FOLDER: common_folder(file for group in files.values() for file in group),
        "label": np.asarray(entry.get("label", [MISSING] * len(TARGETS)), dtype=np.int64),
        "soft_label": _soft_label(entry.get("soft_label")),
        "points": {target: tuple(map(float, point)) for target, point in entry.get("points", {}).items()},
    }


def _soft_label(rows: list[list[float] | None] | None) -> np.ndarray:
    """Shares ``(25, 3)`` of the grades; 0 where there are none."""
    shares = np.array([row or [0.0] * len(Grade) for row in rows or [None] * len(TARGETS)], dtype=np.float32)
    totals = shares.sum(axis=1, keepdims=True)
    return shares / np.where(totals > 0, totals, 1.0)


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def raise_faults(error: type[Exception], path: Path, faults: Sequence[str]) -> None:
    """Raise one error that lists the first few faults of a file, if there are any."""
    if faults:
        raise error(f"{path}: {listed(faults, separator='; ')}")
