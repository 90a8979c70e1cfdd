"""SimpleITK in a process of its own: it reads the pixels of DICOM files, one group of files ahead of its caller.

SimpleITK's readers (GDCM and its codecs) are native code, which damaged input can crash, keep busy for ever or make
allocate any amount of memory. In its own process each of these is an error of one file, and reading runs beside the
caller's compressing and writing. Values come back through shared memory.

This module is also the program of that process (``python -m data_prep.dicom.simpleitk``). Its stdin has a request a
line, its stdout an answer a line, both in JSON; the values of an answer lie in the slot that the request names.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

SECONDS = 120.0
"""How long one group of files may take to read."""

MEMORY = 16 << 30
"""Bytes of address space of the process, beside the slots: the most that a damaged file can make it allocate."""

SLOT_BYTES = 8 << 20
"""Bytes of a slot, unless one file needs more: 16 slices of 512 × 512 with values of two bytes. Smaller groups cost
more, because the series reader parses the first and the last header of a group once again."""

VALUE_BYTES = 8
"""Bytes of a rescaled value in SimpleITK's widest type."""

AHEAD = 2
"""Slots for groups that are read in turn. One more slot is for single files in between."""

Array = npt.NDArray[np.float64]


class CrashedError(Exception):
    """The process ended, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Image:
    """What SimpleITK makes of a group of files.

    Attributes
    ----------
    values
        Shape ``(slices, rows, columns)``, rescaled, in the type that SimpleITK chose. They lie in a slot: valid until
        the next image of the same caller.
    origin, spacing
        LPS mm of the first pixel; mm between columns, rows and slices.
    direction
        ``(3, 3)``: the unit vectors of these three axes are its columns.
    """

    values: npt.NDArray[np.generic]
    origin: Array
    spacing: Array
    direction: Array


def read_ahead(groups: Sequence[Sequence[str]], slice_bytes: int) -> Iterator[Image | None]:
    """The image of each group of files, or None if SimpleITK cannot read it. The next group is read meanwhile.

    Parameters
    ----------
    slice_bytes
        The most that one decoded slice needs, in bytes.
    """
    asked: list[int] = []
    process = _process(slice_bytes)
    for number in range(len(groups)):
        if process.ended():
            process = _process(slice_bytes)
            del asked[number:]
        for ahead in range(len(asked), min(number + AHEAD, len(groups))):
            asked.append(process.ask(groups[ahead], ahead % AHEAD))
        try:
            yield process.answer(asked[number])
        except CrashedError:
            yield None


def read_file(path: str, slice_bytes: int) -> Image | None:
    """The image of one file, or None if SimpleITK cannot read it.

    Raises
    ------
    CrashedError
        If it crashes SimpleITK's process, or keeps it busy for too long.
    """
    process = _process(slice_bytes)
    return process.answer(process.ask([path], AHEAD))


class _Process:
    """SimpleITK's process and the memory that it shares with this one."""

    def __init__(self, slot_bytes: int) -> None:
        self.slot_bytes = slot_bytes
        self._asked = 0
        self._received = b""
        self._answers: dict[int, dict[str, Any]] = {}
        size = (AHEAD + 1) * slot_bytes
        with _unnamed_file() as file:
            file.truncate(size)  # a page takes up space only once it is written to
            self._shared = mmap.mmap(file.fileno(), size)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, without a shell
                [sys.executable, "-m", "data_prep.dicom.simpleitk", str(file.fileno()), str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # ITK and the codecs print warnings there
                pass_fds=[file.fileno()],
                bufsize=0,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, files: Sequence[str], slot: int) -> int:
        """Ask for an image; the number of the request."""
        assert self._process.stdin is not None
        self._asked += 1
        request = {"number": self._asked, "files": files, "start": slot * self.slot_bytes, "size": self.slot_bytes}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except OSError:  # the process has ended: whoever waits for the answer learns of it
            self.stop()
        return self._asked

    def answer(self, number: int) -> Image | None:
        """The image of a request, or None if SimpleITK cannot read its files.

        Raises
        ------
        CrashedError
            If the process ends before it answers.
        """
        while number not in self._answers:
            answer = self._next_answer()
            self._answers[answer["number"]] = answer
        # what a caller asked for and left, because another slice was refused, has no reader any more
        answer = self._answers.pop(number)
        if "shape" not in answer:
            return None
        dtype, count = np.dtype(answer["dtype"]), math.prod(answer["shape"])
        values = np.frombuffer(self._shared, dtype, count, answer["start"]).reshape(answer["shape"])
        direction = np.array(answer["direction"]).reshape(3, 3)
        return Image(values, np.array(answer["origin"]), np.array(answer["spacing"]), direction)

    def _next_answer(self) -> dict[str, Any]:
        answers = self._process.stdout
        assert answers is not None
        while b"\n" not in self._received:
            ready = select.select([answers], [], [], SECONDS)[0]
            piece = os.read(answers.fileno(), 1 << 16) if ready else b""
            if not piece:
                self.stop()
                raise CrashedError
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def _unnamed_file() -> IO[bytes]:
    """A file in memory; on the disk where the system has none in memory, which costs time for writing it back."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("monai-spine"), "r+b")  # noqa: PTH123 - it has no path
    return tempfile.TemporaryFile(prefix="monai-spine-")


_running: list[_Process] = []


def _process(slice_bytes: int) -> _Process:
    """SimpleITK's process; a new one if the last has ended, or its slots are too small."""
    if _running and (_running[0].ended() or _running[0].slot_bytes < slice_bytes):
        _running.pop().stop()
    if not _running:
        _running.append(_Process(max(slice_bytes, SLOT_BYTES)))
    return _running[0]


def answer_requests(descriptor: int, size: int) -> None:
    """Read groups of files until stdin ends: the main function of the process."""
    import resource  # not on Windows

    import SimpleITK as sitk  # noqa: N813 - its usual name

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + size, MEMORY + size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sitk.ProcessObject.GlobalWarningDisplayOff()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    shared = memoryview(mmap.mmap(descriptor, size))
    for line in sys.stdin:
        request = json.loads(line)
        answer = _answer(request["files"], shared[request["start"] :][: request["size"]])
        sys.stdout.write(json.dumps({"number": request["number"], "start": request["start"], **answer}) + "\n")
        sys.stdout.flush()


def _answer(files: list[str], slot: memoryview) -> dict[str, object]:
    import SimpleITK as sitk  # noqa: N813

    try:
        image = sitk.ReadImage(files[0] if len(files) == 1 else files, imageIO="GDCMImageIO")
        values = sitk.GetArrayViewFromImage(image)
    except (RuntimeError, MemoryError):
        return {}
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or values.nbytes > len(slot):
        return {}
    np.copyto(np.frombuffer(slot, values.dtype, values.size).reshape(values.shape), values)
    return {
        "dtype": values.dtype.str,
        "shape": values.shape,
        "origin": image.GetOrigin(),
        "spacing": image.GetSpacing(),
        "direction": image.GetDirection(),
    }


if __name__ == "__main__":
    answer_requests(*map(int, sys.argv[1:]))
