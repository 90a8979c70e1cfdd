"""Workers and schedulers that are killed end a run with one line."""

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

from data_prep import workers
from data_prep.workers import Pool
from monai_spine.errors import InvalidOptionError, SpineError


def _killing(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_a_killed_worker_is_one_line_that_says_how_to_go_on() -> None:
    with pytest.raises(SpineError, match=r"killed.* of 9 tasks were done\. .*--resume.*--workers") as raised:
        list(workers.run(_killing, range(9), 2))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_closed_scheduler_is_one_line_that_says_how_to_go_on() -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        results = workers.run(abs, range(200), cluster=cluster.scheduler_address)
        assert next(results) >= 0
        cluster.close()
        with pytest.raises(SpineError, match=r"does not answer any more; \d+ of 200 tasks") as raised:
            list(results)
    assert "\n" not in str(raised.value)


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
        for number, done in enumerate(pool.ahead(_begun, items, most=2)):
            assert done == items[number]
            expected = items[: number + 3]
            _wait(lambda expected=expected: all(path.exists() for path in expected))
            assert sorted(tmp_path.iterdir()) == expected


def test_a_killed_process_of_a_pool_is_one_line() -> None:
    with Pool(1, int) as pool:
        assert list(pool.ahead(abs, [-1])) == [1]  # it is there
        with pytest.raises(SpineError, match=r"killed.* [1-8] of 9 tasks were done") as raised:
            list(pool.run(_ending_with_another, range(9)))
    assert "\n" not in str(raised.value)


def test_an_error_of_an_item_in_another_process_is_raised_here() -> None:
    with Pool(1, int) as pool, pytest.raises(ZeroDivisionError):
        list(pool.ahead((1).__floordiv__, [0]))


@pytest.mark.parametrize(("workers_", "count"), [(3, 3), (-1, 8), (-2, 7), (-20, 1)])
def test_negative_numbers_of_workers_count_from_the_cores(
    workers_: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    assert workers.processes_of(workers_) == count
    with pytest.raises(InvalidOptionError, match="but found 0"):
        workers.processes_of(0)


_RUN = """
import os, sys, time
from data_prep.workers import Pool
if __name__ == "__main__":
    with Pool(2, os.getpid) as pool:
        print(*pool.ahead(os.getpgid, [0]), *[child.pid for child in pool._children], flush=True)
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
