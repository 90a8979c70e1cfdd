"""What a setting is worth over several seeds: folders of ``monai-spine compare`` that differ in the seed alone.

    for seed in 0 1 2; do
        monai-spine compare BUNDLE --data TRAIN --test TEST -o seed_$seed --set seed=$seed --presets off.json,mixup.json
    done
    python benchmarks/compare_seeds.py TEST/datalist.json seed_0 seed_1 seed_2 --base off

Scores are means over the seeds. Intervals draw patients, the same for all candidates and seeds; the spread of the
seeds' own differences stands beside them, since three seeds are too few for an interval of their own. With --training
TRAIN/datalist.json and --truth TEST_RSNA/truth.csv there is also the share of the way from the prior to the floor,
both of which are those of the patients drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monai_spine.data.datalist import label_array, read_datalist
from monai_spine.experiments.fold_run import labels_of
from monai_spine.scoring.competition import JEFFREYS, level_prior
from monai_spine.scoring.patient_resampling import (
    Estimate,
    difference,
    estimate,
    patient_counts,
    score_estimate,
    score_replicates,
)
from monai_spine.scoring.submission import read_predictions
from monai_spine.tables.score_report import best_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path, help="the datalist that the candidates were evaluated on")
    parser.add_argument("folders", type=Path, nargs="+", help="an output folder of compare for each seed")
    parser.add_argument("--base", required=True, help="the candidate that the others are compared with")
    parser.add_argument("--training", type=Path, help="the datalist that was learnt from: fold 0 is left out")
    parser.add_argument("--truth", type=Path, help="truth.csv of the phantoms that were evaluated")
    options = parser.parse_args()
    records = read_datalist(options.test)
    labels, counts = labels_of(records), patient_counts([record["patient_id"] for record in records])

    def scores(name: str) -> list[np.ndarray]:
        """Of each seed: the score, and its value for each draw of patients."""
        paths = [folder / name / "fold_0/eval/predictions.csv" for folder in options.folders]
        rows = [read_predictions(path, labels).probabilities for path in paths]
        return [score_replicates(labels.grades, one, counts)["score"] for one in rows]

    def way(figures: list[np.ndarray]) -> str:
        """The share of the way from prior to floor: the mean over the seeds with its interval, and of each seed."""
        training = [record for record in read_datalist(options.training) if record["fold"] != 0]
        rows = np.broadcast_to(level_prior(label_array(training), JEFFREYS), (len(records), 25, 3))
        prior, floor = (
            score_replicates(labels.grades, one, counts)["score"] for one in (rows, best_rows(options.truth, labels))
        )
        share = estimate((prior - np.mean(figures, axis=0)) / (prior - floor), lowest=-np.inf, highest=np.inf)
        each = ", ".join(f"{(prior[0] - one[0]) / (prior[0] - floor[0]):.3f}" for one in figures)
        return f"{share} | {each}"

    names = [path.parent.name for path in sorted(options.folders[0].glob("*/fold_0"))]
    base = scores(options.base)
    shares = bool(options.training and options.truth)
    further = (" share of the way | of each seed |", "---|---|") if shares else ("", "")
    print(f"| | score | against {options.base} | of each seed |{further[0]}\n|---|---|---|---|{further[1]}")
    for name in [options.base, *(name for name in names if name != options.base)]:
        own = scores(name)
        mean = np.mean(own, axis=0)
        against: Estimate = difference(mean, np.mean(base, axis=0))
        each = ", ".join(f"{one[0] - other[0]:+.3f}" for one, other in zip(own, base, strict=True))
        print(f"| {name} | {score_estimate(mean)} | {against} | {each} |" + (f" {way(own)} |" if shares else ""))


if __name__ == "__main__":
    main()
