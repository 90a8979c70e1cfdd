"""A datalist without suspect labels, or without the studies that have many of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import entry_faults, read_content
from monai_spine.errors import InvalidTableError, listed
from monai_spine.spine import MISSING, TARGETS, SeriesType
from monai_spine.tables.audit.suspects import Suspect

Entry = dict[str, Any]


def read_entries(datalist: Path) -> dict[str, Entry]:
    """The entries of a datalist by study, as the file has them.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the file does not exist or has another form.
    """
    content = read_content(datalist)
    entries = [entry for section in ("training", "test") for entry in content.get(section) or ()]
    faults = [fault for n, entry in enumerate(entries) for fault in entry_faults(entry, n)]
    if faults:
        raise InvalidTableError(f"{datalist}: {listed(faults, separator='; ')}")
    return {entry["study_id"]: entry for entry in entries}


def check_same_labels(datalist: Path, entries: dict[str, Entry], suspects: Sequence[Suspect]) -> None:
    """Make sure that a datalist belongs to the solution: that it has the suspect labels.

    Raises
    ------
    InvalidTableError
        If it lacks studies, or has other labels.
    """
    absent = sorted({one.study_id for one in suspects} - set(entries))
    if absent:
        raise InvalidTableError(f"{datalist} lacks {len(absent)} studies with suspect labels: {listed(absent)}")
    other = [one for one in suspects if _label(entries[one.study_id], one) != one.label]
    if other:
        names = [one.finding.row_id(one.study_id) for one in other]
        raise InvalidTableError(
            f"{datalist} has other labels than the solution for {len(names)} findings: {listed(names)}; "
            "give the datalist that was made from this solution"
        )


def cleaned_datalist(datalist: Path, suspects: Sequence[Suspect], folder: Path, drop_studies: int | None) -> Entry:
    """The content of a cleaned datalist that will be written into ``folder``; its paths are relative to that folder.

    Parameters
    ----------
    suspects
        Labels that become `MISSING`.
    drop_studies
        Instead, leave out studies with at least so many suspect labels, and keep all labels of the others.
    """
    content = read_content(datalist)
    suspect_columns: dict[str, list[int]] = {}
    for one in suspects:
        suspect_columns.setdefault(one.study_id, []).append(TARGETS.index(one.finding.name))
    count = Counter({study: len(columns) for study, columns in suspect_columns.items()})
    for section in ("training", "test"):
        entries = [_moved(entry, datalist.parent, folder) for entry in content.get(section) or ()]
        if drop_studies is None:
            entries = [_blanked(entry, suspect_columns.get(entry["study_id"], [])) for entry in entries]
        else:
            entries = [entry for entry in entries if count[entry["study_id"]] < drop_studies]
        # Other keys of the datalist stay as they are.
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
        series_type.value: [os.path.relpath(origin / file, folder) for file in entry[series_type.value]]
        for series_type in SeriesType
        if series_type.value in entry
    }
    return {**entry, **series}
