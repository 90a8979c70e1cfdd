"""File-name patterns such as ``{sample}_{channel}.png``: what a name says of an image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_spine.errors import InvalidOptionError

FIELDS = ("sample", "channel", "patient")
_TOKEN = re.compile(r"\{(\w+)\}|(\*)|([^{}*]+)|([{}])")


class NamePattern:
    """A pattern of names in which ``{field}`` stands for what is wanted, and ``*`` for anything.

    Parameters
    ----------
    pattern
        With ``/`` in it, it must fit the end of a path; else the file's name.
    required
        Fields that must be in it.
    channels
        What ``{channel}`` may be; other fields take as little as they can, the ``{sample}`` as much.

    Raises
    ------
    InvalidOptionError
        If it has unknown fields, one twice, or lacks a required one.
    """

    def __init__(self, pattern: str, required: Sequence[str], channels: Sequence[str] = ()) -> None:
        self.pattern = pattern
        tokens = _TOKEN.findall(pattern)
        fields = [token[0] for token in tokens if token[0]]
        wrong = [name for name in fields if name not in FIELDS] or [token[3] for token in tokens if token[3]]
        lacking = [name for name in required if name not in fields]
        if wrong or lacking or len(set(fields)) < len(fields):
            expected = " and ".join(f"{{{name}}}" for name in required)
            raise InvalidOptionError(
                f"expected a pattern with {expected}, each once, such as '{{sample}}_{{channel}}.png', "
                f"but given {pattern!r}"
            )
        kinds = {
            "channel": "|".join(map(re.escape, sorted(channels, key=len, reverse=True))),
            "sample": r"[^/]+",
            "patient": r"[^/]+?",
        }
        parts = [
            f"(?P<{name}>{kinds[name]})" if name else r"[^/]*" if star else re.escape(text)
            for name, star, text, _ in tokens
        ]
        self._expression = re.compile("(?:.*/)?" + "".join(parts), re.IGNORECASE)

    def match(self, path: Path) -> dict[str, str] | None:
        """The fields of a path; None if it does not fit."""
        found = self._expression.fullmatch(path.as_posix())
        return found.groupdict() if found else None
