"""Every command that a page shows exists, with its options."""

import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site_tools"))

import commands  # noqa: E402

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bundles/*/docs/*.md")]


def shown(path: Path) -> list[str]:
    """Lines of shell blocks, continued ones joined, and inline code that begins with one of our programs."""
    text = path.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for part in block.splitlines() for line in part.split("&&")]
    inline = re.findall(r"`((?:monai-spine|python -m data_prep) [^`]+)`", text)
    return [line for line in [*lines, *inline] if line.startswith(tuple(commands.programs()))]


def unknown(line: str) -> list[str]:
    """Words of a command line that no command or option has."""
    line = line.split(" | ", maxsplit=1)[0]
    program = next(name for name in commands.programs() if line.startswith(name))
    command = commands.programs()[program]
    words = shlex.split(line.removeprefix(program), comments=True)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [words[0]]
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in {*options, "--help"}]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_pages_exist_with_their_options(path: Path) -> None:
    assert {line: words for line in shown(path) if (words := unknown(line))} == {}


def test_the_list_of_commands_cuts_no_description() -> None:
    """Click shortens a description that does not fit a terminal of 80 characters."""
    for program, command in commands.programs().items():
        for name, text in commands.helps(command, program):
            listed = text.partition("\nCommands:\n")[2].splitlines()
            assert [line for line in listed if len(line) > 80 or line.endswith("...")] == [], name


def test_commands_are_found_in_pages_at_all() -> None:
    assert len(shown(ROOT / "docs" / "how-to" / "competition.md")) >= 8
    assert unknown("monai-spine predict -i a -o b --no-such-option") == ["--no-such-option"]
