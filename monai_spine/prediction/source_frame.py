"""The DICOM frame that a slice of a converted volume was made from, and the numbers by which a viewer finds it."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Instance:
    """SOP instance UID and instance number of a DICOM object, as text; empty where they are not known."""

    uid: str = ""
    number: str = ""


@dataclass(frozen=True)
class SourceFrame:
    """A frame of a DICOM input.

    Attributes
    ----------
    source
        The input: a file, a folder, a DICOMDIR or a zip archive.
    name
        The name of its file in ``files.csv`` of the conversion.
    frame
        The frame's number from 0 in a multi-frame object, as ``files.csv`` has it; empty otherwise.
    """

    source: Path
    name: str
    frame: str = ""

    def instance(self) -> Instance:
        """Read the file's header. An `Instance` without values if it cannot be read any more."""
        tags = ["SOPInstanceUID", "InstanceNumber"]
        header = self.header(tags)
        return Instance() if header is None else Instance(*(str(header.get(tag) or "") for tag in tags))

    def header(self, tags: Sequence[str] | None = None) -> Dataset | None:
        """The file's header without pixels, only some of its elements if they are named; None if it cannot be read."""
        import pydicom

        try:
            with self._open() as file:
                chosen = None if tags is None else list(tags)
                return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=chosen)
        except Exception:  # pydicom raises anything; what is wanted of it is an extra
            return None

    def _open(self) -> BinaryIO:
        if self.source.is_file() and zipfile.is_zipfile(self.source):
            return _entry(self.source, self.name)
        root = self.source if self.source.is_dir() else self.source.parent
        # In a folder, the name of an archive's entry starts with the archive's own name.
        for parent in reversed(PurePosixPath(self.name).parents):
            if parent.name.lower().endswith(".zip") and (root / parent).is_file():
                return _entry(root / parent, str(PurePosixPath(self.name).relative_to(parent)))
        file = root / self.name
        return gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")  # type: ignore[return-value]


def _entry(archive: Path, name: str) -> BinaryIO:
    with zipfile.ZipFile(archive) as opened:
        # The archive stays open as long as its entry is.
        return opened.open(name)  # type: ignore[return-value]
