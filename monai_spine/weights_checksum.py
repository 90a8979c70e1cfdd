"""The checksum inside of a file of weights: a SHA-256 that travels with it, whatever it is renamed or copied to.

``torch.save`` writes a zip archive, whose last part may be a comment, which every reader of zip archives skips. The
comment is ``sha256=`` and 64 hexadecimal digits: the SHA-256 of all bytes of the file before these digits. PyTorch does
not compare the checksums of the archive itself: of 60 files with one flipped bit it read 59.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from enum import Enum
from pathlib import Path

from monai_spine.errors import InvalidTableError

_MARK = b"sha256="
_DIGITS = 64
_END = b"PK\x05\x06"
"""Begins the last record of a zip archive, of 22 bytes, whose last two are the length of the comment."""
_END_BYTES = 22
_PIECE = 1 << 20


class Verified(str, Enum):
    """How a file of weights was checked against damage."""

    SHA256 = "sha256"
    CRC32 = "crc32"
    """By the checksums of the zip archive: the file has no SHA-256, since another program wrote it."""
    NO = "no"


NO_CHECKSUM = "a file of PyTorch before 1.6 has no checksum, so that damage in it cannot be seen"


def seal(path: Path) -> None:
    """Write the SHA-256 into a file that ``torch.save`` wrote.

    Raises
    ------
    InvalidTableError
        If the file is no zip archive, or has another comment.
    """
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        start = size - _END_BYTES - (len(_MARK) + _DIGITS if stored_digest(path) else 0)
        file.seek(max(0, start))
        end = file.read(_END_BYTES)
        if not end.startswith(_END):
            raise InvalidTableError(f"{path}: expected a file of torch.save, but its end is that of another format")
        file.seek(start)
        file.write(end[:-2] + struct.pack("<H", len(_MARK) + _DIGITS) + _MARK)
        file.truncate()
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digest.encode())


def check_weights(path: Path) -> Verified:
    """Compare the checksum of a file of weights.

    Raises
    ------
    InvalidTableError
        If the file is damaged.
    """
    stored = stored_digest(path)
    if stored:
        if _digest(path, path.stat().st_size - _DIGITS) != stored:
            raise InvalidTableError(f"{path}: {_DAMAGED.format('SHA-256')}")
        return Verified.SHA256
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return Verified.NO  # no zip archive; see `NO_CHECKSUM`
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidTableError(f"{path}: {_DAMAGED.format('archive')}") from error
    if damaged is not None:
        raise InvalidTableError(f"{path}: {_DAMAGED.format('CRC-32')}")
    return Verified.CRC32


_DAMAGED = "its {} is not the one that it was saved with: the file is damaged; copy it anew, or train again"


def stored_digest(path: Path) -> str:
    """The SHA-256 that a file of weights holds; empty if it holds none."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MARK) - _DIGITS))
        end = file.read()
    # Found by its length too, so that damage in the mark does not make a file look like one without a digest.
    if len(end) < len(_MARK) + _DIGITS or not (end.startswith(_MARK) or _has_comment(path, size)):
        return ""
    return end[len(_MARK) :].decode("ascii", "replace")


def _has_comment(path: Path, size: int) -> bool:
    start = size - _END_BYTES - len(_MARK) - _DIGITS
    if start < 0:
        return False
    with path.open("rb") as file:
        file.seek(start)
        end = file.read(_END_BYTES)
    return end.startswith(_END) and end.endswith(struct.pack("<H", len(_MARK) + _DIGITS))


def _digest(path: Path, count: int) -> str:
    """SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while count > 0 and (piece := file.read(min(_PIECE, count))):
            digest.update(piece)
            count -= len(piece)
    return digest.hexdigest()
