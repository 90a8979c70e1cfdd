from pathlib import Path

import pytest

from monai_spine.errors import MissingInputError, SpineError
from monai_spine.experiments import demo
from monai_spine.experiments.demo import DemoError, Plan, run_demo

ROOT = Path(__file__).parents[3]


def test_the_demo_needs_the_repositorys_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match="root of the repository"):
        run_demo(tmp_path / "out", Plan(10, 5, 1))


def test_the_demo_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SpineError, match="new or empty folder"):
        run_demo(tmp_path, Plan(10, 5, 1))


def test_a_step_that_fails_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(demo, "_steps", lambda out, plan: [("fails", ["python", "-c", "raise SystemExit(3)"])])
    with pytest.raises(DemoError, match="exit code 3"):
        run_demo(tmp_path / "out", Plan(10, 5, 1))
    assert "$ python -c 'raise SystemExit(3)'" in capsys.readouterr().out
