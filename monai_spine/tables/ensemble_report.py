"""``monai-spine ensemble``: combine submissions, and compare the methods by nested cross-validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from monai_spine.console import track
from monai_spine.errors import InvalidOptionError, counted, listed
from monai_spine.files import write_text
from monai_spine.scoring.competition import Floats, constant_score, level_prior
from monai_spine.scoring.patient_resampling import (
    COVERAGE,
    REPLICATES,
    Estimate,
    difference,
    grouped_folds,
    out_of_fold,
    patient_counts,
    score_estimate,
    score_replicates,
)
from monai_spine.spine import MISSING, Group
from monai_spine.tables.ensemble import LEARNT, FittedEnsemble, Method
from monai_spine.tables.out_of_fold import OutOfFold, read_out_of_fold
from monai_spine.tables.row_coverage import RowCoverage

METHODS: tuple[Method, ...] = get_args(Method)
PARTS = (*(group.value for group in Group), "any_severe_spinal")
"""The parts of the competition's score."""


@dataclass(frozen=True)
class EnsembleReport:
    """Out-of-fold scores of every submission and of every method of combining them."""

    ensemble: FittedEnsemble
    scores: Mapping[str, Mapping[str, Estimate]]
    """The score and its parts, by name of the submission or method. A submission's are those of its own rows. The score
    is the mean of the parts that have labels, and NaN for a submission that lacks one of them."""
    coverage: RowCoverage
    gains: Mapping[str, Estimate]
    """By method, its score minus that of the plain mean; below 0 is better."""
    prior: float
    """The score of the labels' own per-level prior."""
    studies: int
    patients: int
    folds: int
    seed: int
    """``folds``, ``seed``: of the cross-validation."""

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/ensemble_report/1``."""
        content: dict[str, Any] = {
            "schema": "monai_spine/ensemble_report/1",
            "method": self.ensemble.method,
            "studies": self.studies,
            "patients": self.patients,
            "folds": self.folds,
            "seed": self.seed,
            "interval": {"coverage": COVERAGE, "replicates": REPLICATES},
            "prior": round(self.prior, 6),
            "coverage": self.coverage.as_dict(),
            "scores": {name: {part: e.as_dict() for part, e in of.items()} for name, of in self.scores.items()},
            "against_mean": {name: gain.as_dict() for name, gain in self.gains.items()},
        }
        return json.dumps(content, indent=2)

    def to_text(self) -> str:
        """A table for people, and whether a fitted method is better than the mean."""
        width = max(16, *(len(name) + 2 for name in self.scores))
        parts = self.parts
        lines = [f"{'':{width}}{'score':>23}" + "".join(f"{part:>19}" for part in parts)]
        for name, figures in self.scores.items():
            row = "".join(f"{_or_dash(figures[part].value):>19}" for part in parts)
            lines.append(f"{name:{width}}{figures['score']!s:>23}{row}")
        lines += [f"{'prior':{width}}{self.prior:>23.3f}", ""]
        lines += [f"{name} against mean: {_sentence(gain)}" for name, gain in self.gains.items()]
        if not self.coverage.is_complete:
            lines += ["", self.coverage.to_text(), ""]
        if len(parts) < len(PARTS):
            lines.append(f"score: the mean of {listed(parts)}; no submission has rows of the other conditions")
        lines.append(
            f"{counted(self.studies, 'study')} of {counted(self.patients, 'patient')}; {', '.join(LEARNT)} fitted on "
            f"other patients ({counted(self.folds, 'fold')}); lower is better; 95 % intervals"
        )
        return "\n".join(lines)

    @property
    def parts(self) -> list[str]:
        """The parts of the score that have labels."""
        return [part for part in PARTS if np.isfinite(self.scores["mean"][part].value)]


def _or_dash(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "–"


def _sentence(gain: Estimate) -> str:
    """The gain, and whether its interval excludes 0."""
    figures = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    if gain.high < 0:
        return f"{figures}, better"
    return f"{figures}, worse" if gain.low > 0 else f"{figures}, no difference that these studies can show"


def combine(
    table: OutOfFold, out: Path, *, method: Method = "mean", folds: int = 5, seed: int = 0, quiet: bool = False
) -> EnsembleReport | None:
    """Write ``predictions.csv``, ``coverage.csv`` and ``ensemble.json``; with labels a report, which is returned.

    The report is also written to ``report.json``. A submission may lack conditions or studies. ``predictions.csv`` has
    the rows that any of them has.

    With labels, the rows of ``predictions.csv`` are out-of-fold: a study's rows come from weights and corrections
    that were fitted to other patients. ``ensemble.json`` is learnt from all studies, for `apply_ensemble`.

    Raises `InvalidOptionError` if there are fewer than two submissions or too few patients, or if a method other than
    ``mean`` has no labels to learn from, and `InvalidTableError` if a group has labels of one grade only.
    """
    if len(table.names) < 2:
        raise InvalidOptionError(
            f"expected at least two submissions to combine, but found {len(table.names)}; "
            "`monai-spine calibrate` works on a single one"
        )
    if table.solution is None and method in LEARNT:
        raise InvalidOptionError(
            f"--method {method} learns from labels: give --solution, or --apply with an ensemble.json made before"
        )
    if table.solution is None:
        ensemble = _fitted(table, np.arange(len(table.study_ids)), method, seed)
        _write(out, table, ensemble, ensemble.apply(table.own_rows))
        return None
    table.check_groups()
    fold_of = grouped_folds(table.grades, table.patients, folds, seed)
    answers = _out_of_fold(table, fold_of, seed, quiet)
    ensemble = _fitted(table, np.arange(len(table.study_ids)), method, seed)
    report = _report(table, answers, ensemble, folds, seed)
    _write(out, table, ensemble, answers[method])
    write_text(out / "report.json", report.to_json() + "\n")
    return report


def apply_ensemble(path: Path, submissions: Sequence[Path], out: Path, normalise: bool = False) -> dict[str, str]:
    """Combine new submissions of the same models with a stored ``ensemble.json``; write ``predictions.csv``.

    Submissions are matched by name if the ensemble knows all names, and by order otherwise. Those that are matched by
    name may be fewer than the ensemble's: the others then share their weights.

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` as for `FittedEnsemble.read` and
    `read_out_of_fold`, and if submissions with other names are not as many as the ensemble has.

    Returns, by name in the ensemble, the name of the submission that was used for it.
    """
    ensemble = FittedEnsemble.read(path)
    table = read_out_of_fold(None, submissions, normalise=normalise)
    # By name if possible: the shell sorts files, the user may not have given them in the same order.
    by_name = set(table.names) <= set(ensemble.names)
    if not by_name and len(submissions) != len(ensemble.names):
        raise InvalidOptionError(
            f"expected the {len(ensemble.names)} submissions that {path} was made of ({listed(ensemble.names)}), "
            f"or some of them by these names, but found {listed(table.names)}"
        )
    names = table.names if by_name else ensemble.names
    rows = np.full((len(ensemble.names), *table.probabilities.shape[1:]), np.nan)
    rows[[ensemble.names.index(name) for name in names]] = table.own_rows
    table.write(out / "predictions.csv", ensemble.apply(rows))
    used = dict(zip(names, table.names, strict=True))
    return {name: used[name] for name in ensemble.names if name in used}


def _out_of_fold(table: OutOfFold, fold_of: np.ndarray, seed: int, quiet: bool) -> dict[Method, Floats]:
    answers: dict[Method, Floats] = {}
    for method in track(METHODS, "nested cross-validation", len(METHODS), quiet):

        def fitted(training: np.ndarray, held_out: np.ndarray, method: Method = method) -> Floats:
            return _fitted(table, training, method, seed).apply(table.own_rows[:, held_out])

        answers[method] = out_of_fold(fold_of, fitted, table.probabilities[0])
    return answers


def _fitted(table: OutOfFold, studies: np.ndarray, method: Method, seed: int) -> FittedEnsemble:
    patients = [table.patients[n] for n in studies]
    return FittedEnsemble.fit(method, table.names, table.grades[studies], table.own_rows[:, studies], patients, seed)


def _report(
    table: OutOfFold, answers: Mapping[Method, Floats], ensemble: FittedEnsemble, folds: int, seed: int
) -> EnsembleReport:
    counts = patient_counts(table.patients, seed=seed)
    # A submission may be called like a method.
    names = [f"{name} (submission)" if name in METHODS else name for name in table.names]
    grades = [np.where(covered, table.grades, MISSING) for covered in table.covered]
    rows = dict(zip(names, zip(grades, table.probabilities, strict=True), strict=True))
    rows |= {str(method): (table.grades, answer) for method, answer in answers.items()}
    replicates = {name: score_replicates(*own, counts) for name, own in rows.items()}
    parts = [part for part in PARTS if np.isfinite(replicates["mean"][part][0])]
    for figures in replicates.values():
        figures["score"] = np.mean([figures[part] for part in parts], axis=0)
    prior = constant_score(table.grades, level_prior(table.grades)).as_dict()
    return EnsembleReport(
        ensemble=ensemble,
        scores={
            name: {part: score_estimate(values) for part, values in parts.items()} for name, parts in replicates.items()
        },
        gains={
            method: difference(replicates[method]["score"], replicates["mean"]["score"])
            for method in METHODS
            if method != "mean"
        },
        coverage=RowCoverage.of(table),
        prior=float(np.mean([prior[part] for part in parts])),
        studies=len(table.study_ids),
        patients=len(set(table.patients)),
        folds=folds,
        seed=seed,
    )


def _write(out: Path, table: OutOfFold, ensemble: FittedEnsemble, answers: Floats) -> None:
    table.write(out / "predictions.csv", answers)
    RowCoverage.of(table).write(out / "coverage.csv")
    ensemble.write(out / "ensemble.json")
