"""Suspects: labels that out-of-fold probabilities contradict, their order, and a datalist without them.

A label is suspect if the out-of-fold probabilities at natural prevalence are further from it than a threshold. The
distance is the largest ``|p - y|`` over the grades, which is one minus the probability of the label. Suspects are
sorted by the expected number of grades between the label and the truth.

This was decided on simulated models of 2,000 phantom studies with reader noise (``benchmarks/simulated_models.py``), in
which 12.8 % of the labels are not the true grade and .4 % are off by two grades. Average precision for any wrong label,
and for labels off by two: .83 and .40 for one minus the probability of the label; .82 and .77 for the expected
distance; .63 and .23 for self-confidence against the mean of its grade (confident learning); .77 and .41 for one minus
the probability of the label without removing the 1, 2, 4 tilt.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import entry_faults, read_content
from monai_spine.errors import InvalidTableError, counted, listed
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Finding, Grade, Group, SeriesType, columns_of

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""The thresholds of the table that helps to choose one."""


@dataclass(frozen=True)
class Suspect:
    """A suspect label."""

    study_id: str
    finding: Finding
    label: Grade
    probabilities: tuple[float, ...]
    """Of the three grades, at natural prevalence."""
    error: float
    """One minus the probability of the label."""
    distance: float
    """Expected number of grades between the label and the truth."""

    @property
    def likeliest(self) -> Grade:
        """The most probable grade."""
        return Grade(int(np.argmax(self.probabilities)))


@dataclass(frozen=True)
class ThresholdRow:
    """What a threshold flags."""

    threshold: float
    flagged: int
    share: float
    """``flagged``, ``share``: how many labels, and which share of all labels."""
    of_group: dict[Group, float]
    """The share of the labels of each group that has any."""
    studies: int
    """How many studies have a flagged label."""


def label_errors(grades: Ints, natural: Floats) -> Floats:
    """One minus the probability of the label, ``(studies, 25)``; 0 where there is no label.

    ``grades``, ``natural``: ``(studies, 25)`` and ``(studies, 25, 3)``.
    """
    known = grades != MISSING
    of_label = np.take_along_axis(natural, np.where(known, grades, 0)[..., None], axis=-1)[..., 0]
    return np.where(known, 1 - of_label, 0.0)


def expected_distances(grades: Ints, natural: Floats) -> Floats:
    """Expected number of grades between label and truth, ``(studies, 25)``; 0 where there is no label."""
    away = np.abs(np.arange(len(Grade)) - grades[..., None])
    return np.where(grades != MISSING, (natural * away).sum(axis=-1), 0.0)


def find_suspects(study_ids: Sequence[str], grades: Ints, natural: Floats, threshold: float) -> list[Suspect]:
    """Labels whose error is above the threshold, the most suspicious first."""
    errors, distances = label_errors(grades, natural), expected_distances(grades, natural)
    flagged = [
        Suspect(
            study_ids[study],
            FINDINGS[finding],
            Grade(int(grades[study, finding])),
            tuple(natural[study, finding].tolist()),
            float(errors[study, finding]),
            float(distances[study, finding]),
        )
        for study, finding in np.argwhere(errors > threshold)
    ]
    # The ids at the end make the order the same on every run.
    return sorted(flagged, key=lambda one: (-one.distance, one.study_id, one.finding.name))


def threshold_table(grades: Ints, natural: Floats) -> list[ThresholdRow]:
    """What each of `THRESHOLDS` would flag."""
    errors, known = label_errors(grades, natural), grades != MISSING
    return [_row(errors > threshold, known, threshold) for threshold in THRESHOLDS]


def _row(flagged: np.ndarray, known: np.ndarray, threshold: float) -> ThresholdRow:
    def share(columns: list[int]) -> float:
        return float(flagged[:, columns].sum() / max(1, known[:, columns].sum()))

    return ThresholdRow(
        threshold=threshold,
        flagged=int(flagged.sum()),
        share=share(list(range(len(FINDINGS)))),
        of_group={group: share(own) for group in Group if known[:, own := columns_of(group)].any()},
        studies=int(flagged.any(axis=1).sum()),
    )


Entry = dict[str, Any]


def read_entries(datalist: Path) -> dict[str, Entry]:
    """The entries of a datalist by their studies, unchanged.

    Raises `MissingInputError` or `InvalidTableError` if the file does not exist or has another form.
    """
    content = read_content(datalist)
    entries = [entry for section in ("training", "test") for entry in content.get(section) or ()]
    faults = [fault for n, entry in enumerate(entries) for fault in entry_faults(entry, n)]
    if faults:
        raise InvalidTableError(f"{datalist}: {listed(faults, separator='; ')}")
    return {entry["study_id"]: entry for entry in entries}


def check_same_labels(datalist: Path, entries: dict[str, Entry], suspects: Sequence[Suspect]) -> None:
    """Make sure that a datalist belongs to the solution: that it has the suspect labels.

    Raises `InvalidTableError` if it lacks studies, or has other labels.
    """
    absent = sorted({one.study_id for one in suspects} - set(entries))
    if absent:
        raise InvalidTableError(
            f"{datalist} lacks {counted(len(absent), 'study')} with suspect labels: {listed(absent)}"
        )
    other = [one for one in suspects if _label(entries[one.study_id], one) != one.label]
    if other:
        names = [one.finding.row_id(one.study_id) for one in other]
        raise InvalidTableError(
            f"{datalist} has other labels than the solution for {counted(len(names), 'finding')}: {listed(names)}; "
            "give the datalist that was made from this solution"
        )


def cleaned_datalist(datalist: Path, suspects: Sequence[Suspect], folder: Path, drop_studies: int | None) -> Entry:
    """The content of a cleaned datalist that will be written into ``folder``; its paths are relative to that folder.

    ``suspects``: labels that become `MISSING`.
    ``drop_studies``: instead, leave out studies with at least so many suspect labels, and keep all labels of the
    others.
    """
    content = read_content(datalist)
    suspect_columns: dict[str, list[int]] = {}
    for one in suspects:
        suspect_columns.setdefault(one.study_id, []).append(TARGETS.index(one.finding.name))
    count = Counter({study: len(columns) for study, columns in suspect_columns.items()})
    for section in ("training", "test"):
        entries = [_moved(entry, datalist.parent, folder) for entry in content.get(section) or ()]
        if drop_studies is None:
            for entry in entries:
                for column in suspect_columns.get(entry["study_id"], ()):
                    entry["label"][column] = MISSING
        else:
            entries = [entry for entry in entries if count[entry["study_id"]] < drop_studies]
        # Other keys of the datalist stay as they are.
        content[section] = entries
    return content


def _label(entry: Entry, one: Suspect) -> int:
    label = entry.get("label")
    return int(label[TARGETS.index(one.finding.name)]) if label else MISSING


def _moved(entry: Entry, origin: Path, folder: Path) -> Entry:
    series: Entry = {
        series_type.value: [os.path.relpath(origin / file, folder) for file in entry[series_type.value]]
        for series_type in SeriesType
        if series_type.value in entry
    }
    return {**entry, **series}
