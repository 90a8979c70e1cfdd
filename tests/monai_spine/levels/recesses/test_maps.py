import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.geometry import to_world
from monai_spine.levels.recesses.crop import PIXELS, STEP_MM, crop_affine
from monai_spine.levels.recesses.detection import read_recesses
from monai_spine.levels.recesses.maps import RecessLoss, RecessMapsd, distributions
from monai_spine.levels.recesses.metrics import RecessMetric
from monai_spine.levels.recesses.planes import LEAST_CONFIDENCE
from monai_spine.spine import Side

AFFINE = crop_affine(np.diag([0.5, 0.5, 4.0, 1.0]), np.array([5.0, -20.0, 0.0]))


def maps_of(places: np.ndarray) -> torch.Tensor:
    image = torch.zeros(3, 1, PIXELS, PIXELS)
    return RecessMapsd()({"image": image, "affine": AFFINE, "recess": places})["label"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(8, 54), st.floats(8, 54)), min_size=2, max_size=2))
def test_a_point_is_read_back_from_its_map(pixels: list[tuple[float, float]]) -> None:
    places = to_world(AFFINE, [[0.0, *pixel] for pixel in pixels])
    maps = maps_of(places)
    assert maps.shape == (2, 1, PIXELS // 2, PIXELS // 2)
    assert maps.sum(dim=(1, 2, 3)).numpy() == pytest.approx([1, 1], abs=1e-5)
    for place, seen in zip(places, read_recesses(maps, AFFINE).values(), strict=True):
        assert seen.world == pytest.approx(place, abs=0.1)
        assert seen.confidence > 0.97


def test_no_recess_and_one_out_of_the_crop_are_the_same_everywhere() -> None:
    away = to_world(AFFINE, [0.0, 32.0, 32.0 + 60.0 / STEP_MM])
    maps = maps_of(np.stack([np.full(3, np.nan), away]))
    assert torch.allclose(maps, torch.full_like(maps, 1.0 / maps[0].numel()))
    assert all(seen.confidence < 0.1 for seen in read_recesses(maps, AFFINE).values())


def test_the_loss_is_least_at_the_target() -> None:
    target = maps_of(to_world(AFFINE, [[0.0, 20.0, 30.0], [0.0, 44.0, 33.0]]))[None]
    logits = target.clamp(min=1e-12).log()
    least = RecessLoss()(logits, target)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = logits + 0.3 * torch.randn(logits.shape, generator=generator)
        assert RecessLoss()(other, target) > least
    assert least == pytest.approx(-float((target * logits).sum()) / 2, abs=1e-4)
    assert torch.allclose(distributions(logits[0]), target[0], atol=1e-6)


def test_figures_count_what_they_say() -> None:
    places = to_world(AFFINE, [[0.0, 20.0, 30.0], [0.0, 44.0, 33.0]])
    there = {"pred": maps_of(places), "affine": AFFINE, "recess": places}
    moved = {**there, "recess": places + np.array([4.0, 0.0, 0.0])}
    faint = {**there, "pred": maps_of(np.full((2, 3), np.nan)), "recess": np.stack([places[0], np.full(3, np.nan)])}
    nothing = {**there, "recess": np.full((2, 3), np.nan)}
    figures = {}
    for figure in ("error", "far", "unsure", "invented"):
        metric = RecessMetric(figure)
        metric.update([there, moved])
        metric.update([faint, nothing])
        figures[figure] = metric.compute()
    faint_error = np.linalg.norm(read_recesses(faint["pred"], AFFINE)[Side.LEFT].world - places[0])
    assert figures["error"] == pytest.approx((0 + 0 + 4 + 4 + faint_error) / 5, abs=0.05)
    assert figures["far"] == pytest.approx((2 + (faint_error > 3)) / 5)
    assert figures["unsure"] == pytest.approx(1 / 5)
    assert figures["invented"] == pytest.approx(2 / 3)
    assert 0.1 < LEAST_CONFIDENCE < 0.97
    with pytest.raises(ValueError, match="error, far, unsure, invented"):
        RecessMetric("best")
    assert np.isnan(RecessMetric("error").compute())
