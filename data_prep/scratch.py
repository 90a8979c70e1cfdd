"""Private folders for what a run unpacks: removed when it ends, and by the next run if it was killed before.

What is unpacked may name patients. A folder belongs to one user (0700). Its marker is locked as long as its run lives,
so that the next run can tell which folders nobody uses any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_spine.errors import SpineError

PREFIX = ".monai-spine-"
"""How the folders' names begin."""
MARKER = "in-use"
"""File in such a folder. The system frees its lock when the process that holds it ends, even if it is killed."""


@contextmanager
def folder(inside: Path | None = None) -> Iterator[Path]:
    """An empty private folder, gone when the block ends. Folders that killed runs left beside it are removed first.

    Parameters
    ----------
    inside
        Where to make it; in the system's folder for temporary files if None.

    Raises
    ------
    SpineError
        If it cannot be made.
    """
    parent = Path(tempfile.gettempdir() if inside is None else inside)
    sweep(parent)
    try:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        locked = _locked(made)
    except OSError as error:
        raise SpineError(f"cannot make a folder for unpacked files in {parent}: {error.strerror}") from error
    try:
        files = made / "files"
        files.mkdir()
        yield files
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(locked)


def _locked(made: Path) -> int:
    """Make the marker; it gets its name when it is locked, so that nobody finds it unlocked."""
    early = made / f"{MARKER}.new"
    descriptor = os.open(early, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    early.rename(made / MARKER)
    return descriptor


def sweep(parent: Path) -> int:
    """Remove the folders of this user's runs that ended without removing them; returns how many."""
    try:
        with os.scandir(parent) as opened:
            candidates = [Path(entry.path) for entry in opened if entry.name.startswith(PREFIX)]
    except OSError:
        return 0
    return sum(_remove_if_left(path) for path in candidates)


def _remove_if_left(path: Path) -> bool:
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            return False
        descriptor = os.open(path / MARKER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # its run is alive
    else:
        shutil.rmtree(path, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)
