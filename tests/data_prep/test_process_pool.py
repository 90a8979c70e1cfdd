"""Processes that begin at once and work beside this one; none of them is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep import process_pool
from data_prep.process_pool import AHEAD, Pool, processes_of
from monai_spine.errors import InvalidOptionError, SpineError


def _other() -> bool:
    return multiprocessing.parent_process() is not None


def _process(number: int) -> tuple[int, int]:
    time.sleep(0.05)
    return number, os.getpid()


def _waiting_for_both(folder: Path) -> bool:
    """Each of two processes waits until the other one has begun an item, too."""
    (folder / str(_other())).touch()
    _wait(lambda: len(list(folder.iterdir())) == 2)
    return _other()


def _ending_with_another(number: int) -> int:
    if _other():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    return number


def _begun(path: Path) -> Path:
    path.touch()
    return path


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_this_process_and_another_do_each_item_once_at_the_same_time(tmp_path: Path) -> None:
    with Pool(1, int) as pool:
        assert sorted(pool.run(_waiting_for_both, [tmp_path, tmp_path])) == [False, True]
        done = list(pool.run(_process, range(30)))
    assert sorted(number for number, _ in done) == list(range(30))
    shares = Counter(process for _, process in done)
    assert set(shares) > {os.getpid()}
    assert min(shares.values()) > 5  # neither of them was handed all in advance


def test_items_are_read_ahead_in_order_and_never_more_than_so_many(tmp_path: Path) -> None:
    items = [tmp_path / f"{number:02}" for number in range(9)]
    with Pool(1, int) as pool:
        for number, done in enumerate(pool.ahead(_begun, items)):
            assert done == items[number]
            expected = items[: number + AHEAD + 1]
            _wait(lambda expected=expected: all(path.exists() for path in expected))
            assert sorted(tmp_path.iterdir()) == expected


def test_a_process_of_a_pool_that_is_killed_twice_is_one_line() -> None:
    with Pool(1, int) as pool:
        assert list(pool.ahead(abs, [-1])) == [1]  # it is there
        with pytest.raises(SpineError, match=r"killed.* [1-8] of 9 tasks were done") as raised:
            list(pool.run(_ending_with_another, range(9)))
    assert "\n" not in str(raised.value)


def _often_fatal(item: tuple[int, Path]) -> int:
    """Ends another process: at 3 always, at 7 the first time."""
    number, folder = item
    if _other():
        time.sleep(0.1)
        (folder / f"{number}-{len(list(folder.glob(f'{number}-*')))}").touch()
        if number == 3 or (number == 7 and not (folder / "7-1").exists()):
            os.kill(os.getpid(), signal.SIGKILL)
    else:
        time.sleep(0.5)
    return number


@pytest.mark.parametrize("others", [1, 2])
@pytest.mark.parametrize("way", ["run", "ahead"])
def test_an_item_for_which_a_process_is_killed_twice_is_given_up_and_all_others_are_done(
    way: str, others: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [(number, tmp_path) for number in ([3, 5, 6, 8, 9, 1, 7] if way == "run" else range(9))]
    before = set(multiprocessing.active_children())  # of other tests
    with Pool(others, int) as pool:
        results = getattr(pool, way)(_often_fatal, items, if_killed=lambda item: -item[0])
        done = list(results)
        assert list(pool.ahead(abs, [-1, -2])) == [1, 2]  # its processes go on
    expected = [-3 if number == 3 else number for number, _ in items]
    assert done == expected if way == "ahead" else sorted(done) == sorted(expected)
    assert "done again, alone" in caplog.text
    assert set(multiprocessing.active_children()) <= before


def test_an_error_of_an_item_in_another_process_is_raised_here() -> None:
    with Pool(1, int) as pool, pytest.raises(ZeroDivisionError):
        list(pool.ahead((1).__floordiv__, [0]))


@pytest.mark.parametrize(("workers", "count"), [(3, 3), (-1, 8), (-2, 7), (-20, 1)])
def test_negative_numbers_of_workerscount_from_the_cores(
    workers: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "cores", lambda: 8)
    assert processes_of(workers) == count
    with pytest.raises(InvalidOptionError, match="but found 0"):
        processes_of(0)


_RUN = """
import os, sys, time
from data_prep.process_pool import Pool
if __name__ == "__main__":
    with Pool(2, os.getpid) as pool:
        print(*pool.ahead(os.getpgid, [0]), *[child.pid for child in pool.children], flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_is_left_when_the_run_is_killed_or_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "run.py").write_text(_RUN)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, tmp_path / "run.py"], **pipes) as process:
        assert process.stdout is not None
        group, *children = map(int, process.stdout.readline().split())
        assert len(children) == 2
        # A terminal sends Ctrl-C to all processes of the group.
        if number is signal.SIGINT:
            os.killpg(group, number)
        else:
            process.send_signal(number)
        said = process.communicate()[1]
    _wait(lambda: not any(_alive(child) for child in children))
    assert said.count("Traceback") == (number is signal.SIGINT)  # that of the run itself


def _alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z"
