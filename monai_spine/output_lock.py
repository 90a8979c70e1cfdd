"""One run at a time in an output folder: a lock file that says which process holds it, and since when.

The kernel releases the lock when its process ends in whatever way, so a lock never outlives a killed run. Processes
that a killed run has left behind may hold it a little longer; it is then broken, because the run itself is gone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_spine.errors import OutputError

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""The file in the folder. It is there only while a run lasts, or after one was killed."""
_ATTEMPTS = 5
_SETTLING_SECONDS = 0.2
"""A run that has just taken the lock of a killed one writes its own name within this time."""
_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems answer that cannot lock."""


_locks: dict[Path, int] = {}
"""Descriptors of the locks of this process, which may take a lock again that it holds: a run inside of a run."""


@contextmanager
def output_lock(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, which is made if it does not exist.

    Raises
    ------
    OutputError
        If another process holds it, with the process and its start; or if the folder cannot be written to.
    """
    taken = take(out)
    try:
        yield
    finally:
        if taken:
            release(out)


def take(out: Path) -> bool:
    """Take the lock of a folder until `release`, or until the process ends; see `output_lock` for the errors.

    Returns
    -------
    Whether this process did not hold it before.
    """
    path = out.resolve() / LOCK
    if path in _locks:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path)
    except OSError as error:
        raise OutputError(
            f"cannot write to the output folder {out}: {error.strerror}; choose another folder"
        ) from error
    if descriptor is None:
        raise OutputError(f"{out} is in use by {_holder(path)}; wait until it ends, or choose another output folder")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(_about()).encode())
    _locks[path] = descriptor
    return True


def release(out: Path) -> None:
    """Release a lock that `take` took; nothing happens if this process does not hold it."""
    path = out.resolve() / LOCK
    descriptor = _locks.pop(path, None)
    if descriptor is not None:
        # Removed while it is held, so that nobody can hold a file that is gone; see `_locked`.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """The descriptor of the locked file; None if another process holds it."""
    for _ in range(_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if not _is_abandoned(path):
                return None
            logger.warning("%s: the run that held this lock was killed; the lock is broken", path)
            path.unlink(missing_ok=True)
            continue
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
            logger.debug("%s: the file system has no locks", path)
        if _is_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # another process removed the file when it released it
    return None


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _about() -> dict[str, Any]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
    return {"process": os.getpid(), "machine": socket.gethostname(), "command": command, "since": time.time()}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_abandoned(path: Path) -> bool:
    """Whether the process that wrote the lock was one of this machine, and has ended."""
    about = _read(path)
    time.sleep(_SETTLING_SECONDS)
    if _read(path) != about:
        return False
    process = about.get("process")
    if about.get("machine") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _holder(path: Path) -> str:
    about = _read(path)
    if not about:
        return "another run"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(about.get("since", 0))))
    return f"process {about.get('process')} on {about.get('machine')} ({about.get('command')}) since {since}"
