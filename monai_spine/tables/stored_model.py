"""What a calibration and an ensemble share: a fitted model that is kept in a JSON file with a schema."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text

if TYPE_CHECKING:
    from typing_extensions import Self


class StoredModel(ABC):
    """A fitted model that can be written to a JSON file and read again."""

    noun: ClassVar[str]
    """What messages call it, such as ``a calibration``."""
    command: ClassVar[str]
    """The subcommand of ``monai-spine`` that fits and writes it."""
    schema: ClassVar[str]
    """The ``schema`` of its JSON."""

    @abstractmethod
    def to_json(self) -> str:
        """One JSON object of the schema."""

    @classmethod
    @abstractmethod
    def _from_content(cls, content: dict[str, Any]) -> Self:
        """The model of a JSON object; raises ValueError, KeyError or TypeError if the object has another form."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The model that `to_json` wrote.

        Raises `InvalidTableError` if the text is something else.
        """
        try:
            content = json.loads(text)
            if content["schema"] != cls.schema:
                raise ValueError(f"its schema is {content['schema']!r}")
            return cls._from_content(content)
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise InvalidTableError(f"expected {cls.noun} of the schema {cls.schema!r} ({err})") from err

    def write(self, path: Path) -> None:
        """Write `to_json` to a file."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The model of a file.

        Raises `MissingInputError` or `InvalidTableError` if there is no such file, or it holds something else.
        """
        if not Path(path).is_file():
            raise MissingInputError(
                f"expected {cls.noun}, but there is no file {path}; `monai-spine {cls.command}` writes one"
            )
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (InvalidTableError, UnicodeDecodeError) as err:
            raise InvalidTableError(f"{path}: {err}") from err
