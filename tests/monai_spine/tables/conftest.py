import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.phantom import labels as phantom_labels
from data_prep.phantom.study import draw_findings
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade

COUNT = 120
STUDIES = tuple(str(9_000_000_000 + n) for n in range(COUNT))


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
