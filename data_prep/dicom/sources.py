"""The input files of a conversion: of a single file, a folder tree, a DICOMDIR or a zip archive.

Every file becomes a `Source`, readable or not, so that the tables can account for it. Only folders, archives, gzip
files and DICOMDIRs are opened here. Archives are unpacked under numbers instead of the names of their entries.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from data_prep.choices import MAX_BYTES
from data_prep.dicom.refusals import Reason, Refused
from monai_spine.errors import MissingInputError, SpineError

CHUNK = 1 << 20
"""Bytes that are unpacked at a time."""

RATIO, LEAST_ALLOWED = 100, 64 << 20
"""An archive may unpack to so many times its own bytes, or to so many bytes if that is more. Images pack to a tenth at
best; a bomb to a thousandth."""

Packed = IO[bytes] | gzip.GzipFile
GZIP = b"\x1f\x8b"
_OTHER_GZIP = (".nii.gz", ".tar.gz")
"""Ends of the names of packed files that are no single DICOM file."""


class Allowance:
    """How many bytes may still be unpacked.

    Parameters
    ----------
    most
        Bytes in all.
    whole
        The allowance that this one is a part of.
    """

    def __init__(self, most: int, whole: Allowance | None = None) -> None:
        self._left, self._whole = most, whole

    def use(self, count: int) -> None:
        """Count bytes that are about to be written.

        Raises
        ------
        Refused
            ``TOO_LARGE`` if too many have been written already.
        """
        if count > self.left:
            raise Refused(Reason.TOO_LARGE, "the archive unpacks to more bytes than are allowed, or than the disk has")
        self._left -= count
        if self._whole is not None:
            self._whole.use(count)

    @property
    def left(self) -> int:
        """Bytes that may still be written."""
        return self._left if self._whole is None else min(self._left, self._whole.left)

    def of_file(self, path: Path) -> Allowance:
        """The part of a packed file."""
        return Allowance(max(LEAST_ALLOWED, RATIO * path.stat().st_size), self)


@dataclass(frozen=True, slots=True)
class Source:
    """One input file.

    Attributes
    ----------
    path
        Its name in ``files.csv``: relative to the input, with forward slashes.
    location
        Where its bytes can be read; empty when they cannot.
    reason, detail
        Set when the file is refused or ignored without being opened.
    """

    path: str
    location: str
    reason: Reason | None = None
    detail: str = ""


def find(source: Path, unpacked: Path, max_bytes: int = MAX_BYTES) -> list[Source]:
    """All input files below a path, sorted by their name in the tables.

    Parameters
    ----------
    source
        A DICOM file, a folder, a DICOMDIR or a zip archive.
    unpacked
        An empty folder for the files of archives. It must exist as long as the sources are used. At most half of the
        space that is free there is used.
    max_bytes
        The most that one file or archive entry may unpack to.

    Raises
    ------
    MissingInputError
        If there is no such path.
    """
    if not source.exists():
        raise MissingInputError(f"expected a file or a folder to read, but {source} does not exist")
    source = source.absolute()  # workers of a cluster have another working directory
    unpacking = _Unpacking(unpacked, max_bytes, Allowance(shutil.disk_usage(unpacked).free // 2))
    if source.is_dir():
        files = list(_walk(source, unpacking))
    elif source.name.upper() == "DICOMDIR":
        files = list(_from_dicomdir(source))
    else:
        files = list(unpacking.files(source, source.name, ""))
    return sorted(files, key=lambda file: file.path)


def _walk(root: Path, unpacking: _Unpacking) -> Iterator[Source]:
    """Every file of a tree. A linked folder is entered once, so that a loop of links ends.

    Names are joined as text: to make a `Path` for each of a million files would take longer than to read its header.
    """
    entered = {_device_and_inode(root.stat())}
    folders = [(str(root), "")]
    while folders:
        folder, name = folders.pop()
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError as error:
            yield Source(_text(name.rstrip("/")) or ".", "", Reason.UNREADABLE, f"folder: {error.strerror}")
            continue
        for entry in entries:
            if _is_new_folder(entry, entered):
                folders.append((entry.path, f"{name}{entry.name}/"))
            elif not _is_folder(entry):
                yield from _file(entry, _text(name + entry.name), unpacking)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_new_folder(entry: os.DirEntry[str], entered: set[tuple[int, int]]) -> bool:
    """Whether an entry is a folder that was not entered before; if so, it is added to those entered."""
    if not _is_folder(entry):
        return False
    key = _device_and_inode(entry.stat())
    if key in entered:
        return False
    entered.add(key)
    return True


def _device_and_inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _text(name: str) -> str:
    """A name for the tables, which are UTF-8: bytes that are no text become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _file(entry: os.DirEntry[str], name: str, unpacking: _Unpacking) -> Iterator[Source]:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        yield Source(name, "", Reason.UNREADABLE, error.strerror or "cannot be opened")
        return
    if not stat.S_ISREG(mode):  # reading a pipe or a device may never end
        yield Source(name, "", Reason.NOT_AN_IMAGE, "not a regular file")
    elif name.lower().endswith((".zip", ".gz")):
        yield from unpacking.files(Path(entry.path), name, f"{name}/")
    else:
        yield Source(name, entry.path)


