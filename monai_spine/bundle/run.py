"""A step of a bundle, such as its training, run as a user would: `monai.bundle run` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.files import write_text

Settings = tuple[tuple[str, str], ...]

_COMMAND = (sys.executable, "-W", "ignore", "-m", "monai.bundle", "run")
_REASONS = (re.compile(r"error: (.+)"), re.compile(r"((?:\w+\.)*\w*(?:Error|Exception)(?::.*)?)$"))
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
"""How long a process may take to end before it is killed."""


class BundleRunError(SpineError):
    """A step of a bundle failed; its log says why."""


class BundleStopped(Exception):  # noqa: N818 - no error
    """A step was ended because the caller asked for it."""


def training_configs(bundle: Path, overrides: Sequence[Path] = ()) -> list[Path]:
    """The configuration files of a bundle's training.

    Parameters
    ----------
    bundle
        A folder with ``configs/train.json`` and ``configs/evaluate.json``.
    overrides
        Further configuration files; a later one overrides an earlier one. A name without a folder is that of a preset
        of the bundle.

    Raises
    ------
    MissingInputError
        If one of them does not exist.
    """
    folder = bundle / "configs"
    files = [folder / "train.json", *(_preset(folder, path) for path in overrides)]
    for path in (*files, folder / "evaluate.json"):
        if not path.is_file():
            presets = sorted(preset.stem for preset in (folder / "presets").glob("*.json"))
            raise MissingInputError(f"expected a configuration at {path}; the bundle's presets are {presets}")
    return files


def parse_settings(texts: Sequence[str], own: Sequence[str]) -> Settings:
    """Configuration entries from ``name=value``.

    Parameters
    ----------
    own
        Names that the command sets itself.

    Raises
    ------
    InvalidOptionError
        If a text has another form, or names what the command sets itself.
    """
    pairs = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise InvalidOptionError(f"expected a setting as name=value, such as epochs=12, but found {text!r}")
        if name in own:
            raise InvalidOptionError(f"{name} is set by the command itself; leave it out")
        pairs.append((name, value))
    return tuple(pairs)


def logging_setting(bundle: Path) -> Settings:
    """The setting of the bundle's own logging configuration, if it has one."""
    path = bundle / "configs" / "logging.conf"
    return (("logging_file", str(path)),) if path.is_file() else ()


def recorded(record: Path) -> Path:
    """Write a configuration file beside a record that makes a training write the record, and end with this process.

    See `monai_spine.training.run_record.RunRecord`.
    """
    handler = {
        "_target_": "monai_spine.training.run_record.RunRecord",
        "path": str(record.resolve()),
        "evaluator": "@validate#evaluator",
        "parent": os.getpid(),
    }
    path = record.with_name("record.json")
    write_text(path, json.dumps({"+train#handlers": [handler]}, indent=2) + "\n")
    return path


def epoch_lines(report: Callable[[str], None]) -> Callable[[str], None]:
    """A function that reports those lines of a training's log that are about an epoch."""
    return lambda line: report(line.strip()) if " epoch " in line and "/" in line else None


def run_step(
    step: str,
    configs: Sequence[Path],
    settings: Settings,
    log: Path,
    *,
    follow: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Run a step; its output is appended to a log.

    Parameters
    ----------
    step
        An id to run, such as ``training``.
    follow
        Called with every line of the output.
    stop
        Called several times a second; the step is ended when it returns True.

    Raises
    ------
    BundleRunError
        If it fails.
    BundleStopped
        If ``stop`` returned True.
    """
    files = str([str(path.resolve()) for path in configs])
    command = [*_COMMAND, step, "--config_file", files]
    for name, value in settings:
        command += [f"--{name}", value]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as sink:
        begin = sink.tell()
        # a process of its own: it has its own random numbers, memory and log, and can be ended at any time
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        _wait(process, log, begin, follow, stop)
    finally:
        _end(process)
    if process.returncode:
        reason = _reason(log, begin)
        raise BundleRunError(f"{step} ended with exit code {process.returncode}: {reason}; the log is {log}")


def _wait(
    process: subprocess.Popen[bytes],
    log: Path,
    begin: int,
    follow: Callable[[str], None] | None,
    stop: Callable[[], bool] | None,
) -> None:
    with log.open(encoding="utf-8", errors="replace") as source:
        source.seek(begin)
        partial = ""
        while True:
            ended = process.poll() is not None  # asked before reading, so that the last lines are read, too
            *lines, partial = (partial + source.read()).split("\n")
            for line in lines:
                if follow:
                    follow(line)
            if stop and stop():
                raise BundleStopped
            if ended:
                return
            time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(log: Path, begin: int) -> str:
    """The line of a log that says why a process failed: our message, else Python's error, else the last line."""
    with log.open(encoding="utf-8", errors="replace") as source:
        source.seek(begin)
        lines = [line.rstrip() for line in source if line.strip()]
    for pattern in _REASONS:  # of a chain of errors, the first is the cause of the others
        for line in lines:
            if match := pattern.match(line):
                return match[1]
    return lines[-1] if lines else "it printed nothing"


def _preset(folder: Path, path: Path) -> Path:
    named = folder / "presets" / f"{path.name.removesuffix('.json')}.json"
    return named if path.parent == Path() and not path.is_file() else path
