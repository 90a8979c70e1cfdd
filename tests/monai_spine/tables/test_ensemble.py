import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.scoring.competition import competition_score
from monai_spine.spine import FINDINGS, FLIPPED, MISSING, Grade, Group
from monai_spine.tables.ensemble.combine import apply_ensemble, combine
from monai_spine.tables.ensemble.context import features, log_ratios
from monai_spine.tables.ensemble.fitting import GroupLoss
from monai_spine.tables.ensemble.model import Ensemble
from monai_spine.tables.ensemble.pooling import equal_weights, fit_weights, pool
from tests.monai_spine.tables.files import part, simulated, written

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stacked() -> Ensemble:
    s = simulated()
    return Ensemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids)


def test_the_plain_mean_is_the_mean_of_probabilities() -> None:
    submissions = simulated().submissions
    assert np.allclose(pool(submissions, equal_weights(3)), submissions.mean(axis=0))


def test_the_best_of_several_models_gets_the_weight_where_the_others_know_nothing() -> None:
    simulation = simulated()
    submissions = np.stack([np.full_like(simulation.submissions[0], 1 / 3), simulation.submissions[0]])
    for group, weights in fit_weights(simulation.labels, submissions).items():
        assert weights[1] > 0.9, group
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()


def test_models_that_say_the_same_share_the_weight() -> None:
    simulation = simulated()
    for weights in fit_weights(simulation.labels, simulation.submissions[[0, 0]]).values():
        assert weights == pytest.approx([0.5, 0.5], abs=1e-3)


def test_fitted_weights_score_no_worse_than_equal_ones_on_what_they_were_fitted_to() -> None:
    simulation = simulated()
    fitted = pool(simulation.submissions, fit_weights(simulation.labels, simulation.submissions))
    mean = simulation.submissions.mean(axis=0)
    assert competition_score(simulation.labels, fitted).score < competition_score(simulation.labels, mean).score


def test_the_groups_losses_add_up_to_the_competitions_score() -> None:
    import torch

    simulation = simulated()
    rows = simulation.submissions[0]
    score = competition_score(simulation.labels, rows)
    expected = {
        Group.SPINAL: (score.spinal + score.any_severe_spinal) / 2,
        Group.FORAMINAL: score.foraminal,
        Group.SUBARTICULAR: score.subarticular,
    }
    for group, value in expected.items():
        loss = GroupLoss(simulation.labels, group)
        logits = torch.from_numpy(np.log(rows))[:, loss.columns].float()
        assert float(loss(logits)) == pytest.approx(value, rel=1e-4)


def test_left_and_right_have_the_same_features_seen_from_their_own_side() -> None:
    submissions = simulated().submissions[:, :5]
    mirrored = submissions[:, :, list(FLIPPED)]
    one = features(submissions, submissions.mean(axis=0))
    other = features(mirrored, mirrored.mean(axis=0))
    assert np.allclose(other, one[:, list(FLIPPED)])


def test_features_hold_the_findings_neighbours_and_nothing_beyond_the_last_level() -> None:
    pooled = simulated().submissions[0, :3]
    found = features(pooled[None], pooled)[..., :30].reshape(3, 25, 5, 3, 2)
    names = [finding.name for finding in FINDINGS]
    own, above = names.index("left_subarticular_stenosis_l3_l4"), names.index("left_subarticular_stenosis_l2_l3")
    assert np.allclose(found[:, own, 3, 1], log_ratios(pooled)[:, own])
    assert np.allclose(found[:, own, 3, 0], log_ratios(pooled)[:, above])
    right, left = names.index("right_subarticular_stenosis_l5_s1"), names.index("left_subarticular_stenosis_l5_s1")
    assert np.allclose(found[:, right, 3, 1], log_ratios(pooled)[:, right])
    assert np.allclose(found[:, right, 4, 1], log_ratios(pooled)[:, left])
    assert (found[:, right, :, 2] == 0).all()


def test_a_mirrored_study_gets_the_mirrored_answer(stacked: Ensemble) -> None:
    submissions = simulated().submissions[:, :20].copy()
    sided = stacked.apply(submissions[:, :, list(FLIPPED)])
    assert np.allclose(sided[:, list(FLIPPED)], stacked.apply(submissions))


def test_what_others_teach_makes_stacking_better_than_the_mean_on_studies_it_never_saw() -> None:
    simulation = simulated(1500, 4)
    known, unseen = slice(1000), slice(1000, None)
    found = Ensemble.fit(
        "stacked", "abcd", simulation.labels[known], simulation.submissions[:, known], simulation.study_ids[known]
    )
    answers = found.apply(simulation.submissions[:, unseen])
    mean = simulation.submissions[:, unseen].mean(axis=0)
    labels = simulation.labels[unseen]
    assert competition_score(labels, answers).score < competition_score(labels, mean).score - 0.001


