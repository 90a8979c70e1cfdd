from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.phantom import labels as phantom_labels
from data_prep.phantom.study import draw_findings
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade
from monai_spine.tables import boosting
from tests.cohorts import write_cohort
from tests.monai_spine.tables.files import write_labels

COUNT = 120
STUDIES = tuple(str(9_000_000_000 + n) for n in range(COUNT))


@pytest.fixture(scope="session", autouse=True)
def few_rounds_of_boosting():
    """As few trees as show what boosting does: how good it is, benchmarks measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "ROUNDS", (4, 12))
        yield


@pytest.fixture(scope="module")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of 120 phantom studies with their floor and truth, and the submissions of the floor and of the prior."""
    folder = tmp_path_factory.mktemp("cohort")
    drawn = [draw_findings(3, n) for n in range(COUNT)]
    labels = np.array([one.labels for one in drawn]).astype(int)
    posterior = np.array([one.posterior for one in drawn])
    titles = {MISSING: "", **{int(grade): grade.title for grade in Grade}}
    rows = [",".join([study, *(titles[g] for g in row)]) for study, row in zip(STUDIES, labels.tolist(), strict=True)]
    (folder / "train.csv").write_text("\n".join([",".join(["study_id", *TARGETS]), *rows]))
    lines = ["study_id,condition,level,normal_mild,moderate,severe"]
    for study, table in zip(STUDIES, posterior, strict=True):
        lines += [
            f"{study},{finding.condition.value},{finding.level.value},{','.join(map(repr, row))}"
            for finding, row in zip(FINDINGS, table.tolist(), strict=True)
        ]
    (folder / "truth.csv").write_text("\n".join(lines))
    (folder / "floor.json").write_text(json.dumps(phantom_labels.floor_report(labels, posterior)))
    write_predictions(folder / "best.csv", STUDIES, phantom_labels.best_rows(posterior))
    write_predictions(folder / "prior.csv", STUDIES, np.broadcast_to(level_prior(labels), (COUNT, 25, 3)) + 1e-12)
    return folder


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
