"""Out-of-fold files of simulated models, made once for all tests that want as many studies."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.simulated_models import Simulation, simulate, write
from monai_spine.spine import MISSING, TARGETS, Grade


@cache
def simulated(studies: int = 150, models: int = 3) -> Simulation:
    return simulate(studies, models, seed=11)


def written(folder: Path, simulation: Simulation) -> tuple[Path, list[Path]]:
    """The solution's path and the submissions'."""
    return folder / "solution.csv", write(folder, simulation)


def part(simulation: Simulation, studies: slice) -> Simulation:
    return Simulation(
        simulation.study_ids[studies],
        simulation.labels[studies],
        simulation.truth[studies],
        simulation.submissions[:, studies],
    )


def write_labels(path: Path, study_ids: tuple[str, ...], labels: np.ndarray) -> Path:
    words = [[Grade(grade).title if grade != MISSING else "" for grade in row] for row in labels]
    table = pd.DataFrame(words, columns=list(TARGETS))
    table.insert(0, "study_id", study_ids)
    table.to_csv(path, index=False)
    return path


def change_rows(path: Path, out: Path, change) -> Path:
    """Write a changed copy of a submission; ``change`` takes its table and returns another."""
    change(pd.read_csv(path, dtype={"row_id": str})).to_csv(out, index=False)
    return out