def test_the_same_input_gives_the_same_ensemble(stacked: Ensemble) -> None:
    s = simulated()
    assert Ensemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids).to_json() == stacked.to_json()


def test_an_ensemble_comes_back_from_json_as_it_was(stacked: Ensemble) -> None:
    submissions = simulated().submissions[:, :10]
    again = Ensemble.from_json(stacked.to_json())
    assert np.array_equal(again.apply(submissions), stacked.apply(submissions))
    assert np.allclose(again.apply(submissions).sum(axis=-1), 1)


def without(content: dict, *keys: str) -> dict:
    return {key: value for key, value in content.items() if key not in keys}


def test_a_damaged_ensemble_is_refused(stacked: Ensemble, tmp_path: Path) -> None:
    content = json.loads(stacked.to_json())
    damaged = [
        without(content, "schema"),
        {**content, "method": "median"},
        {**content, "submissions": ["a"]},
        {**content, "weights": {}},
        {**content, "stack": {}},
        {**content, "weights": {group: [None] * 3 for group in content["weights"]}},
    ]
    for n, one in enumerate(damaged):
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(one))
        with pytest.raises(InvalidTableError, match="expected an ensemble"):
            Ensemble.read(path)


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("combined")
    solution, submissions = written(folder, simulated(60))
    found = combine(submissions, folder / "out", solution, method="stacked", folds=2, quiet=True)
    return folder, found


def test_the_table_names_every_submission_and_every_method(combined) -> None:
    _, found = combined
    assert list(found.scores) == ["model_1", "model_2", "model_3", "mean", "weighted", "stacked"]
    expected = competition_score(simulated(60).labels, simulated(60).submissions.mean(axis=0)).score
    assert found.scores["mean"]["score"].value == pytest.approx(expected, abs=1e-6)
    assert "stacked against mean" in found.to_text()
    assert set(json.loads(found.to_json())["against_mean"]) == {"weighted", "stacked"}


def test_the_rows_that_are_written_score_what_the_table_says(combined) -> None:
    folder, found = combined
    table = pd.read_csv(folder / "out" / "predictions.csv").set_index("row_id")
    s = simulated(60)
    rows = np.array([[table.loc[f.row_id(study)].to_numpy() for f in FINDINGS] for study in s.study_ids])
    assert competition_score(s.labels, rows).score == pytest.approx(found.scores["stacked"]["score"].value, abs=1e-6)


def test_a_stored_ensemble_takes_submissions_by_name_in_any_order(combined, tmp_path: Path) -> None:
    folder, found = combined
    _, submissions = written(tmp_path, part(simulated(60), slice(3)))
    pairs = apply_ensemble(folder / "out" / "ensemble.json", submissions[::-1], tmp_path / "new")
    assert pairs == {name: name for name in ("model_1", "model_2", "model_3")}
    table = pd.read_csv(tmp_path / "new" / "predictions.csv").set_index("row_id")
    expected = found.ensemble.apply(simulated(60).submissions[:, :3])
    name = f"{simulated(60).study_ids[1]}_{FINDINGS[7].name}"
    assert np.allclose(table.loc[name], expected[1, 7], atol=1e-6)


def test_a_stored_ensemble_wants_as_many_submissions_as_it_was_made_of(combined, tmp_path: Path) -> None:
    folder, _ = combined
    _, submissions = written(tmp_path, part(simulated(60), slice(3)))
    with pytest.raises(InvalidOptionError, match="made of 3 submissions"):
        apply_ensemble(folder / "out" / "ensemble.json", submissions[:2], tmp_path / "new")


def test_the_mean_needs_no_labels(tmp_path: Path) -> None:
    simulation = part(simulated(), slice(3))
    _, submissions = written(tmp_path, simulation)
    assert combine(submissions, tmp_path / "out") is None
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("row_id")
    name = f"{simulation.study_ids[0]}_{FINDINGS[0].name}"
    assert np.allclose(table.loc[name], simulation.submissions[:, 0, 0].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("count", "method", "message"), [(1, "mean", "at least two"), (3, "stacked", "--solution")])
def test_what_cannot_be_combined_is_refused(count: int, method: str, message: str, tmp_path: Path) -> None:
    _, submissions = written(tmp_path, part(simulated(), slice(3)))
    with pytest.raises(InvalidOptionError, match=message):
        combine(submissions[:count], tmp_path / "out", method=method)


def test_studies_without_severe_findings_but_one_are_no_obstacle() -> None:
    simulation = part(simulated(), slice(30))
    labels = np.where(simulation.labels == Grade.SEVERE, MISSING, simulation.labels)
    labels[0, :] = Grade.SEVERE
    found = Ensemble.fit("stacked", NAMES, labels, simulation.submissions, simulation.study_ids)
    assert np.isfinite(competition_score(labels, found.apply(simulation.submissions)).score)
