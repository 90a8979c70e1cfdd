from pathlib import Path

import pytest

from monai_spine.errors import SpineError
from monai_spine.experiments import demo
from monai_spine.experiments.demo import DemoError, run_demo


def test_the_demo_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SpineError, match="new or empty folder"):
        run_demo(tmp_path, studies=10, held_out=5, epochs=1)


def test_a_step_that_fails_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(demo, "_steps", lambda *_: [("fails", ["python", "-c", "raise SystemExit(3)"])])
    with pytest.raises(DemoError, match="exit code 3"):
        run_demo(tmp_path / "out", studies=10, held_out=5, epochs=1)
    assert "$ python -c 'raise SystemExit(3)'" in capsys.readouterr().out
