"""Short error messages in place of a bundle's long tracebacks.

``python -m monai.bundle run`` is MONAI's command, not ours. So a bundle's config calls `explain_errors` first. From
then on an error that the user can correct ends the process with one line and an exit code of `ExitCode`.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from types import TracebackType

from monai_spine.errors import ExitCode, SpineError, TransientError, chain, exit_code, one_line

# A worker process of a data loader passes its error on as text.
_FROM_WORKER = re.compile(r"^monai_spine\.errors\.(\w+): (.+)$", re.MULTILINE)
_LONGEST = 500
"""Characters of an error's text; torch's may have hundreds of lines."""
_CONFIG_ERRORS = (
    (re.compile(r"run ID '(.+)' doesn't exist"), "the config files have nothing to run called {0!r}"),
    (
        re.compile(r"the referring item `@?(.+?)` is not defined in the config content"),
        "the config files have no item {0!r} that another item refers to; look for a misspelt name or option",
    ),
)


def explain_errors() -> None:
    """From now on, an error whose cause is the user's input ends the process with one line."""
    sys.excepthook = _explain


def explanation(error: BaseException) -> str | None:
    """The message for the user, or None if the user cannot correct the error."""
    message_and_code = explained(error)
    return None if message_and_code is None else message_and_code[0]


def explained(error: BaseException) -> tuple[str, ExitCode] | None:
    """The message for the user and the exit code, or None if the user cannot correct the error.

    MONAI wraps errors of transforms and of data loader workers into others, so the whole chain of causes is searched.
    """
    for cause in chain(error):
        if isinstance(cause, SpineError):
            return one_line(cause), exit_code(cause)
        text = str(cause)
        if match := _FROM_WORKER.search(text):
            return match[2], ExitCode.TRY_AGAIN if match[1] == TransientError.__name__ else ExitCode.BAD_INPUT
        for pattern, message in _CONFIG_ERRORS:
            if match := pattern.search(text):
                return message.format(*match.groups()), ExitCode.BAD_INPUT
    return None


def _explain(error_type: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    message_and_code = explained(error)
    if message_and_code is None:
        # MONAI's own error, at the end of a long traceback, names the expression that failed, not why.
        sys.stderr.write(f"cause: {cause_in_one_line(error)}\n")
        sys.__excepthook__(error_type, error, trace)
        sys.stderr.write(f"cause: {cause_in_one_line(error)}\n")
        return
    message, code = message_and_code
    # os._exit below does not flush.
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    atexit._run_exitfuncs()  # which os._exit leaves out
    os._exit(code)  # an excepthook cannot choose the exit code otherwise


def cause_in_one_line(error: BaseException) -> str:
    """The first error of a chain, as Python prints it, without its further lines."""
    first = list(chain(error))[-1]
    text = one_line(first)
    return f"{type(first).__name__}: {text[:_LONGEST]}" if text else type(first).__name__
