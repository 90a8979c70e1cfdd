"""Workers and schedulers that are killed end a run with one line."""

from __future__ import annotations

import os
import signal

import pytest

from data_prep import workers
from monai_spine.errors import SpineError


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
def test_a_closed_scheduler_is_one_line_that_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_ANSWERS_WITHIN", "2s")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        results = workers.run(abs, range(200), cluster=cluster.scheduler_address)
        assert next(results) >= 0
        cluster.close()
        with pytest.raises(SpineError, match=r"does not answer any more; \d+ of 200 tasks") as raised:
            list(results)
    assert "\n" not in str(raised.value)


def test_a_client_that_cannot_be_closed_hides_no_error() -> None:
    class Lost:
        def close(self) -> None:
            raise RuntimeError("Cannot change state of expiring Timeout")

    with pytest.raises(SpineError, match="the scheduler is gone"), workers._closed_at_end(Lost()):
        raise SpineError("the scheduler is gone")
    with workers._closed_at_end(Lost()):
        pass
