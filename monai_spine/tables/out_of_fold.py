"""Out-of-fold files: the predictions of one or several models for labelled studies, side by side.

An out-of-fold prediction comes from a model that did not see the study's label. Calibration, ensembles, metrics and
the audit are all computed from such files. They use the rows that the files hold, and split by patient, not by study.
Real files do not hold all rows: a model has learnt one condition, or a series was missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from monai_spine.data.datalist import read_content
from monai_spine.errors import InvalidOptionError, InvalidTableError, counted, listed
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.submission import (
    GRADE_COLUMNS,
    Labels,
    read_labels,
    read_predictions,
    read_table,
    write_predictions,
)
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, Group, columns_of, parse_row_id

_SUM_TOLERANCE = 0.01
"""How far a row's sum may lie from 1, so that three numbers rounded to two decimals pass."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions and labels of studies, in the order of the solution; sorted by id where there is no solution."""

    names: tuple[str, ...]
    """Names of the submissions: file names without the ending, with folders where names would be equal."""
    study_ids: tuple[str, ...]
    patients: tuple[str, ...]
    """The patient of each study; the study's own id where the patient is not known."""
    grades: Ints
    """``(studies, 25)``: 0, 1, 2 or `MISSING`; also missing where no submission has a row."""
    probabilities: Floats
    """``(models, studies, 25, 3)``, each row of sum 1."""
    covered: npt.NDArray[np.bool_]
    """``(models, studies, 25)``: which rows are in a model's file. The other rows of ``probabilities`` hold a third for
    each grade."""
    solution: Path | None
    """The file of the labels; None where there are no labels."""
    left_out: tuple[str, ...] = ()
    """Rows of these studies that have a label, but are in no submission."""

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """``(studies, 25)``: which rows are in any file."""
        return np.asarray(self.covered.any(axis=0))

    @property
    def own_rows(self) -> Floats:
        """``(models, studies, 25, 3)``: as ``probabilities``, but NaN where a model has no row."""
        return np.where(self.covered[..., None], self.probabilities, np.nan)

    @property
    def groups(self) -> list[Group]:
        """The groups of conditions that have labels."""
        return [group for group in Group if (self.grades[:, columns_of(group)] != MISSING).any()]

    def check_groups(self) -> None:
        """Make sure that every group of conditions that has labels has at least two grades.

        Raises `InvalidTableError` if a group has one: nothing can be fitted to it, and no score is defined.
        """
        for group in self.groups:
            own = self.grades[:, columns_of(group)]
            grades = [grade for grade in Grade if (own == grade).any()]
            if len(grades) < 2:
                raise InvalidTableError(
                    f"{self.solution}: expected {group.value} labels of at least two grades, but found only "
                    f"{grades[0].title}; give more studies"
                )

    def write(self, path: Path, probabilities: Floats) -> None:
        """Write ``(studies, 25, 3)`` as a submission of the rows that the files hold."""
        write_predictions(path, self.study_ids, probabilities, self.present)


def read_out_of_fold(
    solution: Path | None,
    submissions: Sequence[Path],
    *,
    datalist: Path | None = None,
    normalise: bool = False,
) -> OutOfFold:
    """Read submissions, and the labels of their studies. A submission may lack conditions or studies.

    ``solution``: labels in one of the forms of `monai_spine.scoring.submission.read_labels`; None where there are no
    labels. Its studies that the submissions lack are left out.
    ``datalist``: a datalist with the patient of each study. Without it, a ``patient_id`` column of the solution is
    used, if there is one.
    ``normalise``: whether rows whose sum is far from 1 are divided by it. Otherwise they raise an error.
    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if a file is missing, has another form or is
    given twice; if rows are unknown or not of sum 1; or if no row has a label.
    """
    names = _names(submissions)
    rows = [_row_ids(path) for path in submissions]
    labels, left_out = _labels_of(solution, frozenset().union(*rows), submissions[0])
    if not normalise:
        for path in submissions:
            _check_sums(path)
    # Rows that a submission lacks become a third for each grade; `covered` says which they are.
    read = [read_predictions(path, labels, missing="uniform") for path in submissions]
    return OutOfFold(
        names=names,
        study_ids=labels.study_ids,
        patients=_patients(labels.study_ids, solution, datalist),
        grades=labels.grades,
        probabilities=np.stack([predictions.probabilities for predictions in read]),
        covered=np.stack([_present(labels.study_ids, own) for own in rows]),
        solution=solution,
        left_out=left_out,
    )


