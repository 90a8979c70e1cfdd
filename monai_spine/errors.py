"""Errors of a user's input, as a small tree of exceptions, and the exit codes of the commands.

Each message names what was expected, what was found, the file or case, and what to do. The errors are caught only in
the command lines, which turn them into one line on stderr and an exit code.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of our command lines: all done; a fault of ours; bad input or arguments; done, but some refused.

    The last one, EX_TEMPFAIL of sysexits.h, asks for the same command again: nothing is wrong with what was given.
    """

    DONE = 0
    OUR_FAULT = 1
    BAD_INPUT = 2
    SOME_REFUSED = 3
    TRY_AGAIN = 75


class SpineError(Exception):
    """The user's input or arguments cannot be used; the message names the reason and what to do."""


class TransientError(SpineError):
    """Something outside failed that may work when the same command is run again: a process, a network, a store."""


def exit_code(error: SpineError) -> ExitCode:
    """The exit code of a command that an error of the user's input or of the surroundings ends."""
    return ExitCode.TRY_AGAIN if isinstance(error, TransientError) else ExitCode.BAD_INPUT


class OutputError(SpineError):
    """The output cannot be written: a full or read-only disk, or a folder that another run uses.

    It ends a run over many studies, since the next study would fail, too.
    """


class MissingInputError(SpineError):
    """A file, folder or column that was named does not exist."""


class InvalidTableError(SpineError):
    """The content of a CSV or JSON file breaks its format."""


class InvalidVolumeError(SpineError):
    """A NIfTI volume cannot be read, or is not a 3-D volume with a usable affine."""


class TooLargeVolumeError(InvalidVolumeError):
    """A NIfTI file declares more voxels than any series has."""


class NotVolumetricError(InvalidVolumeError):
    """A NIfTI file holds an image with other than three axes, or with an axis without voxels."""


class SingularAffineError(InvalidVolumeError):
    """A NIfTI file has an affine whose voxels have no volume."""


class NoAffineError(InvalidVolumeError):
    """A NIfTI file has neither a qform nor an sform, so that nothing says where the volume lies."""


class TwoAffinesError(InvalidVolumeError):
    """A NIfTI file has a qform and an sform that put the volume in different places."""


class InvalidImageError(SpineError):
    """An image file is empty, damaged, too large, or does not hold exactly one image."""


class InvalidOptionError(SpineError):
    """An option's value cannot be used."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 study``, ``1,200 studies``. ``noun`` is the singular."""
    if number == 1:
        return f"{number} {noun}"
    if noun.endswith("y"):
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}es" if noun.endswith("s") else f"{number:,} {noun}s"


SURROUNDINGS = (OSError, MemoryError)
"""Errors of Python that are those of the machine. Readers turn those of a single input into a `SpineError`."""
_LONGEST_REASON = 400
"""Characters of a reason in a table; PyTorch's and pandas' messages can have thousands."""

_AS_NEAR = 0.25
"""How much less alike than the nearest name another one is at most that is offered with it."""


def one_line(text: object) -> str:
    """A text of a library without its line breaks."""
    return " ".join(str(text).split())


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the error that it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def reason_of(error: Exception) -> str:
    """Why one study or image failed, in one line, so that a run can go on with the next one.

    MONAI wraps errors of transforms into others, so the whole chain of causes is searched. What is no `SpineError` is
    a fault of ours, and the reason says where it was raised.

    Raises
    ------
    OutputError, TransientError, OSError, MemoryError
        If the machine failed: then the next study would fail, too.
    """
    causes = list(chain(error))
    for cause in causes:
        if isinstance(cause, (OutputError, TransientError)):
            raise cause
        if isinstance(cause, SpineError):
            return one_line(cause)
    for cause in causes:
        if isinstance(cause, SURROUNDINGS):
            raise cause
    first = causes[-1]
    trace = first.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    reason = f"unexpected {type(first).__name__}{place}: {one_line(first)}"
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} …"


def listed(names: Sequence[str], separator: str = ", ", shown: int = 5) -> str:
    """The first few of many names and the number of the others, for the end of a message."""
    rest = len(names) - shown
    return separator.join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def similarity(name: str, other: str) -> float:
    """How alike two names are, from 0 to 1: the share of their letters that they have in common, in order."""
    return difflib.SequenceMatcher(None, name, other).ratio()


def nearest(
    name: str,
    known: Iterable[str],
    *,
    least: float = 0.7,
    most: int = 3,
    spellings: Callable[[str], Iterable[str]] = lambda one: (one,),
) -> list[str]:
    """The known names that a mistyped one may mean, the nearest first.

    Parameters
    ----------
    least
        How alike they are at least, see `similarity`. They are also nearly as alike as the nearest one.
    most
        How many of them.
    spellings
        What a known name may be written as.
    """
    alike = {one: max(similarity(name, spelling) for spelling in spellings(one)) for one in known}
    bound = max(least, max(alike.values(), default=0) - _AS_NEAR)
    return sorted((one for one, value in alike.items() if value >= bound), key=lambda one: -alike[one])[:most]


def near_names(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the nearest known ones, or all of a few; else empty."""
    names = list(known)
    if near := nearest(name, names, least=0.5):
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; expected one of {listed(names, shown=8)}" if names else ""
