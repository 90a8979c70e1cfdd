"""One fault of a data set, whoever finds it: its code, how severe it is, and where it lies.

Each subject has its own codes (``collection/codes.py``, ``check/codes.py``, ``images/codes.py``), as an enumeration
whose values are `Explanation`. The names of the codes stand in tables and reports, and are never changed.
"""

from dataclasses import dataclass
from enum import Enum
from functools import partial


class Severity(str, Enum):
    """How bad a fault is; declared from worst to mildest."""

    ERROR = "error"
    """Training would fail, learn something wrong, or be judged wrongly."""
    WARNING = "warning"
    """Probably wrong: a person should look at it."""
    NOTE = "note"
    """Known to happen, and good to know."""


@dataclass(frozen=True)
class Explanation:
    """What a code means, and what to do about it."""

    severity: Severity
    title: str
    advice: str = ""


error = partial(Explanation, Severity.ERROR)
warning = partial(Explanation, Severity.WARNING)
note = partial(Explanation, Severity.NOTE)


class FaultCode(Enum):
    """Base of the codes of a subject: the name is the code, the value its `Explanation`."""

    @property
    def severity(self) -> Severity:
        """How bad such a fault is."""
        return self.explanation.severity

    @property
    def explanation(self) -> Explanation:
        """What the code means."""
        explanation: Explanation = self.value
        return explanation

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the worst first, and equally bad ones in the order in which they are declared."""
        return list(Severity).index(self.severity), list(type(self)).index(self)


@dataclass(frozen=True)
class Fault:
    """One fault; what does not apply to it stays empty."""

    code: FaultCode
    detail: str
    """What was found, with figures, for people; ``found`` in JSON."""
    study: str = ""
    """The study's id; empty where the fault concerns more than one study."""
    section: str = ""
    """The study's section of the datalist."""
    series: str = ""
    """The series' id in a collection, its series type in a datalist."""
    targets: tuple[str, ...] = ()
    """The findings concerned, in the order of ``TARGETS``."""
    path: str = ""
    """Of the volume, as in the datalist."""
    images: tuple[str, ...] = ()
    """Names of the single images concerned, relative to the input."""
    number: int | None = None
    """Number of the study among all of the datalist; None where the fault concerns the whole."""
    others: tuple[int, ...] = ()
    """Numbers of the other studies concerned."""
