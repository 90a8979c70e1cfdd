"""What a setting is worth over several seeds: folders of ``monai-spine compare`` that differ in the seed alone.

    for seed in 0 1 2; do
        monai-spine compare BUNDLE --data TRAIN --test TEST -o seed_$seed --set seed=$seed --presets off.json,mixup.json
    done
    python benchmarks/compare_seeds.py TEST/datalist.json seed_0 seed_1 seed_2 --base off

Scores are means over the seeds. Intervals draw patients, the same for all candidates and seeds; the spread of the
seeds' own differences stands beside them, since three seeds are too few for an interval of their own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monai_spine.data.datalist import read_datalist
from monai_spine.experiments.fold_run import labels_of
from monai_spine.scoring.patient_resampling import (
    Estimate,
    difference,
    patient_counts,
    score_estimate,
    score_replicates,
)
from monai_spine.scoring.submission import read_predictions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path, help="the datalist that the candidates were evaluated on")
    parser.add_argument("folders", type=Path, nargs="+", help="an output folder of compare for each seed")
    parser.add_argument("--base", required=True, help="the candidate that the others are compared with")
    options = parser.parse_args()
    records = read_datalist(options.test)
    labels, counts = labels_of(records), patient_counts([record["patient_id"] for record in records])

    def scores(name: str) -> list[np.ndarray]:
        """Of each seed: the score, and its value for each draw of patients."""
        paths = [folder / name / "fold_0/eval/predictions.csv" for folder in options.folders]
        rows = [read_predictions(path, labels).probabilities for path in paths]
        return [score_replicates(labels.grades, one, counts)["score"] for one in rows]

    names = [path.parent.name for path in sorted(options.folders[0].glob("*/fold_0"))]
    base = scores(options.base)
    print(f"| | score | against {options.base} | of each seed |\n|---|---|---|---|")
    for name in [options.base, *(name for name in names if name != options.base)]:
        own = scores(name)
        mean = np.mean(own, axis=0)
        against: Estimate = difference(mean, np.mean(base, axis=0))
        each = ", ".join(f"{one[0] - other[0]:+.3f}" for one, other in zip(own, base, strict=True))
        print(f"| {name} | {score_estimate(mean)} | {against} | {each} |")


if __name__ == "__main__":
    main()
