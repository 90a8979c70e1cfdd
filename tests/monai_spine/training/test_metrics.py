import numpy as np
import pytest
import torch
from ignite.engine import Engine
from sklearn.metrics import roc_auc_score

from monai_spine.scoring.competition import competition_score, constant_score, level_prior
from monai_spine.spine import Condition, columns_of
from monai_spine.training.engine_output import studies_of
from monai_spine.training.metrics import (
    CompetitionScore,
    ConditionLoss,
    PriorScore,
    SevereAUC,
    detail_metrics,
)

RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 2, -1], size=(12, 25), p=[0.5, 0.2, 0.2, 0.1])
ROWS = RNG.dirichlet([1, 1, 1], size=(12, 25)).astype(np.float32)


def batches(repeated: int = 0) -> list[list[dict]]:
    order = [*range(12), *range(repeated)]
    studies = [
        {"study_id": str(n), "pred": torch.from_numpy(ROWS[n]), "label": torch.from_numpy(LABELS[n])} for n in order
    ]
    return [studies[n : n + 5] for n in range(0, len(studies), 5)]


def figure(metric: object, repeated: int = 0) -> float:
    def step(engine: Engine, batch: list[dict]) -> list[dict]:
        engine.state.batch = [{"study_id": study["study_id"]} for study in batch]
        return [{"pred": study["pred"], "label": study["label"]} for study in batch]

    engine = Engine(step)
    metric.attach(engine, "figure")  # type: ignore[attr-defined]
    return engine.run(batches(repeated)).metrics["figure"]


@pytest.mark.parametrize("part", ["score", "spinal", "foraminal", "subarticular", "any_severe_spinal"])
def test_the_metric_over_batches_is_the_score_of_all_studies(part: str) -> None:
    expected = competition_score(LABELS, ROWS.astype(np.float64)).as_dict()[part]
    assert figure(CompetitionScore(part)) == pytest.approx(expected, rel=1e-9)


def test_a_study_that_a_sampler_repeats_counts_once() -> None:
    assert figure(CompetitionScore(), repeated=7) == figure(CompetitionScore())


def test_the_prior_score_does_not_depend_on_the_model() -> None:
    expected = constant_score(LABELS, level_prior(LABELS, 0.5)).score
    assert figure(PriorScore(LABELS)) == pytest.approx(expected)


def test_the_auc_is_scikit_learns_over_the_conditions_labelled_levels() -> None:
    condition = Condition.LEFT_SUBARTICULAR_STENOSIS
    labels, severe = LABELS[:, columns_of(condition)], ROWS[:, columns_of(condition), 2]
    known = labels != -1
    assert figure(SevereAUC(condition.value)) == pytest.approx(roc_auc_score(labels[known] == 2, severe[known]))


def test_the_groups_loss_lies_between_the_losses_of_its_two_sides() -> None:
    left, right = (ConditionLoss(f"{side}_subarticular_stenosis") for side in ("left", "right"))
    low, high = sorted([figure(left), figure(right)])
    assert low <= competition_score(LABELS, ROWS.astype(np.float64)).subarticular <= high


def test_without_severe_labels_the_auc_is_not_defined() -> None:
    metric = SevereAUC(Condition.SPINAL_CANAL_STENOSIS.value)
    assert np.isnan(metric.figure(np.zeros((3, 25), dtype=int), ROWS[:3].astype(np.float64)))


def test_without_labels_a_conditions_loss_is_not_defined() -> None:
    metric = ConditionLoss(Condition.SPINAL_CANAL_STENOSIS.value)
    assert np.isnan(metric.figure(np.full((3, 25), -1), ROWS[:3].astype(np.float64)))


def test_before_any_study_the_score_is_not_defined() -> None:
    assert np.isnan(CompetitionScore().compute())


def test_every_condition_has_a_loss_and_an_auc() -> None:
    names = set(detail_metrics([{"label": row.tolist()} for row in LABELS]))
    assert {f"{kind}_{condition.value}" for kind in ("loss", "auc_severe") for condition in Condition} <= names
    assert {"score_of_prior", "score_any_severe_spinal"} <= names


def test_batches_that_were_not_decollated_are_refused() -> None:
    engine = Engine(lambda engine, batch: {"pred": batch})
    engine.run([1])
    with pytest.raises(TypeError, match="decollate=True"):
        studies_of(engine)
