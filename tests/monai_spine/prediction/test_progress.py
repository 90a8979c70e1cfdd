"""What a run says while it goes on."""

from pathlib import Path

import pytest

from monai_spine.console import in_words
from monai_spine.prediction import progress as module
from monai_spine.prediction.outcomes import Outcome
from monai_spine.prediction.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as its only entry."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_the_log_has_a_line_for_each_study_with_its_seconds_and_the_time_left_by_the_clock(
    tmp_path: Path, clock: list[float]
) -> None:
    progress = Progress(tmp_path / "out", 4)
    progress.start("Research software.")
    for study, kept, seconds in (("a", True, 1.0), ("b", False, 100.0), ("c", False, 140.0)):
        clock[0] += seconds
        outcome = Outcome(study, "", refused="no\nspine" if study == "c" else "", seconds=2 * seconds)
        progress.study(outcome, kept=kept)
    progress.end("3 studies graded")
    lines = [line.partition("  ")[2] for line in (tmp_path / "out/log.txt").read_text().splitlines()]
    assert lines == [
        "4 studies; Research software.",
        "1/4 a graded (done before)",
        "2/4 b graded (200.0 s) about 3 minutes left",
        "3/4 c refused: no spine (280.0 s) about 2 minutes left",
        "3 studies graded",
    ]
    assert progress.pace == "120.0 s a study"


def test_a_second_run_goes_on_with_the_same_log(tmp_path: Path) -> None:
    for _ in range(2):
        Progress(tmp_path, 1).start("text")
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_tables_are_written_again_and_again_but_cost_a_twentieth_at_most(tmp_path: Path, clock: list[float]) -> None:
    progress, spent, written = Progress(tmp_path, 200), 0.0, []
    progress.start("")
    for number in range(1, 201):
        clock[0] += 5.0
        progress.study(Outcome(str(number), ""), kept=False)
        if progress.tables_due():
            cost = 0.05 * number
            clock[0] += cost
            spent += cost
            written.append(number)
            progress.tables_written(cost)
    assert written[:2] == [1, 3]
    assert 200 not in written  # the run writes them at its end anyway
    assert len(written) > 5
    assert spent < clock[0] / 20


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((20, "less than a minute"), (70, "about 1 minute"), (4000, "about 67 minutes"), (9000, "about 2.5 hours")),
        (3 * 86400, "about 3 days"),
    ],
)
def test_lengths_of_time_are_told_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
