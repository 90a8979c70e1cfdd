"""A step of a bundle, such as its training, run as users run it: `monai.bundle run` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, near_names
from monai_spine.files import write_text

Settings = tuple[tuple[str, str], ...]
"""Configuration entries by name, with values as text, as on the command line."""

Report = Callable[[str], None]
"""Takes lines of progress for the user."""

_COMMAND = (sys.executable, "-W", "ignore", "-m", "monai.bundle", "run")
_ERROR_LINES = (
    re.compile(r"(?:error|cause): (.+)"),
    re.compile(r"((?:\w+\.)*\w*(?:Error|Exception)(?::.*)?)$"),
)
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
"""How long a process may take to end before it is killed."""


class BundleRunError(SpineError):
    """A step of a bundle failed; its log says why."""


class BundleStopped(Exception):  # noqa: N818 - no error
    """A step was ended on request."""


def training_configs(bundle: Path, overrides: Sequence[Path] = ()) -> list[Path]:
    """The configuration files of a bundle's training.

    Parameters
    ----------
    bundle
        A folder with ``configs/train.json`` and ``configs/evaluate.json``.
    overrides
        Further configuration files; the entries of later ones win. A name without a folder is a preset of the bundle,
        unless there is such a file.

    Raises
    ------
    MissingInputError
        If one of them does not exist.
    """
    folder = bundle / "configs"
    files = [folder / "train.json", *(preset_file(folder, path) for path in overrides)]
    for path in (*files, folder / "evaluate.json"):
        if not path.is_file():
            raise MissingInputError(f"expected a configuration at {path}{offered_presets(folder, path)}")
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
        If a text has another form, or sets one of these names.
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
    """The setting for the bundle's ``logging.conf``, if it has one."""
    path = bundle / "configs" / "logging.conf"
    return (("logging_file", str(path)),) if path.is_file() else ()


def record_config(record: Path) -> Path:
    """Write a configuration file, beside ``record``, with which a training writes a line to ``record`` every epoch.

    With it, the training also ends when this process has ended. See `monai_spine.training.run_record.RunRecord`.
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


def epoch_lines(report: Report) -> Callable[[str], None]:
    """Takes all lines of a training, and reports those about an epoch."""
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
        Takes every line of the output.
    stop
        Called several times a second; True ends the step.

    Raises
    ------
    BundleRunError
        If the step fails.
    BundleStopped
        If ``stop`` returned True.
    """
    files = str([str(path.resolve()) for path in configs])
    command = [*_COMMAND, step, "--config_file", files]
    for name, value in settings:
        command += [f"--{name}", "$None" if value == "None" else value]  # MONAI leaves out options that are None
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as sink:
        begin = sink.tell()
        # Without stdin, so that a step can never wait for the terminal.
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter; arguments go as a list, without a shell
    try:
        _wait(process, log, begin, follow, stop)
    finally:
        _end(process)
    if process.returncode:
        cause = _cause(log, begin)
        raise BundleRunError(f"{step} ended with exit code {process.returncode}: {cause}; the log is {log}")


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
            ended = process.poll() is not None  # asked before the log is read, so that no last line is lost
            # The last piece may be half a line; it is completed at the next reading.
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


def _cause(log: Path, begin: int) -> str:
    """The line of a log that says why a process failed: our own message, else Python's, else the last line."""
    with log.open(encoding="utf-8", errors="replace") as source:
        source.seek(begin)
        lines = [line.rstrip() for line in source if line.strip()]
    for pattern in _ERROR_LINES:  # in a chain of errors, the first one is the cause of the others
        for line in lines:
            if match := pattern.match(line):
                return match[1]
    return lines[-1] if lines else "the log is empty"


def offered_presets(folder: Path, path: Path) -> str:
    """The end of a message about a configuration that does not exist: the bundle's presets with near names."""
    near = near_names(path.stem, sorted(preset.stem for preset in (folder / "presets").glob("*.json")))
    return f" (a preset of the bundle, or a file){near}" if near else ""


def preset_file(folder: Path, path: Path) -> Path:
    """The file of a preset's name in a bundle's ``configs``, or the path itself if it is a file or has a folder."""
    named = folder / "presets" / f"{path.name.removesuffix('.json')}.json"
    return named if path.parent == Path() and not path.is_file() else path
