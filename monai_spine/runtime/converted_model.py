"""Converted models on disk: one file each, beside the weights, named by all that the conversion depends on.

A file is a zip archive without compression, whose checksums show damage: ``about.json``, and the runtime's own files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_spine import __version__
from monai_spine.errors import SpineError, one_line
from monai_spine.files import whole_file
from monai_spine.runtime.choice import RuntimeChoice

logger = logging.getLogger(__name__)

Files = Mapping[str, bytes]
"""A converted model: the contents of its files by their names."""

SCHEMA = "monai_spine/converted/1"
FOLDER = "converted"
"""Folder of converted models beside the weights."""
REVISION = 3
"""Raise it when a network's forward pass, or the conversion, changes within a version of the package."""
_DAMAGED = (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, EOFError, RuntimeError)


class NotConvertibleError(SpineError):
    """A network cannot run anywhere but in PyTorch."""


@dataclass(frozen=True)
class ConvertedModel:
    """The converted model of a file of weights: found where an earlier run wrote it, or made and written.

    Attributes
    ----------
    weights
        The file of weights.
    sources
        The files that it depends on: weights, their description, configurations.
    runtime
        What it is converted for. All precisions share a file.
    settings
        What it depends on besides, such as the size of its input.
    """

    weights: Path
    sources: Sequence[Path]
    runtime: RuntimeChoice
    settings: Mapping[str, Any]

    @cached_property
    def identity(self) -> str:
        """SHA-256 of all that the converted model depends on: contents of files, settings, versions of packages."""
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.sources if file.is_file()]
        content = {
            **{"version": __version__, "revision": REVISION, "runtime": self.runtime.runtime.value},
            **{"packages": self.runtime.versions, "files": digests, "settings": dict(self.settings)},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def stem(self) -> str:
        """The name of its files without their ends."""
        return f"{self.weights.stem}-{self.runtime.runtime.value}-{self.identity[:16]}"

    def find(self, name: str) -> Path | None:
        """The file of this name in the first of the `folders` that has it."""
        return next((folder / name for folder in self.folders() if (folder / name).is_file()), None)

    def folders(self) -> tuple[Path, Path]:
        """Beside the weights, and the user's cache for where that folder cannot be written."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return self.weights.absolute().parent / FOLDER, cache / "monai_spine" / FOLDER

    def files(self, make: Callable[[], Files]) -> Files:
        """Its files by name; ``make`` converts the network if no earlier run did, or if the file is damaged."""
        path = self.find(f"{self.stem}.zip")
        if path is not None:
            try:
                return self._read(path)
            except _DAMAGED as error:
                logger.warning("%s is damaged (%s), and is made anew", path, one_line(error))
        files = make()
        self.write(f"{self.stem}.zip", lambda partial: self._pack(partial, files))
        return files

    def write(self, name: str, fill: Callable[[Path], None]) -> Path | None:
        """Write a file into the first of the `folders` that can be written; None, with a warning, if none can."""
        reason: OSError | None = None
        for folder in self.folders():
            try:
                with whole_file(folder / name) as partial:
                    fill(partial)
            except OSError as error:
                reason = error
            else:
                return folder / name
        logger.warning("%s cannot be kept for the next run: %s", name, reason)
        return None

    def _pack(self, path: Path, files: Files) -> None:
        about = {"schema": SCHEMA, "identity": self.identity, "packages": self.runtime.versions}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("about.json", json.dumps(about, indent=1) + "\n")
            for name, content in files.items():
                archive.writestr(name, content)

    def _read(self, path: Path) -> Files:
        with zipfile.ZipFile(path) as archive:  # reading compares the checksums
            files = {name: archive.read(name) for name in archive.namelist()}
        about = json.loads(files.pop("about.json"))
        # The name holds only a part of the identity.
        if about["schema"] != SCHEMA or about["identity"] != self.identity:
            raise ValueError("it is of other weights")
        if not files:
            raise ValueError("it holds no model")
        return files
