import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import TARGETS
from tests.cohorts import write_cohort
from tests.monai_spine.tables.files import write_labels


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, Path, Path, np.ndarray]:
    """A datalist with a point for every finding, its solution, and a submission that doubts two labels."""
    datalist = write_cohort(tmp_path / "nifti", studies=3)
    content = json.loads(datalist.read_text())
    for entry in content["training"]:
        entry["label"] = [0] * 25
        entry["points"] = {target: [2.0, 3.0, -5.0] for target in TARGETS}
    datalist.write_text(json.dumps(content))
    ids = tuple(entry["study_id"] for entry in content["training"])
    labels = np.zeros((3, 25), dtype=np.int64)
    rows = np.tile([0.9, 0.06, 0.04], (3, 25, 1))
    rows[0, 3] = rows[0, 20] = [0.01, 0.01, 0.98]
    rows[1, 9] = [0.02, 0.96, 0.02]
    solution = write_labels(tmp_path / "solution.csv", ids, labels)
    write_predictions(tmp_path / "oof.csv", ids, rows)
    return datalist, solution, tmp_path / "oof.csv", labels
