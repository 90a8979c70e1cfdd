"""The commented ``serve.yaml`` that a new user begins with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_text

NAME = "serve.yaml"


def example_text() -> str:
    """The example; every key that it leaves out has its default."""
    return files("monai_spine.service").joinpath(NAME).read_text(encoding="utf-8")


def write_example(path: Path) -> None:
    """Write the example.

    Raises
    ------
    InvalidOptionError
        If the file exists.
    """
    if path.exists():
        raise InvalidOptionError(f"{path} exists already; name a new file with --config")
    write_text(path, example_text())
