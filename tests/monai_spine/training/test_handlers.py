import json
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError
from monai_spine.images.evaluation.figures import ClassificationFigures
from monai_spine.levels.sagittal.slice_unet import SliceUNet
from monai_spine.training.best_model import BestModel
from monai_spine.training.inferers import MixedPrecisionInferer
from monai_spine.training.metrics import CompetitionScore
from monai_spine.training.reports import ScoreReport
from monai_spine.weights import load_safely, load_weights


def training(scores: list[float], **options: object) -> tuple[BestModel, Engine]:
    """A trainer whose validation gives the scores one epoch after the other; ``path`` is among the options."""
    network = torch.nn.Linear(2, 2)
    best = BestModel(network=network, **options)  # type: ignore[arg-type]
    trainer = Engine(lambda engine, batch: network.weight.data.add_(1))
    evaluator = Engine(lambda engine, batch: None)
    best.attach(evaluator, trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.metrics = {"score": scores[trainer.state.epoch - 1]}
        evaluator.fire_event(Events.COMPLETED)

    return best, trainer


def test_the_best_weights_are_those_of_the_lowest_score(tmp_path: Path) -> None:
    best, trainer = training([0.9, 0.7, 0.8], path=str(tmp_path / "model.pt"))
    start = best.network.weight.clone()
    trainer.run([0], max_epochs=3)
    kept = torch.load(tmp_path / "model.pt", weights_only=True)["weight"]
    assert torch.allclose(kept, start + 2)
    assert best.state_dict() == {"best": 0.7, "best_epoch": 2}


def test_training_ends_when_nothing_improves_for_as_long_as_patience_lasts(tmp_path: Path) -> None:
    _, trainer = training([0.9, 0.7, 0.8, 0.8, 0.6], path=str(tmp_path / "m.pt"), patience=2)
    assert trainer.run([0], max_epochs=5).epoch == 4


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    best, trainer = training([math.nan, 0.7], path=str(tmp_path / "m.pt"))
    trainer.run([0], max_epochs=2)
    assert best.best == 0.7


def test_a_figure_that_no_metric_gives_is_refused_before_the_training(tmp_path: Path) -> None:
    def best(figure: str) -> BestModel:
        return BestModel(network=torch.nn.Linear(1, 1), path=str(tmp_path / "m.pt"), key_metric=figure)

    grading, images = Engine(lambda *_: None), Engine(lambda *_: None)
    best("anything").check(grading)  # an engine without metrics may get its figures from elsewhere
    CompetitionScore().attach(grading, "score")
    CompetitionScore("spinal").attach(grading, "score_spinal")
    best("score_spinal").check(grading)
    with pytest.raises(InvalidOptionError, match="as one of score, score_spinal, but found 'scor'"):
        best("scor").check(grading)
    ClassificationFigures(["cat", "dog"]).attach(images, "accuracy")
    for figure in ("accuracy", "macro_f1", "auc/dog", "exact_match"):
        best(figure).check(images)
    with pytest.raises(InvalidOptionError, match="but found 'accurac'"):
        best("accurac").check(images)


def test_a_word_in_place_of_true_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="--amp False"):
        MixedPrecisionInferer(enabled="false")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 and so on"], ids=["empty", "rubbish", "zip"])
def test_a_damaged_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(InvalidTableError, match=r"m\.pt"):
        load_safely(tmp_path / "m.pt")


def test_a_weights_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "m.pt")
    with pytest.raises(InvalidTableError):
        load_safely(tmp_path / "m.pt")


def test_the_state_of_a_run_gives_its_networks_weights(tmp_path: Path) -> None:
    network, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    torch.save({"parts": {"network": network.state_dict()}, "progress": {}}, tmp_path / "latest.pt")
    load_weights(other, tmp_path / "latest.pt")
    assert torch.equal(other.weight, network.weight)


def test_weights_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "m.pt")
    network = torch.nn.Linear(2, 2)
    before = network.weight.clone()
    with pytest.raises(SpineError, match="does not fit"):
        load_weights(network, tmp_path / "m.pt")
    assert torch.equal(network.weight, before)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    layers = [torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 3)]
    torch.save(torch.nn.Sequential(*layers, torch.nn.Linear(3, 3)).state_dict(), tmp_path / "m.pt")
    layers[1], layers[2] = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 4)
    with pytest.raises(InvalidTableError) as raised:
        load_weights(torch.nn.Sequential(*layers), tmp_path / "m.pt")
    said = str(raised.value)
    assert "it lacks 5: 1.weight, 1.bias" in said
    assert "the network lacks 2: 3.weight, 3.bias" in said
    assert "2.weight (3 x 2 in the file, 4 x 2 in the network)" in said


def test_a_figure_that_is_not_defined_is_null_in_the_report(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: None)
    ScoreReport(str(tmp_path)).attach(engine)
    engine.state.metrics = {"score": 0.5, "score_of_prior": math.nan}
    engine.fire_event(Events.COMPLETED)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"score": 0.5, "score_of_prior": None}


def test_bfloat16_gives_float32_back_close_to_full_precision() -> None:
    network, image = torch.nn.Conv2d(2, 3, 3), torch.rand(1, 2, 8, 8)
    with torch.no_grad():
        exact = MixedPrecisionInferer(False)(image, network)
        mixed = MixedPrecisionInferer(True)(image, network)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert torch.allclose(mixed, exact, atol=0.02)


def test_training_a_3d_network_in_bfloat16_on_a_cpu_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="--amp False"):
        MixedPrecisionInferer(True)(torch.rand(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 1, 3))


def test_a_network_that_keeps_its_3d_convolutions_in_float32_trains_in_bfloat16_on_a_cpu() -> None:
    torch.manual_seed(3)
    network, image = SliceUNet(out_channels=8, channels=[4, 8], mixed=1), torch.rand(1, 1, 12, 32, 32)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        MixedPrecisionInferer(enabled)(image, network).square().mean().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize(
    ("prior", "words"), [(0.4, "the score is worse than the prior (0.4000): nothing learnt"), (0.6, "by 0.1000")]
)
def test_a_training_ends_with_its_best_score_against_the_prior(
    prior: float, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    trainer, evaluator = Engine(lambda *_: None), Engine(lambda *_: None)
    best = BestModel(network=torch.nn.Linear(1, 1), path=str(tmp_path / "model.pt"))
    best.attach(evaluator, trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    evaluator.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(score=0.5, score_of_prior=prior)
    )
    trainer.run([0])
    assert "best score 0.5000 (lower is better) in epoch 1" in caplog.text
    assert words in caplog.text
    assert ("WARNING" in caplog.text) == (prior < 0.5)
