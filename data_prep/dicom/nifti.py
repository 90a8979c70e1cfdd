"""NIfTI files: the type that values are stored as, the header, the bytes; written whole or not at all."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from data_prep.dicom.frames import Frame
from data_prep.dicom.pixels import confirmed_frames
from data_prep.dicom.stacks.placement import qform, quaternion, rigid
from monai_spine.errors import OutputError
from monai_spine.files import write_bytes
from monai_spine.geometry import spacing

LEVEL = 1
"""ISA-L's deflate level: level 1 is ten times as fast as zlib's default, for files of about the same size."""

CHUNK = 1 << 20
"""Bytes that are deflated, or read back, at a time."""

GZIP_ANY_WINDOW = 31
"""zlib's wbits for reading a gzip file with a window of any size."""

GZIP_8K = 29
"""zlib's wbits for writing a gzip file with a window of 8 KiB, which fits into the fastest cache. Images rarely repeat
themselves over longer distances: files grow by 0.2 %."""

Array = npt.NDArray[np.float64]
Stored = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a volume's values are stored: value = stored × slope + inter."""

    dtype: np.dtype[np.generic]
    slope: float = 1.0
    inter: float = 0.0


def encoding(frames: Iterable[Frame]) -> Encoding:
    """The output type of a stack, from the headers of all its frames.

    If all slices share one rescale, it goes into the NIfTI header, beside the stored integers as they are; slices of
    different integer types share the smallest type that holds them all. If the rescale differs, values are computed in
    double precision and stored as 32-bit floats. (A type chosen from the first file, as SimpleITK does, wrapped −1.5 to
    65535 where the slope was fractional only in later files.)
    """
    rescales, dtypes, bits = set(), set(), 0
    for frame in frames:
        rescales.add((frame.slope, frame.intercept))
        dtypes.add(frame.pixels.dtype)
        bits = max(bits, frame.pixels.bits_stored)
    if len(rescales) > 1:
        return Encoding(np.dtype(np.float32))
    return Encoding(_signed(np.result_type(*dtypes), bits), *rescales.pop())


def _signed(dtype: np.dtype[np.generic], bits: int) -> np.dtype[np.generic]:
    """The signed type if the sign bit is not in use: the bytes are the same, and every program reads it."""
    if dtype.kind == "i" or dtype.itemsize == 1 or bits == 8 * dtype.itemsize:
        return dtype
    return np.dtype(f"i{dtype.itemsize}")


def encoded(frames: Sequence[Frame], chosen: Encoding, exceptions: set[str]) -> Iterator[Stored]:
    """Values of one frame after the other as the file stores them, ``(rows, columns)``; each valid until the next.

    ``exceptions`` and errors are those of `data_prep.dicom.pixels.confirmed_frames`.
    """
    for frame, stored in zip(frames, confirmed_frames(frames, exceptions), strict=True):
        if chosen.dtype.kind == "f":
            yield (stored.astype(np.float64) * frame.slope + frame.intercept).astype(np.float32)
        elif stored.dtype.itemsize == chosen.dtype.itemsize:
            yield stored.view(chosen.dtype)
        else:
            yield stored.astype(chosen.dtype)


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
    nearest = rigid(affine, shape)
    made.set_qform(nearest, code="scanner")
    turn = nearest[:3, :3] / spacing(nearest) * (1.0, 1.0, float(made["pixdim"][0]))
    made["quatern_b"], made["quatern_c"], made["quatern_d"] = quaternion(turn)
    made["qoffset_x"], made["qoffset_y"], made["qoffset_z"] = qform(affine, shape)[:3, 3]
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

    A compressed file holds no name and no time, so that equal pieces give equal bytes.
    """
    if not compress:
        yield from pieces
        return
    engine = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP_8K)
    for piece in pieces:
        yield engine.compress(piece)
    yield engine.flush()


def write(path: Path, pieces: Iterable[bytes | memoryview]) -> int:
    """Write a file whole or not at all; return the CRC-32 of its bytes.

    Raises
    ------
    OutputError
        If the disk is full, or the folder cannot be written to.
    """
    checksum = 0

    def counted() -> Iterator[bytes | memoryview]:
        nonlocal checksum
        for piece in pieces:
            checksum = isal_zlib.crc32(piece, checksum)
            yield piece

    with output_errors(path):
        write_bytes(path, counted())
    return checksum


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that says which file could not be written, and what to do.

    Raises
    ------
    OutputError
        Instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error


def sidecar_path(path: Path) -> Path:
    """Where a volume's JSON file lies."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def file_checksum(path: Path) -> tuple[int, bytes]:
    """CRC-32 of a file's bytes, read a piece at a time, and its first 4096 bytes."""
    buffer = bytearray(CHUNK)
    window = memoryview(buffer)
    checksum, beginning = 0, b""
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            beginning = beginning or bytes(window[: min(count, 4096)])
            checksum = isal_zlib.crc32(window[:count], checksum)
    return checksum, beginning


def read_header(beginning: bytes) -> tuple[tuple[int, ...], Array, nib.Nifti1Header]:
    """Shape, affine and header from the beginning of a file, compressed or not."""
    head = beginning[:352]
    if beginning[:2] == b"\x1f\x8b":
        head = zlib.decompressobj(GZIP_ANY_WINDOW).decompress(beginning[:4096], 352)
    parsed = nib.Nifti1Header(head[:348])
    return tuple(int(size) for size in parsed.get_data_shape()), np.asarray(parsed.get_best_affine()), parsed


def slices(path: Path) -> Iterator[Array]:
    """A file's slices in the order in which they are stored, rescaled, each of shape ``(rows, columns)``."""
    with igzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        shape, _, parsed = read_header(file.read(352))
        slope, inter = parsed.get_slope_inter()
        dtype = parsed.get_data_dtype()
        for _ in range(int(np.prod(shape[2:]))):
            stored = np.frombuffer(file.read(shape[0] * shape[1] * dtype.itemsize), dtype).reshape(shape[1], shape[0])
            yield stored * (1.0 if slope is None else slope) + (0.0 if inter is None else inter)
