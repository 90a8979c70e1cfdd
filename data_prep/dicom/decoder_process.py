"""The process that `data_prep.dicom.decoding` talks to: paths of DICOM files in on stdin, their pixels out on stdout.

An answer is a line ``<numpy type code> <bytes>`` and as many bytes, or the line ``refused``.
"""

from __future__ import annotations

import resource
import sys

import SimpleITK as sitk  # noqa: N813 - its usual name

MEMORY = 16 << 30
"""Bytes of address space: what a codestream that lies about its size may ask for at most."""


def serve() -> None:
    """Answer until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sitk.ProcessObject.GlobalWarningDisplayOff()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for line in sys.stdin:
        sys.stdout.buffer.write(answer(line.rstrip("\n")))
        sys.stdout.buffer.flush()


def answer(path: str) -> bytes:
    """The answer for one file."""
    try:
        decoded = sitk.GetArrayFromImage(sitk.ReadImage(path, imageIO="GDCMImageIO"))
    except (RuntimeError, MemoryError):
        return b"refused\n"
    return f"{decoded.dtype.str} {decoded.nbytes}\n".encode() + decoded.tobytes()


if __name__ == "__main__":
    serve()
