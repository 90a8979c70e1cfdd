"""Out-of-fold files: what one or several models say of studies whose labels are known, side by side.

Whoever fits something to such files fits it to the rows that were in them, and counts patients, not studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from monai_spine.data.datalist import read_content
from monai_spine.errors import InvalidOptionError, InvalidTableError, listed
from monai_spine.files import write_text
from monai_spine.scoring.competition import Floats, Ints, normalised
from monai_spine.scoring.submission import GRADE_COLUMNS, Labels, read_labels, read_predictions, read_table
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, Group, parse_row_id

_SUM_TOLERANCE = 0.01
"""How far a row's sum may lie from 1: rounding of three numbers to two decimals."""


@dataclass(frozen=True)
class OutOfFold:
    """Studies in the order of the solution, or sorted where there is none.

    Attributes
    ----------
    names
        Of the submissions: file names without their ending, with the folder's where they would be alike.
    patients
        Of each study; the study itself where nobody says.
    grades
        ``(studies, 25)``: 0, 1, 2 or `MISSING`.
    probabilities
        ``(models, studies, 25, 3)``, each row of sum 1.
    present
        ``(studies, 25)``: rows that are in the files; the others hold a third for everything.
    """

    names: tuple[str, ...]
    study_ids: tuple[str, ...]
    patients: tuple[str, ...]
    grades: Ints
    probabilities: Floats
    present: npt.NDArray[np.bool_]


def read_out_of_fold(
    solution: Path | None, submissions: Sequence[Path], *, datalist: Path | None = None, normalise: bool = False
) -> OutOfFold:
    """Read submissions that hold the same rows, and the labels of their studies.

    Parameters
    ----------
    solution
        Labels in one of the forms of `monai_spine.scoring.submission.read_labels`; None where there are none.
        Studies of it that no submission holds are left out.
    datalist
        Says whose studies they are. Without it, a ``patient_id`` column of the solution does, if there is one.
    normalise
        Whether to divide rows by their sums that are far from 1, which are an error otherwise.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If a file is missing, breaks its form or is given twice, rows are unknown, missing or not of sum 1, the
        submissions hold different rows, or no row has a label.
    """
    names = _names(submissions)
    rows = _same_rows(submissions)
    labels = _labels_of(solution, rows, submissions[0])
    if not normalise:
        for path in submissions:
            _check_sums(path)
    read = [read_predictions(path, labels) for path in submissions]
    return OutOfFold(
        names=names,
        study_ids=labels.study_ids,
        patients=_patients(labels.study_ids, solution, datalist),
        grades=labels.grades,
        probabilities=np.stack([predictions.probabilities for predictions in read]),
        present=_present(labels.study_ids, rows),
    )


def check_groups(grades: Ints, solution: Path) -> None:
    """Make sure that every group of conditions has labels, of at least two grades.

    Raises
    ------
    InvalidTableError
        If one has not: nothing can be fitted to it, and no score is defined.
    """
    for group in Group:
        own = grades[:, columns_of(group)]
        found = [grade for grade in Grade if (own == grade).any()]
        if len(found) < 2:
            held = f"only {found[0].title}" if found else "no label at all"
            raise InvalidTableError(
                f"{solution}: expected {group.value} labels of at least two grades, but found {held}; give more studies"
            )


def write_rows(path: Path, table: OutOfFold, probabilities: Floats) -> None:
    """Write ``(studies, 25, 3)`` as a submission of the rows that the table's files hold: normalised and sorted."""
    rows = normalised(probabilities)[table.present]
    names = [
        finding.row_id(study)
        for study, held in zip(table.study_ids, table.present, strict=True)
        for finding, there in zip(FINDINGS, held, strict=True)
        if there
    ]
    written = pd.DataFrame(rows, columns=GRADE_COLUMNS)
    written.insert(0, "row_id", names)
    write_text(path, written.sort_values("row_id").to_csv(index=False, float_format="%.9g"))


def columns_of(group: Group) -> list[int]:
    """Where a group's findings stand among the 25."""
    return [n for n, finding in enumerate(FINDINGS) if finding.condition.group is group]


def _same_rows(submissions: Sequence[Path]) -> frozenset[str]:
    """The row ids of all submissions; they have to be the same."""
    first, *others = submissions
    rows = _row_ids(first)
    for other in others:
        held = _row_ids(other)
        if held != rows:
            raise InvalidTableError(
                f"{first} and {other} hold different rows: {_difference(rows - held, first)}"
                f"{'; ' if rows - held and held - rows else ''}{_difference(held - rows, other)}; "
                "give submissions for the same studies"
            )
    return rows


