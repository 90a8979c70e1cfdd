"""Writing ``datalist.json`` an entry at a time, a line each."""

from __future__ import annotations

import json
from typing import TextIO

from data_prep.collection.study import TEST, TRAINING, Entry
from monai_spine.data.datalist import SCHEMA
from monai_spine.spine import TARGETS


class DatalistWriter:
    """Sections in the order of the format; entries of the training section come first.

    Parameters
    ----------
    file
        Written from where it stands; `close` makes it complete JSON, and leaves the file open.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting = [TRAINING, TEST]
        self._empty = True
        file.write(f'{{"schema": {json.dumps(SCHEMA)},\n"targets": {json.dumps(list(TARGETS))},\n')
        self._open_section()

    def add(self, section: str, entry: Entry) -> None:
        """Add an entry; no training entry may follow a test entry.

        Raises
        ------
        ValueError
            If it does.
        """
        while self._section != section:
            if not self._waiting:
                raise ValueError(f"the section {section!r} is closed")
            self._close_section()
            self._open_section()
        self._file.write(("\n " if self._empty else ",\n ") + json.dumps(entry))
        self._empty = False

    def close(self) -> None:
        """Write what is left of the format."""
        while self._waiting:
            self._close_section()
            self._open_section()
        self._file.write("]}\n")

    def _open_section(self) -> None:
        self._section = self._waiting.pop(0)
        self._empty = True
        self._file.write(f'"{self._section}": [')

    def _close_section(self) -> None:
        self._file.write("],\n")