def _row_ids(path: Path) -> frozenset[str]:
    table = read_table(path)
    if "row_id" not in table.columns:
        raise InvalidTableError(
            f"{path}: expected a submission with the columns row_id, {', '.join(GRADE_COLUMNS)}, "
            f"but found {listed(list(table.columns))}"
        )
    return frozenset(table["row_id"].tolist())


def _labels_of(solution: Path | None, rows: frozenset[str], submission: Path) -> tuple[Labels, tuple[str, ...]]:
    """Labels of the studies that have rows in the submissions, and the labelled rows that no submission has.

    The labels of the latter become missing.
    """
    if solution is None:
        return _without_labels(rows, submission), ()
    labels = read_labels(solution)
    present = _present(labels.study_ids, rows)
    predicted = np.asarray(present.any(axis=1), dtype=np.bool_)
    if not predicted.any():
        raise InvalidTableError(
            f"{submission} holds none of the {counted(len(labels.study_ids), 'study')} of {solution}; "
            f"its rows begin with "
            f"{listed(sorted(rows), shown=2)}"
        )
    left_out = tuple(
        FINDINGS[finding].row_id(labels.study_ids[study])
        for study, finding in np.argwhere(predicted[:, None] & ~present & (labels.grades != MISSING))
    )
    grades = np.where(present, labels.grades, MISSING)[predicted]
    if not (grades != MISSING).any():
        raise InvalidTableError(f"{solution}: expected labels, but none of {counted(len(grades), 'study')} has any")
    studies = tuple(study for study, kept in zip(labels.study_ids, predicted, strict=True) if kept)
    return Labels(studies, grades), left_out


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
        return  # read_predictions raises an error that names the columns
    # skipna=False: a row with a cell that is no number has no sum, and `read_predictions` names it.
    sums = table[GRADE_COLUMNS].apply(pd.to_numeric, errors="coerce").sum(axis=1, skipna=False).to_numpy(np.float64)
    away = np.nan_to_num(np.abs(sums - 1))
    if (away > _SUM_TOLERANCE).any():
        worst = int(away.argmax())
        raise InvalidTableError(
            f"{path}: expected probabilities of sum 1, but {int((away > _SUM_TOLERANCE).sum())} rows are not, such as "
            f"{table['row_id'][worst]} with {sums[worst]:.4g}; correct them, or use --normalise"
        )


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Short names that differ: file names, with as many folders before them as are needed."""
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return tuple(names)
    raise InvalidOptionError(
        f"expected different submissions, but found one of them twice: {listed([str(path) for path in paths])}"
    )


def _patients(study_ids: Sequence[str], solution: Path | None, datalist: Path | None) -> tuple[str, ...]:
    if datalist:
        patient_of = _patients_of_datalist(datalist)
        unknown = [study for study in study_ids if study not in patient_of]
        if unknown:
            raise InvalidTableError(f"{datalist} lacks studies of the solution: {listed(unknown)}")
        return tuple(patient_of[study] for study in study_ids)
    table = read_table(solution) if solution else None
    if table is not None and {"study_id", "patient_id"} <= set(table.columns):
        patient_of = dict(zip(table["study_id"], table["patient_id"], strict=True))
        return tuple(patient_of[study] or study for study in study_ids)
    return tuple(study_ids)


def _patients_of_datalist(datalist: Path) -> dict[str, str]:
    content = read_content(datalist)
    entries = [entry for section in ("training", "test") for entry in content.get(section) or ()]
    if not all(isinstance(entry, dict) and isinstance(entry.get("study_id"), str) for entry in entries):
        raise InvalidTableError(f"{datalist}: expected a study_id in every entry")
    return {entry["study_id"]: str(entry.get("patient_id", entry["study_id"])) for entry in entries}
