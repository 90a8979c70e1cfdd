"""When a volume is read a second time, upside down, and what follows from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_spine.levels import localizers
from monai_spine.levels.localizers import UPSIDE_DOWN, LevelLocator
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.points import SpinePoints, with_doubt
from tests.monai_spine.levels.test_several_locators import spine


def risen(points: SpinePoints, rise: float) -> SpinePoints:
    assert points.chain is not None
    return replace(points, chain=replace(points.chain, rise=rise))


UNCLEAR, CLEAR = risen(spine(), 2.0), risen(spine(), 6.0)


class Reader:
    """Answers that a network would give, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[SpinePoints] = []
        monkeypatch.setattr(localizers, "read_maps", lambda *_: self.answers.pop(0))
        monkeypatch.setattr(LevelLocator, "maps", lambda *_: None)
        self._locator = LevelLocator(torch.nn.Identity())

    def __call__(self, *answers: SpinePoints, volumes: int = 1) -> SpinePoints:
        """The locator's answer for the first volume of a study.

        The first of the answers are what the volumes read as, and then follow those upside down.
        """
        self.answers = list(answers)
        images = {str(n): (np.zeros((1, 2, 2), np.float32), np.eye(4)) for n in range(volumes)}
        points = self._locator.study_points(images)
        assert not self.answers
        assert list(points) == list(images)
        return points["0"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(monkeypatch)


def test_a_volume_that_is_surely_upright_is_read_once(read: Reader) -> None:
    assert read(CLEAR) is CLEAR


def test_a_volume_that_shows_a_better_spine_upside_down_shows_none(read: Reader) -> None:
    assert read(risen(spine(sure=0.5), -2), spine(sure=0.9)).reason == UPSIDE_DOWN


@pytest.mark.parametrize(("turned", "doubted"), [(0.5, False), (0.9, True)])
def test_only_a_much_worse_spine_upside_down_leaves_no_doubt(read: Reader, turned: float, doubted: bool) -> None:
    chain = read(UNCLEAR, spine(sure=turned)).chain
    assert chain is not None
    assert (Doubt.UPSIDE_DOWN in chain.doubts) is doubted


def test_a_volume_with_the_spine_of_an_upright_one_beside_it_is_read_once_and_has_no_doubt(read: Reader) -> None:
    below = with_doubt(risen(spine((1, 3, 4)), -1), Doubt.UPSIDE_DOWN)
    chain = read(below, CLEAR, volumes=2).chain
    assert chain is not None
    assert chain.certain


@pytest.mark.parametrize(
    "beside",
    [
        spine((0, 0, 30)),  # other names at the same places
        spine((0, 0, 400)),
        with_doubt(UNCLEAR, Doubt.UPSIDE_DOWN),
        SpinePoints(None, (), (), UPSIDE_DOWN),
        replace(CLEAR, points=CLEAR.points[:3]),
    ],
)
def test_another_volume_that_proves_nothing_does_not_save_the_second_reading(read: Reader, beside: SpinePoints) -> None:
    assert read(UNCLEAR, beside, spine(sure=0.5), volumes=2).chain is not None
