import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import SpineError
from monai_spine.experiments import demo
from monai_spine.experiments.demo import DemoError, _scores, run_demo
from monai_spine.scoring.prevalence import normalised
from monai_spine.scoring.submission import read_labels, write_predictions
from tests.data_prep.tiny_phantom import write_cohort


def test_the_demo_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SpineError, match="new or empty folder"):
        run_demo(tmp_path, studies=10, held_out=5, epochs=1)


def test_a_step_that_fails_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(demo, "_steps", lambda *_: [("fails", ["python", "-c", "raise SystemExit(2)"])])
    with pytest.raises(DemoError, match="exit code 2"):
        run_demo(tmp_path / "out", studies=10, held_out=5, epochs=1)
    assert "$ python -c 'raise SystemExit(2)'" in capsys.readouterr().out


def test_the_ending_shows_both_networks_between_prior_and_floor(tmp_path: Path) -> None:
    for n, folder in enumerate(("rsna", "unseen")):
        write_cohort(tmp_path / folder, studies=4, seed=n)
    labels = read_labels(tmp_path / "unseen" / "train.csv")
    floor = np.array(json.loads((tmp_path / "unseen/floor.json").read_text())["floor"]["score"])
    truth = np.eye(3)[np.where(labels.grades < 0, 0, labels.grades)]
    for folder, sharpness in (("predictions", 0.1), ("graded", 0.5)):
        rows = normalised(sharpness * truth + (1 - sharpness) / 3)
        write_predictions(tmp_path / folder / "predictions.csv", labels.study_ids, rows)
    text = _scores(tmp_path)
    assert text.splitlines()[0].split() == ["prior", "trained", "shipped", "floor"]
    scores = dict(zip(text.splitlines()[0].split(), map(float, text.splitlines()[1].split()[1:]), strict=True))
    assert scores["floor"] == pytest.approx(float(floor), abs=1e-4)
    assert scores["trained"] > scores["shipped"]
    assert text.splitlines()[-1].startswith("share of the way            0%")
