"""The page of commands, made from what ``--help`` prints."""

from __future__ import annotations

import configparser
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path

import click
import typer

ROOT = Path(__file__).parents[2]
WIDTH = 88

HEAD = """# Commands

This page is made from what `--help` prints.

| exit code | meaning |
|---|---|
| 0 | everything was done |
| 1 | a fault of the program |
| 2 | the input or the arguments cannot be used |
| 3 | finished, but some inputs were refused |
| 75 | something failed that may work later, such as a killed process: run the command again |

Progress goes to stderr; data go to stdout or to files.

Bundles are run by MONAI's own command, `python -m monai.bundle run`. Their settings are in [their cards](bundles.md).
"""


@functools.cache
def programs() -> dict[str, click.Command]:
    """Each program by the words that start it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    entry = setup["options.entry_points"]["console_scripts"].split("=")[1].strip()
    module = importlib.import_module(entry.split(":")[0])
    data_prep = importlib.import_module("data_prep.cli")
    return {
        "python -m data_prep": typer.main.get_command(data_prep.app),
        "monai-spine": typer.main.get_command(module.app),
    }


def page() -> str:
    sections = [HEAD]
    for program, command in programs().items():
        sections.append(f"## {program}\n")
        for name, text in helps(command, program):
            heading = f"### {name}\n\n" if name != program else ""
            sections.append(f"{heading}```text\n{text.rstrip()}\n```\n")
    return "\n".join(sections)


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The help of a command and of all commands below it."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    full_name = context.command_path
    yield full_name, command.get_help(context)
    for child in getattr(command, "commands", {}).values():
        if not child.hidden:
            yield from helps(child, child.name or "", context)
