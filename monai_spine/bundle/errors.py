"""One-line messages in place of a bundle's long tracebacks.

``python -m monai.bundle run`` is MONAI's command, not ours. A bundle's config calls `explain_errors` first. From then
on an error that the user can mend ends the process with one line and exit code 2.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Iterator
from types import TracebackType

from monai_spine.errors import ExitCode, SpineError

_FROM_WORKER = re.compile(r"^monai_spine\.errors\.\w+: (.+)$", re.MULTILINE)
_CONFIG_ERRORS = (
    (re.compile(r"run ID '(.+)' doesn't exist"), "there is nothing to run called {0!r} in the config files"),
    (
        re.compile(r"the referring item `@?(.+?)` is not defined in the config content"),
        "the config files have no item {0!r} that another item refers to; look for a misspelt name or option",
    ),
)


def explain_errors() -> None:
    """From now on, end the process with one line where the cause of an error is the user's input."""
    sys.excepthook = _explain


def explanation(error: BaseException) -> str | None:
    """The message for the user, or None if the user cannot mend the error."""
    # MONAI's Compose and its expressions turn any error into a RuntimeError: ours is among the causes
    for cause in chain(error):
        if isinstance(cause, SpineError):
            return str(cause)
        text = str(cause)
        if match := _FROM_WORKER.search(text):
            return match[1]
        for pattern, message in _CONFIG_ERRORS:
            if match := pattern.search(text):
                return message.format(*match.groups())
    return None


def _explain(error_type: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    message = explanation(error)
    if message is None:
        sys.__excepthook__(error_type, error, trace)
        return
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    atexit._run_exitfuncs()  # os._exit would skip them, and with them the flushing of logs
    os._exit(ExitCode.BAD_INPUT)  # an excepthook has no other way to choose the exit code


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
