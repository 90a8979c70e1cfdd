"""The input files of a conversion: of a single file, a folder tree, a DICOMDIR or a zip archive.

Every file becomes a `Source`, readable or not, so that the tables can account for it. Only folders, archives and
DICOMDIRs are opened here. Archives are unpacked under numbers instead of the names of their entries.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_prep.choices import MAX_BYTES
from data_prep.dicom.refusals import Reason, Refused
from monai_spine.errors import MissingInputError, SpineError

CHUNK = 1 << 20
"""Bytes that are unpacked at a time."""


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


def find(source: Path, scratch: Path, max_bytes: int = MAX_BYTES) -> list[Source]:
    """All input files below a path, sorted by their name in the tables.

    Parameters
    ----------
    source
        A DICOM file, a folder, a DICOMDIR or a zip archive.
    scratch
        An empty folder for the files of archives. It must exist as long as the sources are used.
    max_bytes
        The most that one archive entry may unpack to.

    Raises
    ------
    MissingInputError
        If there is no such path.
    """
    if not source.exists():
        raise MissingInputError(f"expected a file or a folder to read, but {source} does not exist")
    if source.is_dir():
        files = list(_walk(source, scratch, max_bytes))
    elif source.name.upper() == "DICOMDIR":
        files = list(_from_dicomdir(source))
    elif zipfile.is_zipfile(source):
        files = list(_unpack(source, "", scratch, max_bytes))
    else:
        files = [Source(source.name, str(source))]
    return sorted(files, key=lambda file: file.path)


def _walk(root: Path, scratch: Path, max_bytes: int) -> Iterator[Source]:
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
                yield from _file(entry, _text(name + entry.name), scratch, max_bytes)


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


def _file(entry: os.DirEntry[str], name: str, scratch: Path, max_bytes: int) -> Iterator[Source]:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        yield Source(name, "", Reason.UNREADABLE, error.strerror or "cannot be opened")
        return
    if not stat.S_ISREG(mode):  # reading a pipe or a device may never end
        yield Source(name, "", Reason.NOT_AN_IMAGE, "not a regular file")
    elif name.lower().endswith(".zip") and zipfile.is_zipfile(entry.path):
        yield from _unpack(Path(entry.path), f"{name}/", scratch, max_bytes)
    else:
        yield Source(name, entry.path)


def _unpack(archive: Path, prefix: str, scratch: Path, max_bytes: int) -> Iterator[Source]:
    """The entries of a zip, unpacked under numbers: an entry's name is never used as a path."""
    target = scratch / f"zip{len(list(scratch.iterdir()))}"
    target.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            for number, entry in enumerate(opened.infolist()):
                if not entry.is_dir():
                    name = prefix + _text(entry.filename)
                    yield _unpack_entry(opened, entry, name, target / f"{number}.dcm", max_bytes)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        yield Source(prefix.rstrip("/") or archive.name, "", Reason.UNREADABLE, f"archive: {type(error).__name__}")


def _unpack_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, target: Path, max_bytes: int) -> Source:
    try:
        _check_entry(entry, max_bytes)
        _copy_entry(opened, entry, target, max_bytes)
    except Refused as refusal:
        return Source(name, "", refusal.reason, refusal.detail)
    except OSError as error:
        raise SpineError(f"cannot unpack the archive into {target.parent.parent}: {error.strerror}") from error
    except Exception as error:  # zlib, lzma and zipfile raise errors of many types on a damaged entry
        return Source(name, "", Reason.UNREADABLE, f"archive entry: {type(error).__name__}")
    return Source(name, str(target))


def _check_entry(entry: zipfile.ZipInfo, max_bytes: int) -> None:
    parts = PurePosixPath(entry.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise Refused(Reason.UNSAFE_PATH, "the entry's name points outside the archive")
    if entry.file_size > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"{entry.file_size} bytes unpacked, at most {max_bytes} allowed")
    if entry.flag_bits & 0x1:
        raise Refused(Reason.UNREADABLE, "the entry is encrypted")


def _copy_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, max_bytes: int) -> None:
    copied = 0
    with opened.open(entry) as packed, target.open("wb") as plain:
        while chunk := packed.read(CHUNK):
            copied += len(chunk)
            if copied > max_bytes:
                raise Refused(Reason.TOO_LARGE, f"more than {max_bytes} bytes unpacked")
            plain.write(chunk)


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
