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
from monai_spine.tables.ensemble import Ensemble, Method
from monai_spine.tables.out_of_fold import OutOfFold, read_out_of_fold

METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class EnsembleReport:
    """Out-of-fold scores of every submission and of every method of combining them."""

    ensemble: Ensemble
    scores: Mapping[str, Mapping[str, Estimate]]
    """The score and its parts, by name of the submission or method."""
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
            "scores": {name: {part: e.as_dict() for part, e in of.items()} for name, of in self.scores.items()},
            "against_mean": {name: gain.as_dict() for name, gain in self.gains.items()},
        }
        return json.dumps(content, indent=2)

    def to_text(self) -> str:
        """A table for people, and whether a fitted method is better than the mean."""
        width = max(16, *(len(name) + 2 for name in self.scores))
        parts = [part for part in next(iter(self.scores.values())) if part != "score"]
        lines = [f"{'':{width}}{'score':>23}" + "".join(f"{part:>19}" for part in parts)]
        for name, figures in self.scores.items():
            row = "".join(f"{figures[part].value:19.4f}" for part in parts)
            lines.append(f"{name:{width}}{figures['score']!s:>23}{row}")
        lines += [f"{'prior':{width}}{self.prior:>23.3f}", ""]
        lines += [f"{name} against mean: {_sentence(gain)}" for name, gain in self.gains.items()]
        lines.append(
            f"{counted(self.studies, 'study')} of {counted(self.patients, 'patient')}; weighted and stacked fitted on "
            f"other patients ({counted(self.folds, 'fold')}); lower is better; 95 % intervals"
        )
        return "\n".join(lines)


def _sentence(gain: Estimate) -> str:
    """The gain, and whether its interval excludes 0."""
    figures = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    if gain.high < 0:
        return f"{figures}, better"
    return f"{figures}, worse" if gain.low > 0 else f"{figures}, no difference that these studies can show"


def combine(
    table: OutOfFold, out: Path, *, method: Method = "mean", folds: int = 5, seed: int = 0, quiet: bool = False
) -> EnsembleReport | None:
    """Write ``predictions.csv`` and ``ensemble.json``; with labels also ``report.json``, which is returned.

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
    if table.solution is None and method != "mean":
        raise InvalidOptionError(
            f"--method {method} learns from labels: give --solution, or --apply with an ensemble.json made before"
        )
    if table.solution is None:
        ensemble = _fitted(table, np.arange(len(table.study_ids)), method, seed)
        _write(out, table, ensemble, ensemble.apply(table.probabilities))
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

    Submissions are matched by name if all names are the same, and by order otherwise.

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` as for `Ensemble.read` and
    `read_out_of_fold`, and if the ensemble has another number of submissions.

    Returns, by name in the ensemble, the name of the submission that was used for it.
    """
    ensemble = Ensemble.read(path)
    if len(submissions) != len(ensemble.names):
        raise InvalidOptionError(
            f"expected the {len(ensemble.names)} submissions that {path} was made of ({listed(ensemble.names)}), "
            f"but found {len(submissions)}; give one of each of these models"
        )
    table = read_out_of_fold(None, submissions, normalise=normalise)
    # By name if possible: the shell sorts files, the user may not have given them in the same order.
    order = [table.names.index(name) for name in ensemble.names] if set(ensemble.names) == set(table.names) else None
    order = order or list(range(len(table.names)))
    table.write(out / "predictions.csv", ensemble.apply(table.probabilities[order]))
    return {name: table.names[n] for name, n in zip(ensemble.names, order, strict=True)}


def _out_of_fold(table: OutOfFold, fold_of: np.ndarray, seed: int, quiet: bool) -> dict[Method, Floats]:
    answers: dict[Method, Floats] = {}
    for method in track(METHODS, "nested cross-validation", len(METHODS), quiet):

        def fitted(training: np.ndarray, held_out: np.ndarray, method: Method = method) -> Floats:
            return _fitted(table, training, method, seed).apply(table.probabilities[:, held_out])

        answers[method] = out_of_fold(fold_of, fitted, table.probabilities[0])
    return answers


def _fitted(table: OutOfFold, studies: np.ndarray, method: Method, seed: int) -> Ensemble:
    patients = [table.patients[n] for n in studies]
    return Ensemble.fit(method, table.names, table.grades[studies], table.probabilities[:, studies], patients, seed)


def _report(
    table: OutOfFold, answers: Mapping[Method, Floats], ensemble: Ensemble, folds: int, seed: int
) -> EnsembleReport:
    counts = patient_counts(table.patients, seed=seed)
    names = [f"{name} (submission)" if name in METHODS else name for name in table.names]
    named: dict[str, Floats] = dict(zip(names, table.probabilities, strict=True))
    # A submission may be called like a method; then it was renamed above.
    named.update({method: rows for method, rows in answers.items()})  # noqa: C416 - a wider type of key
    replicates = {name: score_replicates(table.grades, rows, counts) for name, rows in named.items()}
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
        prior=constant_score(table.grades, level_prior(table.grades)).score,
        studies=len(table.study_ids),
        patients=len(set(table.patients)),
        folds=folds,
        seed=seed,
    )


def _write(out: Path, table: OutOfFold, ensemble: Ensemble, answers: Floats) -> None:
    table.write(out / "predictions.csv", answers)
    ensemble.write(out / "ensemble.json")
