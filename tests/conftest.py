"""Lists the slow tests that lack the mark ``slow``: without the mark they run in ``make quick``, which must stay quick.

The measure is processor time of the test and of the processes that it waited for. On a busy machine, wall time
tells more about the other jobs than about the test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

SECONDS = "processor_seconds"
# The commands of the tests run their networks in PyTorch: converting the many small bundles would take longer than
# grading with them. Tests of runtimes name the runtime.
os.environ.setdefault("MONAI_SPINE_RUNTIME", "torch")
# Jobs that a script starts in the background ignore SIGINT, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
START = pytest.StashKey[float]()


@pytest.fixture
def default_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands with the shipped bundles: without MONAI, which PyTorch's networks import, they take 2 s, not 8."""
    monkeypatch.delenv("MONAI_SPINE_RUNTIME")


def processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("slow_from", "processor seconds from which a test needs the mark slow", default="10")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    # The clock starts before the fixtures: a module's fixture is paid by the first test that asks for it.
    item.stash[START] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call" and "slow" not in item.keywords:
        report.user_properties.append((SECONDS, processor_seconds() - item.stash[START]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    limit = float(config.getini("slow_from"))
    seconds = {
        report.nodeid: value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if report.when == "call" and name == SECONDS and value > limit
    }
    if seconds:
        terminalreporter.section(f"more than {limit:g} s of the processor, without the mark slow")
        for nodeid, value in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.line(f"{value:7.1f} s  {nodeid}")
