from pathlib import Path

import pytest

from monai_spine.experiments.tuning.configuration import Configuration, direction_of
from tests.bundles.runs import CONFIGS, SMALL
from tests.cohorts import write_cohort

BUNDLE = CONFIGS.parent


SETTINGS = tuple((name, str(value)) for name, value in SMALL.items() if name != "epochs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=4)


def test_the_figure_and_its_direction_are_those_of_the_bundle(data: Path) -> None:
    assert Configuration(BUNDLE, (), SETTINGS, data).key_metric() == ("score", False)
    assert [direction_of(name) for name in ("val_loss", "score", "mean_auc", "balanced_accuracy")] == [0, 0, 1, 1]