class _Unpacking:
    """Unpacks archives and packed files into a folder, under numbers: no name of an input is used as a path."""

    def __init__(self, target: Path, max_bytes: int, allowance: Allowance) -> None:
        self._target, self._max_bytes, self._allowance = target, max_bytes, allowance
        self._count = 0

    def files(self, path: Path, name: str, prefix: str) -> Iterator[Source]:
        """The files in a file: the entries of a zip, the content of a gzip file, or the file itself.

        ``name`` is that of the file in the tables; the names of entries follow ``prefix``.
        """
        if zipfile.is_zipfile(path):
            yield from self._entries(path, name, prefix)
        elif name.lower().endswith(".gz") and not name.lower().endswith(_OTHER_GZIP) and _begins_with(path, GZIP):
            yield self._source(name, lambda: gzip.GzipFile(path), self._allowance.of_file(path), "packed file")
        else:
            yield Source(name, str(path))

    def _entries(self, archive: Path, name: str, prefix: str) -> Iterator[Source]:
        allowance = self._allowance.of_file(archive)
        try:
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    if not entry.is_dir():
                        yield self._entry(opened, entry, prefix + _text(entry.filename), allowance)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            yield Source(name, "", Reason.UNREADABLE, f"archive: {type(error).__name__}")

    def _entry(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, allowance: Allowance) -> Source:
        try:
            _check_entry(entry, self._max_bytes)
        except Refused as refusal:
            return Source(name, "", refusal.reason, refusal.detail)
        return self._source(name, lambda: opened.open(entry), allowance, "archive entry")

    def _source(self, name: str, opened: Callable[[], Packed], allowance: Allowance, what: str) -> Source:
        """A source whose bytes are copied into the folder."""
        target = self._target / f"{self._count}.dcm"
        self._count += 1
        try:
            with opened() as packed, _file_of(target) as plain:
                self._copy(packed, plain, allowance)
        except Refused as refusal:
            target.unlink(missing_ok=True)
            return Source(name, "", refusal.reason, refusal.detail)
        except _DiskError as error:
            raise SpineError(f"cannot unpack into {self._target.parent}: {error}; free some space there") from error
        except Exception as error:  # zlib, lzma, gzip and zipfile raise errors of many types on damaged data
            target.unlink(missing_ok=True)
            return Source(name, "", Reason.UNREADABLE, f"{what}: {type(error).__name__}")
        return Source(name, str(target))

    def _copy(self, packed: Packed, plain: IO[bytes], allowance: Allowance) -> None:
        copied = 0
        while chunk := packed.read(CHUNK):
            copied += len(chunk)
            if copied > self._max_bytes:
                raise Refused(Reason.TOO_LARGE, f"more than {self._max_bytes} bytes unpacked")
            allowance.use(len(chunk))
            try:
                plain.write(chunk)
            except OSError as error:
                raise _DiskError(error.strerror) from error


class _DiskError(Exception):
    """The folder for unpacked files cannot be written to."""


def _file_of(target: Path) -> IO[bytes]:
    try:
        return target.open("wb", buffering=0)
    except OSError as error:
        raise _DiskError(error.strerror) from error


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _check_entry(entry: zipfile.ZipInfo, max_bytes: int) -> None:
    parts = PurePosixPath(entry.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise Refused(Reason.UNSAFE_PATH, "the entry's name points outside the archive")
    if entry.file_size > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"{entry.file_size} bytes unpacked, at most {max_bytes} allowed")
    if entry.flag_bits & 0x1:
        raise Refused(Reason.UNREADABLE, "the entry is encrypted")


def _from_dicomdir(dicomdir: Path) -> Iterator[Source]:
    """The DICOMDIR itself, and the files that its records refer to."""
    import pydicom

    root = dicomdir.parent.resolve()
    try:
        records = pydicom.dcmread(dicomdir).DirectoryRecordSequence
        names = [_reference(record) for record in records if "ReferencedFileID" in record]
    except Exception as error:  # pydicom raises errors of many types on a damaged file
        raise SpineError(f"{dicomdir} cannot be read as a DICOMDIR: {type(error).__name__}") from error
    yield Source(dicomdir.name, str(dicomdir), Reason.NOT_AN_IMAGE, "the DICOMDIR itself")
    for name in dict.fromkeys(names):
        path = _as_on_disk(root, name).resolve()
        if not path.is_relative_to(root):
            yield Source(name, "", Reason.UNSAFE_PATH, "the reference points outside the DICOMDIR's folder")
        elif not path.is_file():
            yield Source(name, "", Reason.UNREADABLE, "named in the DICOMDIR, but absent")
        else:
            yield Source(name, str(path))


def _as_on_disk(root: Path, name: str) -> Path:
    """The file of a reference. A copied or mounted disc may use another case, or ``;1`` for the file's version."""
    path = root
    for part in PurePosixPath(name).parts:
        path /= part
        if not path.exists() and path.parent.is_dir():
            same = (entry for entry in sorted(path.parent.iterdir()) if _plain_name(entry.name) == _plain_name(part))
            path = next(same, path)
    return path


def _plain_name(name: str) -> str:
    return name.partition(";")[0].removesuffix(".").lower()


def _reference(record: object) -> str:
    value = record.ReferencedFileID  # type: ignore[attr-defined]
    return "/".join([value] if isinstance(value, str) else list(value))
