"""What a study took: seconds, the peak of memory, and the machine."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class StudyCost:
    """Seconds by the clock, the most memory of the process in MB while it worked on the study, and the machine."""

    seconds: float = 0.0
    peak_mb: int = 0
    machine: str = ""

    def __add__(self, other: StudyCost) -> StudyCost:
        """What two steps took, one after the other, on one machine."""
        seconds, peak = round(self.seconds + other.seconds, 2), max(self.peak_mb, other.peak_mb)
        return StudyCost(seconds, peak, other.machine or self.machine)


def measured(work: Callable[[], Result]) -> tuple[Result, StudyCost]:
    """The result of a function, and what it took."""
    begin = time.perf_counter()
    _reset_peak()
    result = work()
    return result, StudyCost(round(time.perf_counter() - begin, 2), _peak_mb(), socket.gethostname())


def _reset_peak() -> None:
    try:
        _RESET.write_text("5", encoding="ascii")  # Linux: the peak begins anew, see proc(5)
    except OSError:
        return  # then the peak is that of the process so far


def _peak_mb() -> int:
    try:
        (line,) = [one for one in _STATUS.read_text(encoding="ascii").splitlines() if one.startswith("VmHWM:")]
        return int(line.split()[1]) // 1024
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
