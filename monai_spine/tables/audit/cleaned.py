"""A datalist without the labels, or the studies, that an audit doubts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import entry_faults, read_content
from monai_spine.errors import InvalidTableError, listed
from monai_spine.spine import MISSING, TARGETS, SeriesType
from monai_spine.tables.audit.suspicion import Suspect

Entry = dict[str, Any]


def read_entries(datalist: Path) -> dict[str, Entry]:
    """The entries of a datalist by study, as they stand in the file.

    Raises
    ------
    MissingInputError, InvalidTableError
        If it is not there or breaks the format.
    """
    content = read_content(datalist)
    entries = [entry for section in ("training", "test") for entry in content.get(section) or ()]
    faults = [fault for n, entry in enumerate(entries) for fault in entry_faults(entry, n)]
    if faults:
        raise InvalidTableError(f"{datalist}: {listed(faults, separator='; ')}")
    return {entry["study_id"]: entry for entry in entries}


def check_same_labels(datalist: Path, entries: dict[str, Entry], found: Sequence[Suspect]) -> None:
    """Make sure that a datalist has the labels that are doubted.

    Raises
    ------
    InvalidTableError
        If it lacks studies, or has other labels: it does not belong to the solution then.
    """
    absent = sorted({one.study_id for one in found} - set(entries))
    if absent:
        raise InvalidTableError(f"{datalist} lacks {len(absent)} studies with suspicious labels: {listed(absent)}")
    other = [one for one in found if _label(entries[one.study_id], one) != one.label]
    if other:
        names = [one.finding.row_id(one.study_id) for one in other]
        raise InvalidTableError(
            f"{datalist} has other labels than the solution for {len(names)} findings: {listed(names)}; "
            "give the datalist that was made from this solution"
        )


def cleaned(datalist: Path, found: Sequence[Suspect], folder: Path, drop_studies: int | None = None) -> Entry:
    """The content of a cleaned datalist to be written into ``folder``; paths are made relative to that.

    Parameters
    ----------
    found
        Labels that become `MISSING`.
    drop_studies
        Leave out studies with at least so many of them, and keep all labels of the others.
    """
    content = read_content(datalist)
    doubted: dict[str, list[int]] = {}
    for one in found:
        doubted.setdefault(one.study_id, []).append(TARGETS.index(one.finding.name))
    count = Counter({study: len(columns) for study, columns in doubted.items()})
    for section in ("training", "test"):
        entries = [_moved(entry, datalist.parent, folder) for entry in content.get(section) or ()]
        if drop_studies is None:
            entries = [_blanked(entry, doubted.get(entry["study_id"], [])) for entry in entries]
        else:
            entries = [entry for entry in entries if count[entry["study_id"]] < drop_studies]
        content[section] = entries
    return content


def _label(entry: Entry, one: Suspect) -> int:
    label = entry.get("label")
    return int(label[TARGETS.index(one.finding.name)]) if label else MISSING


def _blanked(entry: Entry, columns: Sequence[int]) -> Entry:
    if not columns:
        return entry
    return {**entry, "label": [MISSING if n in columns else grade for n, grade in enumerate(entry["label"])]}


def _moved(entry: Entry, origin: Path, folder: Path) -> Entry:
    series: Entry = {
        kind.value: [os.path.relpath(origin / file, folder) for file in entry[kind.value]]
        for kind in SeriesType
        if kind.value in entry
    }
    return {**entry, **series}
