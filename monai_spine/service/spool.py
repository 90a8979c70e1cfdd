"""The private folder of the service: received images, results that wait to be sent, and the queue.

Everything in it may name patients, so nobody but the service's own user can read it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from monai_spine.errors import OutputError
from monai_spine.files import whole_file
from monai_spine.service.configuration import Limits

_GB = 1e9
_DEAD_SECONDS = 900.0
"""A file that is being received and was not written to for so long belongs to a lost connection."""


class Spool:
    """The folder.

    Raises
    ------
    OutputError
        If it cannot be made, or belongs to another user.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self._limits = root, limits
        self._lock, self._used = threading.Lock(), 0
        self._sizes: dict[int, tuple[int, int]] = {}
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            about = root.stat()
            if about.st_uid != os.geteuid():
                raise OutputError(
                    f"{root} belongs to another user; the service keeps patients' images in a folder of its own"
                )
            if stat.S_IMODE(about.st_mode) != 0o700:
                root.chmod(0o700)
            for folder in (self.temporary, self.studies):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(f"cannot write to the folder {root}: {error.strerror}; choose another folder") from error

    @property
    def queue(self) -> Path:
        """The file of the queue."""
        return self.root / "queue.sqlite"

    @property
    def temporary(self) -> Path:
        """For files that are being received or converted. Emptied at each start."""
        return self.root / "temporary"

    @property
    def studies(self) -> Path:
        """A folder for each study."""
        return self.root / "studies"

    def received(self, number: int) -> Path:
        """The images of a study."""
        return self.studies / str(number) / "received"

    def graded(self, number: int) -> Path:
        """Where a study is graded."""
        return self.studies / str(number) / "graded"

    def objects(self, number: int) -> Path:
        """The objects of a study that wait to be sent."""
        return self.studies / str(number) / "objects"

    def use_for_temporary_files(self) -> None:
        """Let the whole process keep its temporary files here, those of libraries, too: they hold images."""
        for entry in self.temporary.iterdir():
            _remove(entry)
        os.umask(0o077)
        tempfile.tempdir = os.environ["TMPDIR"] = str(self.temporary)

    def keep(self, file: Path, number: int, instance_uid: str) -> None:
        """Move a received file to its study, so that it survives a power cut. An image that came before is replaced."""
        folder = self.received(number)
        folder.mkdir(parents=True, exist_ok=True)
        _to_disk(file)
        size = file.stat().st_size
        # A UID is the peer's word; its digest is a name that leads nowhere else.
        file.replace(folder / f"{hashlib.sha256(instance_uid.encode()).hexdigest()[:40]}.dcm")
        _to_disk(folder)
        with self._lock:
            self._used += size
            images, total = self._sizes.get(number, (0, 0))
            self._sizes[number] = images + 1, total + size

    def size(self, number: int) -> tuple[int, int]:
        """Images and bytes of a study so far; images that came twice count twice until the next start."""
        with self._lock:
            if number not in self._sizes:
                folder = self.received(number)
                sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder.is_dir() else []
                self._sizes[number] = len(sizes), sum(sizes)
            return self._sizes[number]

    def join(self, number: int, earlier: Sequence[int]) -> None:
        """Add the images of earlier parts of a study that are still there; links take no space."""
        own = self.received(number)
        for other in earlier:
            for file in sorted(self.received(other).glob("*.dcm")) if self.received(other).is_dir() else ():
                if not (own / file.name).exists():
                    _link_or_copy(file, own / file.name)

    def content(self, number: int, about: str) -> tuple[int, str]:
        """The number of images, and a digest of them and of ``about``."""
        names = sorted(file.name for file in self.received(number).glob("*.dcm"))
        return len(names), hashlib.sha256("\n".join([about, *names]).encode()).hexdigest()

    def take_objects(self, number: int, files: Sequence[Path]) -> list[str]:
        """Move objects to where they wait to be sent, all or none, so that they survive a power cut; their names."""
        made, target = self.objects(number).with_suffix(".new"), self.objects(number)
        _remove(made)
        made.mkdir(parents=True)
        names = []
        for n, file in enumerate(files):
            name = f"{n}_{file.name}"
            file.replace(made / name)
            _to_disk(made / name)
            names.append(name)
        _remove(target)
        made.replace(target)
        _to_disk(target.parent)
        return names

    def remove(self, number: int) -> None:
        """Remove all files of a study."""
        _remove(self.studies / str(number))
        with self._lock:
            self._sizes.pop(number, None)

    def remove_graded(self, number: int) -> None:
        """Remove what the grading left: volumes, and results beside the objects."""
        _remove(self.graded(number))

    def numbers(self) -> list[int]:
        """The studies that have files."""
        return sorted(int(entry.name) for entry in self.studies.iterdir() if entry.name.isdigit())

    def sweep_temporary(self) -> None:
        """Remove files of connections that broke."""
        for file in self.temporary.glob("*.dcm"):
            try:
                if time.time() - file.stat().st_mtime > _DEAD_SECONDS:
                    file.unlink()
            except FileNotFoundError:
                continue

    def measure(self) -> int:
        """Count the bytes of the folder; between two counts, received images are added."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                try:
                    about = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - ten times as fast for many files
                except FileNotFoundError:
                    continue
                total += about.st_size // about.st_nlink
        with self._lock:
            self._used = total
        return total

    @property
    def used(self) -> int:
        """Bytes of the folder, as counted last, with what was received since."""
        return self._used

    @property
    def free(self) -> int:
        """Bytes that the disk has left."""
        return shutil.disk_usage(self.root).free

    def full(self) -> str:
        """Why no image can be taken; empty if one can."""
        if self._used > self._limits.folder_gb * _GB:
            return "folder_gb"
        return "free_gb" if self.free < self._limits.free_gb * _GB else ""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
