"""NIfTI files: written whole or not at all, then read back from the disk and checked."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from data_prep.dicom.frames import Frame
from data_prep.dicom.placement import CORNER_TOLERANCE_MM, RIGID_TOLERANCE_MM, rigid, worst_corner
from data_prep.dicom.reasons import Reason, Refused
from monai_spine.errors import SpineError

LEVEL = 1
"""ISA-L's deflate level: level 1 is ten times as fast as zlib's default, for files of about the same size."""

CHUNK = 1 << 20
"""Bytes that are deflated, or read back, at a time."""

PARTIAL = ".partial"
"""How files end while they are being written."""

GZIP = 31
"""zlib's wbits for reading a gzip container, whatever its window."""

GZIP_8K = 29
"""zlib's wbits for a gzip container with a window of 8 KiB, which stays in the nearest cache: images rarely repeat
themselves further away, and files grow by 0.2 %."""

Array = npt.NDArray[np.float64]
Stored = npt.NDArray[np.generic]


class OutputError(SpineError):
    """The output cannot be written."""


def header(shape: tuple[int, ...], dtype: np.dtype[np.generic], affine: Array, slope: float, inter: float) -> bytes:
    """The 352 bytes before the voxels: qform and sform set, units millimetres.

    Parameters
    ----------
    shape
        ``(columns, rows, slices)`` or ``(columns, rows, slices, volumes)``.
    affine
        ``(4, 4)``, voxels to RAS mm.
    slope, inter
        Value = stored × slope + inter.
    """
    made = nib.Nifti1Header()
    made.set_data_dtype(dtype)
    made.set_data_shape(shape)
    made.set_qform(rigid(affine, shape), code="scanner")
    made.set_sform(affine, code="scanner")
    made.set_xyzt_units("mm", "sec")
    made["vox_offset"] = 352
    made["magic"] = b"n+1"
    if (slope, inter) != (1.0, 0.0):
        made["scl_slope"], made["scl_inter"] = slope, inter
    return bytes(made.binaryblock) + b"\0\0\0\0"


def encode(head: bytes, voxels: Stored, compress: bool) -> Iterator[bytes | memoryview]:
    """The bytes of a file whose voxels are all in memory, in pieces."""
    body = np.ascontiguousarray(voxels).reshape(-1).view(np.uint8).data
    chunks = (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))
    return pack(itertools.chain([head], chunks), compress)


def pack(pieces: Iterable[bytes | memoryview], compress: bool) -> Iterator[bytes | memoryview]:
    """The bytes of a file, in pieces that are still in the processor's cache when they are written.

    Deflated, they carry no name and no time: equal pieces, equal bytes.
    """
    if not compress:
        yield from pieces
        return
    engine = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP_8K)
    for piece in pieces:
        yield engine.compress(piece)
    yield engine.flush()


def sidecar_path(path: Path) -> Path:
    """Where the JSON of a volume lies."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def make_folder(folder: Path) -> None:
    """Create a folder of the output.

    Raises
    ------
    OutputError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {folder}: {error.strerror}") from error


def file_checksum(path: Path) -> tuple[int, bytes]:
    """CRC-32 of a file's bytes, read a piece at a time, and the first piece."""
    buffer = bytearray(CHUNK)
    window = memoryview(buffer)
    checksum, beginning = 0, b""
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            beginning = beginning or bytes(window[:4096])
            checksum = isal_zlib.crc32(window[:count], checksum)
    return checksum, beginning


def write_atomically(path: Path, pieces: Iterable[bytes | memoryview]) -> int:
    """Write a file so that it is there whole or not at all; the CRC-32 of what was written.

    Raises
    ------
    OutputError
        If the disk is full, or the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    checksum = 0
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                checksum = isal_zlib.crc32(piece, checksum)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error
    return checksum


def verify(path: Path, expected_crc: int, volumes: Sequence[Sequence[Frame]]) -> None:
    """Read a file back from the disk and hold it against the DICOM headers of its slices.

    Checked are the checksum of all stored bytes, the header's shape, and the four corners of every slice of every
    volume, from both affines on the disk and from each slice's own header.

    Raises
    ------
    Refused
        ``VERIFY_FAILED``, with the slice and the millimetres.
    """
    found, beginning = file_checksum(path)
    if found != expected_crc:
        raise Refused(Reason.VERIFY_FAILED, "the bytes on the disk are not those that were written")
    shape, _, stored = read_header(beginning)
    first = volumes[0][0].pixels
    expected = (first.columns, first.rows, len(volumes[0]), *((len(volumes),) if len(volumes) > 1 else ()))
    if shape != expected:
        raise Refused(Reason.VERIFY_FAILED, f"shape {shape} on the disk, expected {expected}")
    for form, allowed in ((stored.get_sform(), CORNER_TOLERANCE_MM), (stored.get_qform(), RIGID_TOLERANCE_MM)):
        worst, frame = worst_corner(np.asarray(form), volumes)
        if not worst <= allowed:
            raise Refused(Reason.VERIFY_FAILED, f"a corner of slice {frame.number} is off by {worst:.3f} mm")


def read_header(stored: bytes) -> tuple[tuple[int, ...], Array, nib.Nifti1Header]:
    """Shape, affine and header out of a file's bytes, compressed or not."""
    head = stored[:352]
    if stored[:2] == b"\x1f\x8b":
        head = zlib.decompressobj(GZIP).decompress(stored[:4096], 352)
    parsed = nib.Nifti1Header(head[:348])
    return tuple(int(size) for size in parsed.get_data_shape()), np.asarray(parsed.get_best_affine()), parsed


def verify_values(path: Path, expected: Iterable[Array], slices: int) -> None:
    """Hold the stored slices against the values that their DICOM files give, each of shape ``(rows, columns)``.

    The file is read once, from its beginning to its end, ``slices`` a volume.

    Raises
    ------
    Refused
        ``VERIFY_FAILED`` if a value is off by more than a thousandth of the slice's range.
    """
    for number, (found, wanted) in enumerate(zip(_slices(path), expected, strict=True)):
        allowed = 1e-3 * max(float(np.ptp(wanted)), 1e-6)
        error = float(np.abs(found - wanted).max())
        if not error <= allowed:
            t, k = divmod(number, slices)
            raise Refused(Reason.VERIFY_FAILED, f"values of slice {k} of volume {t} are off by {error:g}")


def _slices(path: Path) -> Iterator[Array]:
    """A file's slices in their order, scaled, each of shape ``(rows, columns)``."""
    with igzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        shape, _, header = read_header(file.read(352))
        slope, inter = header.get_slope_inter()
        dtype = header.get_data_dtype()
        for _ in range(int(np.prod(shape[2:]))):
            stored = np.frombuffer(file.read(shape[0] * shape[1] * dtype.itemsize), dtype).reshape(shape[1], shape[0])
            yield stored * (1.0 if slope is None else slope) + (0.0 if inter is None else inter)