def _difference(names: frozenset[str], path: Path) -> str:
    return f"{len(names)} only in {path} ({listed(sorted(names))})" if names else ""


def _row_ids(path: Path) -> frozenset[str]:
    table = read_table(path)
    if "row_id" not in table.columns:
        raise InvalidTableError(
            f"{path}: expected a submission with the columns row_id, {', '.join(GRADE_COLUMNS)}, "
            f"but found {listed(list(table.columns))}"
        )
    return frozenset(table["row_id"].tolist())


def _labels_of(solution: Path | None, rows: frozenset[str], submission: Path) -> Labels:
    """Labels of the studies that have rows; a labelled finding of theirs has to have one."""
    if solution is None:
        return _without_labels(rows, submission)
    labels = read_labels(solution)
    present = _present(labels.study_ids, rows)
    held = np.asarray(present.any(axis=1), dtype=np.bool_)
    if not held.any():
        raise InvalidTableError(
            f"{submission} holds none of the {len(labels.study_ids)} studies of {solution}; its rows begin with "
            f"{listed(sorted(rows), shown=2)}"
        )
    lacking = [
        FINDINGS[finding].row_id(labels.study_ids[study])
        for study, finding in np.argwhere(held[:, None] & ~present & (labels.grades != MISSING))
    ]
    if lacking:
        raise InvalidTableError(
            f"{submission} lacks {len(lacking)} labelled rows of studies that it holds in part: {listed(lacking)}; "
            "add them, or leave these studies out"
        )
    grades = labels.grades[held]
    if not (grades != MISSING).any():
        raise InvalidTableError(f"{solution}: expected labels, but none of {len(grades)} studies has any")
    return Labels(tuple(study for study, kept in zip(labels.study_ids, held, strict=True) if kept), grades)


def _present(study_ids: Sequence[str], rows: frozenset[str]) -> npt.NDArray[np.bool_]:
    return np.array([[f"{study}_{target}" in rows for target in TARGETS] for study in study_ids])


def _without_labels(rows: frozenset[str], submission: Path) -> Labels:
    try:
        studies = sorted({parse_row_id(row)[0] for row in rows})
    except ValueError as err:
        raise InvalidTableError(f"{submission}: {err}") from err
    return Labels(tuple(studies), np.full((len(studies), len(FINDINGS)), MISSING, dtype=np.int64))


def _check_sums(path: Path) -> None:
    table = read_table(path)
    if not set(GRADE_COLUMNS) <= set(table.columns):
        return  # read_predictions says it better
    sums = table[GRADE_COLUMNS].apply(pd.to_numeric, errors="coerce").sum(axis=1, skipna=False).to_numpy(np.float64)
    away = np.nan_to_num(np.abs(sums - 1))
    if (away > _SUM_TOLERANCE).any():
        worst = int(away.argmax())
        raise InvalidTableError(
            f"{path}: expected probabilities of sum 1, but {int((away > _SUM_TOLERANCE).sum())} rows are not, such as "
            f"{table['row_id'][worst]} with {sums[worst]:.4g}; mend them, or use --normalise"
        )


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Short names that differ: the files', with as many folders before them as it takes."""
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return tuple(names)
    raise InvalidOptionError(
        f"expected different submissions, but one is given twice: {listed([str(p) for p in paths])}"
    )


def _patients(study_ids: Sequence[str], solution: Path | None, datalist: Path | None) -> tuple[str, ...]:
    if datalist:
        owners = _owners(datalist)
        unknown = [study for study in study_ids if study not in owners]
        if unknown:
            raise InvalidTableError(f"{datalist} lacks {len(unknown)} studies of the solution: {listed(unknown)}")
        return tuple(owners[study] for study in study_ids)
    table = read_table(solution) if solution else None
    if table is not None and {"study_id", "patient_id"} <= set(table.columns):
        owners = dict(zip(table["study_id"], table["patient_id"], strict=True))
        return tuple(owners[study] or study for study in study_ids)
    return tuple(study_ids)


def _owners(datalist: Path) -> dict[str, str]:
    content = read_content(datalist)
    entries = [entry for section in ("training", "test") for entry in content.get(section) or ()]
    if not all(isinstance(entry, dict) and isinstance(entry.get("study_id"), str) for entry in entries):
        raise InvalidTableError(f"{datalist}: expected a study_id in every entry")
    return {entry["study_id"]: str(entry.get("patient_id", entry["study_id"])) for entry in entries}
