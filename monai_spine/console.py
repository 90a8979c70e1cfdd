"""The common part of both command lines: errors become exit codes, and the progress bar."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from monai_spine.errors import ExitCode, SpineError, counted, exit_code, one_line

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def run_app(app: Callable[[], object]) -> None:
    """Run a typer application; errors end the process with one of our exit codes.

    The message of a `SpineError`, which is about the user's input, goes to stderr as one line. So does one of the
    machine: a full disk, a lack of memory. Any other exception is a fault of ours and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Bytes of file names that are not UTF-8 must not end a run at its last line.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokenPipeError:
        # The reader of stdout, such as head, has gone. Without this, Python would complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except SpineError as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        sys.exit(exit_code(error))
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        sys.stderr.write(f"error: {place}{one_line(error.strerror or error)}; what is finished stays\n")
        sys.exit(ExitCode.BAD_INPUT)
    except MemoryError as error:
        sys.stderr.write(f"error: the memory is exhausted ({one_line(error) or 'no more to be had'})\n")
        sys.exit(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)  # 128 + SIGINT, as shells expect


def progress_display(quiet: bool = False) -> Progress:
    """A progress bar on stderr with count, rate and remaining time; hidden if ``quiet`` or if stderr is no terminal."""
    # Imported here, since --help must answer at once.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def in_words(seconds: float) -> str:
    """A length of time for people: ``less than a minute``, ``about 7 minutes``, ``about 2.5 hours``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"about {counted(minutes, 'minute')}"
    hours = seconds / 3600
    return f"about {hours:.1f} hours" if hours < 48 else f"about {hours / 24:.0f} days"


def _pace(done: int, elapsed: float | None) -> str:
    """How fast items go by: ``3.2/s``, or for slow ones ``12.4 s each``."""
    if not elapsed or not done:
        return ""
    return f"{done / elapsed:.1f}/s" if done >= elapsed else f"{elapsed / done:.1f} s each"


def track(items: Iterable[Item], description: str, total: int, quiet: bool = False) -> Iterable[Item]:
    """Yield the items one by one while a progress bar counts them; ``total`` is their number."""
    with progress_display(quiet) as bar:
        task = bar.add_task(description, total=total, rate="")
        for done, item in enumerate(items, start=1):
            yield item
            bar.update(task, advance=1, rate=_pace(done, bar.tasks[0].elapsed))
