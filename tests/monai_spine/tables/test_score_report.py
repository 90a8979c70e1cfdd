import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.phantom import floor as phantom_floor
from data_prep.phantom.study import draw_findings
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade
from monai_spine.tables.score_report import report_score

COUNT = 120


STUDIES = tuple(str(9_000_000_000 + n) for n in range(COUNT))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    (folder / "floor.json").write_text(json.dumps(phantom_floor.report(labels, posterior)))
    write_predictions(folder / "best.csv", STUDIES, phantom_floor.best_rows(posterior))
    write_predictions(folder / "prior.csv", STUDIES, np.broadcast_to(level_prior(labels), (COUNT, 25, 3)) + 1e-12)
    return folder


@pytest.mark.parametrize(("name", "share"), [("best", 1.0), ("prior", 0.0)])
def test_the_way_runs_from_the_prior_to_the_floor(cohort: Path, name: str, share: float) -> None:
    found = report_score(cohort / "train.csv", cohort / f"{name}.csv", floor=cohort / "floor.json")
    assert json.loads(found.to_json())["share_of_way"] == pytest.approx(share, abs=1e-5)
    assert f"{share:.0%}" in found.to_text()
