"""Where input files come from: a file, a folder tree, a DICOMDIR or a zip archive.

Every file found becomes a `Source`, readable or not, so that every one is answered for in the tables. Nothing is
opened here but directories, archives and DICOMDIRs; archives are unpacked under numbered names of our own.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_prep.choices import MAX_BYTES
from data_prep.dicom.reasons import Reason, Refused
from monai_spine.errors import MissingInputError, SpineError

CHUNK = 1 << 20


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
        Set when it is answered for without being opened.
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
        An empty folder for what archives hold; it must outlive the sources.
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
        found = list(_walk(source, scratch, max_bytes))
    elif source.name.upper() == "DICOMDIR":
        found = list(_from_dicomdir(source))
    elif zipfile.is_zipfile(source):
        found = list(_unpack(source, "", scratch, max_bytes))
    else:
        found = [Source(source.name, str(source))]
    return sorted(found, key=lambda item: item.path)


def _walk(root: Path, scratch: Path, max_bytes: int) -> Iterator[Source]:
    """Every file of a tree. Linked folders are entered once, so that a loop of links ends.

    Names are put together as text: a `Path` for each of a million files would take longer than to read its header.
    """
    seen = {_identity(root.stat())}
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
            if _is_new_folder(entry, seen):
                folders.append((entry.path, f"{name}{entry.name}/"))
            elif not _is_folder(entry):
                yield from _file(entry, _text(name + entry.name), scratch, max_bytes)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_new_folder(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    if not _is_folder(entry):
        return False
    key = _identity(entry.stat())
    if key in seen:
        return False
    seen.add(key)
    return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _text(name: str) -> str:
    """The name in the tables; bytes that are no text are written as escapes, since tables are UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _file(entry: os.DirEntry[str], name: str, scratch: Path, max_bytes: int) -> Iterator[Source]:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        yield Source(name, "", Reason.UNREADABLE, error.strerror or "cannot be opened")
        return
    if not stat.S_ISREG(mode):  # a pipe or a device would block for ever
        yield Source(name, "", Reason.NOT_AN_IMAGE, "not a regular file")
    elif name.lower().endswith(".zip") and zipfile.is_zipfile(entry.path):
        yield from _unpack(Path(entry.path), f"{name}/", scratch, max_bytes)
    else:
        yield Source(name, entry.path)


def _unpack(archive: Path, prefix: str, scratch: Path, max_bytes: int) -> Iterator[Source]:
    """The entries of a zip, unpacked under numbers: an entry's name never becomes a path."""
    target = scratch / f"zip{len(list(scratch.iterdir()))}"
    target.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            for number, entry in enumerate(opened.infolist()):
                if not entry.is_dir():
                    name = prefix + entry.filename.encode("utf-8", "backslashreplace").decode("utf-8")
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
    except Exception as error:  # zlib, lzma and zipfile raise errors of many kinds on a damaged entry
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
    """The files that a DICOMDIR's image records name, and the DICOMDIR itself."""
    import pydicom

    root = dicomdir.parent.resolve()
    try:
        records = pydicom.dcmread(dicomdir).DirectoryRecordSequence
        names = [_reference(record) for record in records if "ReferencedFileID" in record]
    except Exception as error:  # pydicom raises errors of many kinds on a damaged file
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
    """The file of a reference; a copied or mounted disc may spell it in other case, or with ``;1`` for its version."""
    path = root
    for part in PurePosixPath(name).parts:
        path /= part
        if not path.exists() and path.parent.is_dir():
            alike = (entry for entry in sorted(path.parent.iterdir()) if _plain_name(entry.name) == _plain_name(part))
            path = next(alike, path)
    return path


def _plain_name(name: str) -> str:
    return name.partition(";")[0].removesuffix(".").lower()


def _reference(record: object) -> str:
    value = record.ReferencedFileID  # type: ignore[attr-defined]
    return "/".join([value] if isinstance(value, str) else list(value))
