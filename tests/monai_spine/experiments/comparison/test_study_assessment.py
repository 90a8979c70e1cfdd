import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.datalist import label_array, read_datalist
from monai_spine.errors import InvalidTableError
from monai_spine.experiments.comparison.candidate import presets
from monai_spine.experiments.comparison.study_assessment import StudyAssessment
from monai_spine.scoring.competition import competition_score, constant_score, level_prior
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, Grade
from tests.bundles.runs import ROOT
from tests.cohorts import write_cohort

GRADER = ROOT / "bundles/lumbar_25d_grader"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=9, folds=3)


def truth(path: Path, posterior: np.ndarray, ids: list[str]) -> Path:
    """A cohort's ``truth.csv``."""
    lines = ["study_id,condition,level," + ",".join(grade.column for grade in Grade)]
    for study, rows in zip(ids, posterior, strict=True):
        for finding, row in zip(FINDINGS, rows, strict=True):
            lines.append(f"{study},{finding.condition.value},{finding.level.value},{','.join(map(repr, row.tolist()))}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_share_of_the_way_is_0_at_the_prior_and_1_at_the_floor(data: Path, tmp_path: Path) -> None:
    records = read_datalist(data)
    held = [record for record in records if record["fold"] == 1]
    others = [record for record in records if record["fold"] != 1]
    rng = np.random.default_rng(0)
    labels = label_array(held)
    posterior = rng.dirichlet([1, 1, 1], size=labels.shape)
    known = labels != MISSING
    posterior[known, labels[known]] += 3
    posterior /= posterior.sum(axis=-1, keepdims=True)
    assessment = StudyAssessment(
        data, [1], floor=truth(tmp_path / "truth.csv", posterior, [one["study_id"] for one in held])
    )
    prior = np.broadcast_to(level_prior(label_array(others), 0.5), posterior.shape)
    rows = assessment.rows({"prior": prior, "best": posterior * WEIGHTS})
    assert rows["prior"]["share_of_way"] == pytest.approx(0, abs=1e-9)
    assert rows["best"]["share_of_way"] == pytest.approx(1)
    assert rows["best"]["score"] == pytest.approx(competition_score(labels, posterior * WEIGHTS).score, abs=1e-6)
    assert rows["prior"]["behind_best"] == pytest.approx(rows["prior"]["score"] - rows["best"]["score"], abs=2e-6)
    assert rows["best"]["behind_best"] == 0


def test_the_prior_of_a_fold_is_learnt_from_the_others(data: Path) -> None:
    records = read_datalist(data)
    assessment = StudyAssessment(data, [2, 0])
    expected = []
    for fold in (2, 0):
        rows = level_prior(label_array([one for one in records if one["fold"] != fold]), 0.5)
        expected += [rows] * sum(one["fold"] == fold for one in records)
    assert assessment.prior["score"] == pytest.approx(
        competition_score(assessment.labels.grades, np.stack(expected)).score
    )
    assert assessment.context()["evaluated_on"] == "held-out folds [2, 0]"


def test_each_network_answers_for_its_own_conditions(data: Path, tmp_path: Path) -> None:
    spelt = "canal_only/left_foramina_only/right_foramina_only/left_recesses_only/right_recesses_only"
    (candidate,) = presets(GRADER, [spelt])
    assessment = StudyAssessment(data, [0])
    rng = np.random.default_rng(0)
    predicted, made = [], []
    for part in candidate.parts:
        made.append(rng.dirichlet([1, 1, 1], size=(3, 25)))
        write_predictions(tmp_path / f"{part.name}.csv", assessment.labels.study_ids, made[-1])
        predicted.append((part, tmp_path / f"{part.name}.csv"))
    joined = assessment.predictions({0: predicted})
    for n, finding in enumerate(FINDINGS):
        (own,) = [k for k, part in enumerate(candidate.parts) if part.entry("conditions") == [finding.condition.value]]
        assert np.allclose(joined[:, n], made[own][:, n], atol=1e-8)


def test_folds_are_averaged_on_a_test_and_its_patients_are_new(data: Path, tmp_path: Path) -> None:
    other = write_cohort(tmp_path / "other", studies=2, seed=4)
    content = json.loads(other.read_text())
    for n, entry in enumerate(content["training"]):
        entry |= {"study_id": f"new{n}", "patient_id": f"new{n}"}
    other.write_text(json.dumps(content))
    assessment = StudyAssessment(data, [0, 1], other)
    ((name, asked),) = assessment.evaluated()
    assert name == "validate#dataset#data" and str(other) in asked and "'training'" in asked
    (plain,) = presets(GRADER, ["default"])
    rng = np.random.default_rng(0)
    made = rng.dirichlet([1, 1, 1], size=(2, 2, 25))
    for fold in (0, 1):
        write_predictions(tmp_path / f"{fold}.csv", assessment.labels.study_ids, made[fold])
    joined = assessment.predictions({fold: [(plain.parts[0], tmp_path / f"{fold}.csv")] for fold in (0, 1)})
    assert np.allclose(joined, made.mean(axis=0), atol=1e-8)
    assert constant_score(assessment.labels.grades, made[0, 0]).score > 0
    with pytest.raises(InvalidTableError, match="patients of the test have studies in training"):
        StudyAssessment(data, [0], data)
