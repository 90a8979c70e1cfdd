"""The floor: the best score that anyone can expect, on a phantom cohort, whose labels' probabilities are known.

A phantom cohort writes it beside its labels (``floor.json``), with the probability of every label (``truth.csv``).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import read_json
from monai_spine.scoring.competition import WEIGHTS, Score, competition_score
from monai_spine.scoring.submission import Labels, read_table
from monai_spine.spine import FINDINGS, Grade

_INDEX = {(finding.condition.value, finding.level.value): n for n, finding in enumerate(FINDINGS)}
_COLUMNS = ["study_id", "condition", "level", *(grade.column for grade in Grade)]


def share_of_way(score: float, prior: float, floor: float) -> float:
    """The share of the way from the prior's score (0) to the floor (1) that a score has come.

    Below 0, the score is worse than the prior's; above 1, the labels that were drawn are luckier than expected.
    """
    return (prior - score) / (prior - floor)


def read_floor(path: Path, solution: Labels) -> Score:
    """The floor of a solution's labels.

    ``path``: a ``floor.json``, which holds for all studies of its cohort together, or a ``truth.csv``, from which the
    floor of any part of the cohort is computed.
    Raises `MissingInputError` or `InvalidTableError` if the file does not exist, has another form, or belongs to other
    studies.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a floor.json or truth.csv, but there is no file {path}")
    return _from_truth(path, solution) if path.suffix == ".csv" else _from_json(path, solution)


def _from_json(path: Path, solution: Labels) -> Score:
    try:
        content = read_json(path)
        parts = {field.name: float(content["floor"][field.name]) for field in fields(Score)}
        studies = int(content["studies"])
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidTableError(f"{path}: expected the floor.json of a phantom cohort ({err!r})") from err
    if not all(math.isfinite(value) for value in parts.values()):
        raise InvalidTableError(f"{path}: expected finite figures, but found {parts}")
    if studies != len(solution.study_ids):
        raise InvalidTableError(
            f"{path} is the floor of {studies} studies, but the solution holds {len(solution.study_ids)}; "
            "give the cohort's truth.csv instead, from which the floor of a part is computed"
        )
    return Score(**parts)


def _from_truth(path: Path, solution: Labels) -> Score:
    table = read_table(path)
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise InvalidTableError(f"{path}: expected the columns {_COLUMNS}, but {missing} are missing")
    posterior = np.full((len(solution.study_ids), len(FINDINGS), len(Grade)), np.nan)
    place = {study: n for n, study in enumerate(solution.study_ids)}
    for row in table[_COLUMNS].to_dict("records"):
        study, finding = place.get(row["study_id"]), _INDEX.get((row["condition"], row["level"]))
        if study is not None and finding is not None:
            posterior[study, finding] = _probabilities(path, row)
    unknown = [study for study, rows in zip(solution.study_ids, posterior, strict=True) if np.isnan(rows).any()]
    if unknown:
        raise InvalidTableError(f"{path} lacks findings of {len(unknown)} studies of the solution: {listed(unknown)}")
    # The submission with the least expected loss is proportional to the probability of each grade times its weight.
    return competition_score(solution.grades, posterior * WEIGHTS)


def _probabilities(path: Path, row: Mapping[Hashable, str]) -> list[float]:
    try:
        values = [float(row[grade.column]) for grade in Grade]
    except ValueError:
        values = [math.nan]
    if not all(value >= 0 for value in values) or not 0 < sum(values) < math.inf:
        where = f"study {row['study_id']}, {row['condition']} {row['level']}"
        raise InvalidTableError(f"{path}: expected a probability for each grade of {where}")
    return values
