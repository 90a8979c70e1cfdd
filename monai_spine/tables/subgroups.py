"""Figures of subgroups of studies, such as those of one scanner, beside those of all other studies.

The intervals are from the replicates of the whole table: patients are drawn, and of the drawn ones those of the group
count. The difference to the other studies is that of the same replicates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.csv_cells import read_text_table
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, counted, listed
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import LOWEST, confusions, figure_values
from monai_spine.scoring.patient_resampling import Estimate, difference, estimate, score_estimate, score_replicates
from monai_spine.spine import MISSING, Grade
from monai_spine.tables.out_of_fold import OutOfFold

LEAST_PATIENTS, LEAST_SEVERE = 10, 5
"""With fewer patients or severe labels, in the group or among the others, figures say nothing, and none is given."""
UNKNOWN = "unknown"
"""The group of studies whose cell is empty, or which the table lacks."""
_MOST_GROUPS = 12
_SHOWN = ("score", "auc_severe", "kappa_quadratic", "sensitivity_severe", "specificity_severe", "ece_severe")


@dataclass(frozen=True)
class Subgroup:
    """The figures of a group of studies, and how much they differ from those of all other studies."""

    column: str
    name: str
    studies: int
    patients: int
    rows: int
    """Labelled findings."""
    severe: int
    """Severe labels."""
    too_few: str = ""
    """Why there are no figures; empty if there are."""
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {name: getattr(self, name) for name in ("studies", "patients", "rows", "severe")}
        return {
            **counts,
            "too_few": self.too_few or None,
            "figures": {name: one.as_dict() for name, one in self.figures.items()},
            "against_others": {name: one.as_dict() for name, one in self.differences.items()},
        }


def read_groups(path: Path, columns: Sequence[str], study_ids: Sequence[str]) -> dict[str, list[str]]:
    """For each column of a table, the group of each study.

    ``columns``: names, or ``NAME:50,65`` for a column of numbers that is cut at these:
    ``< 50``, ``50 to 65``, ``>= 65``.

    Raises `MissingInputError` or `InvalidTableError` if the file or a column is missing, a study occurs twice, none of
    the studies is in it, or a cell is no number.
    Raises `InvalidOptionError` if a column is named twice or has more than 12 groups, or its edges are not rising
    numbers.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a table with study_id and the columns of --by, but there is no file {path}")
    table = read_text_table(path)
    names = [column.partition(":")[0] for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidOptionError(f"expected each column once, but found --by {listed(twice)} more than once")
    absent = [name for name in ("study_id", *names) if name not in table.columns]
    if absent:
        raise InvalidTableError(
            f"{path}: expected the columns {listed(absent)}, but found {listed(list(table.columns))}"
        )
    ids = table["study_id"].tolist()
    if len(set(ids)) < len(ids):
        raise InvalidTableError(f"{path}: expected each study once")
    if not set(ids) & set(study_ids):
        raise InvalidTableError(f"{path} holds none of the studies; its ids begin with {listed(ids, shown=2)}")
    groups = {}
    for column, name in zip(columns, names, strict=True):
        cells = dict(zip(ids, table[name].tolist(), strict=True))
        own = [cells.get(study, "").strip() for study in study_ids]
        edges = _edges(column)
        groups[name] = [_in_words(cell, edges, path, name) if cell else UNKNOWN for cell in own]
        if len(set(groups[name])) > _MOST_GROUPS:
            raise InvalidOptionError(
                f"--by {name} makes {counted(len(set(groups[name])), 'group')}, more than {_MOST_GROUPS}; cut numbers, "
                f"as in --by {name}:50,65"
            )
    return groups


def measure_subgroups(
    table: OutOfFold, by: Mapping[str, Sequence[str]], natural: Floats, decided: Ints, counts: Floats
) -> list[Subgroup]:
    """The figures of every group of every column.

    ``by``: for each column the group of each study.
    ``natural``, ``decided``: ``(studies, 25, 3)`` and ``(studies, 25)``.
    ``counts``: of `patient_counts` for the whole table.
    """
    subgroups = []
    for column, groups in by.items():
        for name in sorted(set(groups), key=_order):
            inside = np.array([group == name for group in groups])
            subgroups.append(_measured(column, name, table, (natural, decided, counts), inside))
    return subgroups


def subgroups_text(subgroups: Sequence[Subgroup]) -> list[str]:
    """Lines of a table for people: counts, and figures with their differences to all other studies."""
    lines = []
    for column in dict.fromkeys(one.column for one in subgroups):
        lines.append(f"by {column}; in brackets intervals by patient, after the stroke the difference to all others")
        for one in subgroups:
            if one.column != column:
                continue
            counts = f"{one.studies} studies of {one.patients} patients, {one.rows} labels, {one.severe} severe"
            lines.append(f"  {one.name}: {counts}" + (f"; too few: {one.too_few}" if one.too_few else ""))
            for name in _SHOWN if one.figures else ():
                gap = one.differences[name]
                sign = f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" if np.isfinite(gap.value) else "–"
                lines.append(f"    {name:24}{one.figures[name]!s:>24} / {sign}")
    return lines


def _measured(
    column: str, name: str, table: OutOfFold, arrays: tuple[Floats, Ints, Floats], inside: np.ndarray
) -> Subgroup:
    labels = table.grades[inside]
    group = Subgroup(
        column=column,
        name=name,
        studies=int(inside.sum()),
        patients=len(_patients(table, inside)),
        rows=int((labels != MISSING).sum()),
        severe=int((labels == Grade.SEVERE).sum()),
    )
    why = _too_few(table, inside, "in the group") or _too_few(table, ~inside, "among the others")
    if why:
        return replace(group, too_few=why)
    own, others = (_values(table, arrays, which) for which in (inside, ~inside))
    figures = {
        figure: score_estimate(values) if figure == "score" else estimate(values, LOWEST.get(figure, 0.0))
        for figure, values in own.items()
    }
    gaps = {figure: difference(values, others[figure]) for figure, values in own.items()}
    return replace(group, figures=figures, differences=gaps)


def _too_few(table: OutOfFold, which: np.ndarray, where: str) -> str:
    patients, severe = len(_patients(table, which)), int((table.grades[which] == Grade.SEVERE).sum())
    if patients < LEAST_PATIENTS:
        return f"{patients} of at least {LEAST_PATIENTS} patients {where}"
    return f"{severe} of at least {LEAST_SEVERE} severe labels {where}" if severe < LEAST_SEVERE else ""


def _patients(table: OutOfFold, which: np.ndarray) -> set[str]:
    return {table.patients[n] for n in np.flatnonzero(which)}


def _values(table: OutOfFold, arrays: tuple[Floats, Ints, Floats], which: np.ndarray) -> dict[str, Floats]:
    natural, decided, counts = arrays
    labels, own = table.grades[which], counts[:, which]
    values = dict(figure_values(labels, natural[which], confusions(labels, decided[which], own), own))
    return {"score": score_replicates(labels, table.probabilities[0][which], own)["score"], **values}


def _edges(column: str) -> list[float]:
    _, sign, text = column.partition(":")
    try:
        edges = [float(edge) for edge in text.split(",")] if sign else []
    except ValueError as err:
        raise InvalidOptionError(f"expected --by NAME or NAME:50,65, but found {column!r}") from err
    if edges != sorted(set(edges)) or not all(map(math.isfinite, edges)):
        raise InvalidOptionError(f"expected rising numbers in --by {column}")
    return edges


def _in_words(cell: str, edges: Sequence[float], path: Path, name: str) -> str:
    """The group of a cell: itself, or the range that its number lies in."""
    if not edges:
        return cell
    try:
        number = float(cell)
    except ValueError as err:
        raise InvalidTableError(f"{path}: expected numbers in the column {name}, but found {cell!r}") from err
    if math.isnan(number):
        return UNKNOWN
    place = int(np.searchsorted(edges, number, side="right"))
    if place == 0:
        return f"< {edges[0]:g}"
    return f">= {edges[-1]:g}" if place == len(edges) else f"{edges[place - 1]:g} to {edges[place]:g}"


def _order(name: str) -> tuple[bool, float, str]:
    """Ranges by their numbers, other groups by name, unknown ones last."""
    number = name.removeprefix(">=").removeprefix("<").split(" to ")[0].strip()
    try:
        value = float(number) - name.startswith("<") / 2
    except ValueError:
        value = 0.0
    return name == UNKNOWN, value, name
