"""The simulation of many studies, against figures by hand."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import scale

PLAIN = {"disk": 1e9, "study_mb": 1.0, "spot": 0.0, "restart_minutes": 5.0}


def schedule(seconds: list[float], workers: int, **changes: float) -> tuple[float, float, float]:
    return scale.schedule(seconds, workers, argparse.Namespace(**{**PLAIN, **changes}), random.Random(0))


def test_equal_studies_are_shared_evenly() -> None:
    hours, lost, busy = schedule([36.0] * 100, 10)
    assert (hours, lost, busy) == pytest.approx((0.1, 0.0, 1.0))


def test_a_disk_at_half_the_speed_doubles_the_time() -> None:
    fast, slow = schedule([10.0] * 100, 10)[0], schedule([10.0] * 100, 10, disk=5.0, study_mb=10.0)[0]
    assert slow == pytest.approx(2 * fast)  # ten workers would read 10 MB/s


def test_interruptions_cost_what_they_should() -> None:
    """Of a study of s seconds at the rate r, the expected work before it is done is (exp(r s) - 1) / r seconds."""
    seconds, rate = 360.0, 1.0
    _, lost, busy = schedule([seconds] * 20_000, 100, spot=rate)
    expected = (2.718281828 ** (rate * seconds / 3600) - 1) / (rate / 3600)
    assert busy * 3600 / 20_000 == pytest.approx(expected, rel=0.01)
    waited = (2.718281828 ** (rate * seconds / 3600) - 1) * 60 * PLAIN["restart_minutes"]
    assert lost == pytest.approx((expected - seconds + waited) / (expected + waited), rel=0.05)


@pytest.mark.slow
def test_generated_tables_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scale.merge(argparse.Namespace(folder=tmp_path / "out", studies=200, parts=4))
    assert "200 studies × 25 of 4 parts" in capsys.readouterr().out
    assert len((tmp_path / "out/findings.csv").read_text().splitlines()) == 200 * 25 + 1
