"""Out-of-fold files of seven simulated, imperfect models for phantom studies, without any image or network.

``python benchmarks/simulated_models.py OUT --studies 2000`` writes ``solution.csv`` (in the form of train.csv),
``truth.csv`` (the true grade behind every label), and ``model_1.csv`` … ``model_7.csv`` in the submission's form.
Studies, labels and readers are the phantom's (`data_prep.phantom`).

Each model observes the true severity with noise. One part of the noise is common to all models (what the images do not
show), the other is the model's own; its size differs by model and condition. The model's probabilities follow from what
it observes at that level alone. They are a little overconfident or underconfident, and tilted by the weights 1, 2 and
4, as the competition's loss teaches. In 1 % of the studies a model is one level off.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import norm

from data_prep.phantom.disease import CUTS, model
from data_prep.phantom.labels import MISTAKE
from data_prep.phantom.study import draw_findings
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Condition, Grade, Group, Level

COMMON = {Group.SPINAL: 0.18, Group.FORAMINAL: 0.24, Group.SUBARTICULAR: 0.22}
"""Standard deviation of the common noise, in standard deviations of the severity."""
OWN = {Group.SPINAL: 0.14, Group.FORAMINAL: 0.20, Group.SUBARTICULAR: 0.18}
"""Standard deviation of a model's own noise; for each model and group it is multiplied by .6 to 1.7."""
LEVEL_OFF = 0.01
"""Share of studies in which a model is one level off."""


@dataclass(frozen=True)
class Simulation:
    """Simulated studies, and the models' probabilities.

    Attributes
    ----------
    labels, truth
        ``(studies, 25)``: the readers' grades, and the grades of the true severities.
    submissions
        ``(models, studies, 25, 3)``: competition-weighted probabilities.
    """

    study_ids: tuple[str, ...]
    labels: np.ndarray
    truth: np.ndarray
    submissions: np.ndarray


def simulate(studies: int = 2000, models: int = 7, seed: int = 0) -> Simulation:
    """Draw studies and the models' probabilities."""
    drawn = [draw_findings(seed, index) for index in range(studies)]
    severity = np.array([found.disease.severity for found in drawn])
    rng = np.random.default_rng([seed, 77])
    common = _by_finding(COMMON) * rng.standard_normal(severity.shape)
    return Simulation(
        study_ids=tuple(str(6_000_000_000 + index) for index in range(studies)),
        labels=np.array([found.labels for found in drawn], dtype=np.int64),
        truth=np.digitize(severity, CUTS),
        submissions=np.stack([_answers(severity, common, rng) for _ in range(models)]),
    )


def _answers(severity: np.ndarray, common: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    own = _by_finding({group: sd * rng.uniform(0.6, 1.7) for group, sd in OWN.items()})
    noise = common + own * rng.standard_normal(severity.shape)
    seen = severity + noise * model().spread
    off = rng.random(len(seen)) < LEVEL_OFF
    seen[off] = np.roll(seen[off].reshape(-1, len(Condition), len(Level)), 1, axis=2).reshape(-1, len(FINDINGS))
    natural = _posterior(seen, _by_finding(COMMON) ** 2 + own**2)
    sharpness = _by_finding({group: rng.uniform(0.85, 1.25) for group in Group})[:, None]
    bias = rng.normal(0, 0.1, (len(FINDINGS), len(Grade)))
    weighted = softmax(sharpness * np.log(natural) + bias, axis=-1) * WEIGHTS
    return weighted / weighted.sum(axis=-1, keepdims=True)


def _posterior(seen: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``P(label | seen)`` at one level: Gaussian severity, Gaussian error of the given variance, Gaussian reader."""
    stats = model()
    kept = stats.reliability / (stats.reliability + error)
    middle = stats.mean + kept * (seen - stats.mean)
    spread = stats.spread * np.sqrt(stats.reliability * (1 - kept) + 1 - stats.reliability)
    below = [norm.cdf((cut - middle) / spread) for cut in CUTS]
    read = np.stack([below[0], below[1] - below[0], 1 - below[1]], axis=-1)
    lapse = _by_finding(MISTAKE)[:, None]
    return (1 - lapse) * read + lapse * stats.shares


def _by_finding(figures: dict[Group, float]) -> np.ndarray:
    return np.array([figures[finding.condition.group] for finding in FINDINGS])


def partial_rows(simulation: Simulation, seed: int = 0) -> np.ndarray:
    """Which rows models of one group of conditions each have, ``(models, studies, 25)``; each lacks a tenth of studies.

    As real out-of-fold files are: the first model is of the canal, the second of the foramina, and so on in turn.
    """
    groups = list(Group)
    mine = np.array(
        [
            [finding.condition.group is groups[n % len(groups)] for finding in FINDINGS]
            for n in range(len(simulation.submissions))
        ]
    )
    there = np.random.default_rng([seed, 78]).random((len(mine), len(simulation.study_ids), 1)) >= 0.1
    return mine[:, None] & there


def write(out: Path, simulation: Simulation, present: np.ndarray | None = None) -> list[Path]:
    """Write ``solution.csv``, ``truth.csv`` and a submission for each model; return the submissions' paths.

    ``present``: ``(models, studies, 25)``: the rows to write; all of them if None.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, grades in {"solution": simulation.labels, "truth": simulation.truth}.items():
        words = [[Grade(grade).title if grade != MISSING else "" for grade in row] for row in grades]
        table = pd.DataFrame(words, columns=list(TARGETS))
        table.insert(0, "study_id", simulation.study_ids)
        table.to_csv(out / f"{name}.csv", index=False)
    paths = [out / f"model_{number}.csv" for number in range(1, len(simulation.submissions) + 1)]
    for n, path in enumerate(paths):
        which = None if present is None else present[n]
        write_predictions(path, simulation.study_ids, simulation.submissions[n], which)
    return paths


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--models", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--partial", action="store_true", help="models of one group of conditions that lack studies")
    given = parser.parse_args()
    simulation = simulate(given.studies, given.models, given.seed)
    write(given.out, simulation, partial_rows(simulation, given.seed) if given.partial else None)


if __name__ == "__main__":
    main()
