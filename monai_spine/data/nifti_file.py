"""A NIfTI file opened without trusting it: the header is checked before anything is read or unpacked by it.

Every reader of the project begins here. A packed file that is unpacked is unpacked to its end, so that its checksum is
compared: nibabel stops after the last voxel, and of 400 single-bit flips in ``.nii.gz`` files it accepted 329.
"""

from __future__ import annotations

import io
import logging
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from isal import igzip, igzip_lib
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from nibabel.spatialimages import HeaderDataError

from monai_spine.errors import InvalidVolumeError, MissingInputError, NotVolumetricError, TooLargeVolumeError

MOST_BYTES = 4 << 30
"""Bytes of voxels that a file may declare, or unpack to. The largest series of 124 real ones has 0.1 GiB."""
_MOST_OFFSET = 1 << 24
"""Bytes before the voxels: the header and its extensions."""
_SPARE = 1 << 24
"""Bytes after the voxels that a packed file may have, which nobody reads."""
PAIR_SUFFIXES = (".img", ".hdr", ".img.gz", ".hdr.gz")
"""Ends of the names of volumes in two files, which are not read."""
PAIR_ADVICE = (
    "a volume in two files (.hdr and .img); join them into one .nii.gz, for example with "
    "nibabel: nib.save(nib.Nifti1Image.from_image(nib.load('x.img')), 'x.nii.gz')"
)

# nibabel tells how it repairs headers, without the name of the file.
_repairs = logging.getLogger(f"{__name__}.repairs")
_repairs.addHandler(logging.NullHandler())
_repairs.propagate = False

_GZIP = b"\x1f\x8b"
_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # its type stub declares an instance instead of a class
# nibabel passes on whatever the file system, gzip or its own header parser raise; a cut file shows up as any of these.
UNREADABLE = (
    *(ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, ArithmeticError, MemoryError),
    *(zlib.error, _IsalError),
)
_FORMS: dict[int, tuple[type[Nifti1Image], type[Nifti1Header]]] = {
    348: (Nifti1Image, Nifti1Header),
    540: (Nifti2Image, Nifti2Header),
}


def open_nifti(path: str | Path, *, unpacked: bool = False) -> Nifti1Image:
    """Open a NIfTI-1 or NIfTI-2 file of any number of axes; extensions of the header are not read.

    Parameters
    ----------
    unpacked
        Whether the voxels of a packed file are unpacked into memory and its checksum is compared. Otherwise they stay
        on disk, and nothing has checked them. The voxels of a file that is not packed stay on disk in both cases.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidVolumeError
        If it is no NIfTI file, is damaged or cut short, or declares or unpacks to more than `MOST_BYTES`.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"expected a NIfTI volume, but there is no file {path}")
    if path.name.lower().endswith(PAIR_SUFFIXES):
        raise InvalidVolumeError(f"{path}: {PAIR_ADVICE}")
    try:
        return _opened(path, unpacked)
    except InvalidVolumeError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except UNREADABLE as error:
        raise unreadable(path, "expected a NIfTI volume, but the file is damaged or cut short", error) from error


@np.errstate(all="ignore")  # headers may hold any number; what comes of it is checked
def _opened(path: Path, unpacked: bool) -> Nifti1Image:
    packed = is_gzip(path)
    image_class, header = _header(path, packed)
    needed = _needed_bytes(header)
    if packed and (unpacked or path.suffix.lower() != ".gz"):
        # A packed file without ".gz" is unpacked in any case, since nibabel would not know that it is one.
        source: Any = io.BytesIO(unpack(path, needed + _SPARE))
        size = len(source.getbuffer())
    else:
        source, size = str(path), needed if packed else path.stat().st_size
    if size < needed:
        raise EOFError(f"it has {size:,} bytes, but its header says {needed:,}")
    # Not mapped: to touch a mapped page that a file has lost since it was opened kills the process.
    return image_class(ArrayProxy(source, header, mmap=False), header.get_best_affine(), header)


def unpack(path: Path, limit: int) -> bytes:
    """The content of a gzip file of one or more members, up to its end; every member's checksum is compared.

    Raises
    ------
    EOFError
        If the file is cut short.
    ValueError
        If there is more than ``limit`` bytes: files of a few kB can unpack to terabytes.
    isal.igzip_lib.IsalError
        If it is damaged.
    """
    packed, parts, size = path.read_bytes(), list[bytes](), 0
    while packed:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        # One more than is allowed, to tell a member that is too long from one that just fits.
        parts.append(member.decompress(packed, max_length=limit - size + 1))
        size += len(parts[-1])
        if size > limit:
            raise ValueError(f"it unpacks to more than the {limit:,} bytes that its header leaves room for")
        if not member.eof:
            raise EOFError("it is cut short")
        packed = member.unused_data.lstrip(b"\0")  # tapes and some tools fill up with zeros
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_gzip(path: Path) -> bool:
    """Whether a file begins as one of gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def unreadable(path: str | Path, what: str, error: BaseException) -> InvalidVolumeError:
    """An error in one line, with the library's reason."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InvalidVolumeError(f"{path}: {what} ({reason})")


def _header(path: Path, packed: bool) -> tuple[type[Nifti1Image], Nifti1Header]:
    """The image class and the header, without the header's extensions.

    Raises
    ------
    InvalidVolumeError
        If the file is none of NIfTI, without the path, or is the header of a pair.
    """
    with igzip.open(path, "rb") if packed else path.open("rb") as file:
        start = cast(bytes, file.read(540))
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(_FORMS)
    if not sizes:
        raise InvalidVolumeError("expected a NIfTI volume, but its first bytes are those of another format")
    size = sizes.pop()
    image_class, header_class = _FORMS[size]
    # nibabel reads extensions by the lengths that they state, and would read all of a file that states nonsense.
    header = header_class(start[:size], check=False)
    header.check_fix(logger=_repairs)
    magic = bytes(np.asarray(header["magic"]).tobytes())
    if magic.startswith((b"ni1", b"ni2")):
        raise InvalidVolumeError(PAIR_ADVICE)
    if not magic.startswith((b"n+1", b"n+2")):
        raise InvalidVolumeError("expected a NIfTI volume, but found the header of an Analyze file")
    return image_class, header


def _needed_bytes(header: Nifti1Header) -> int:
    """The bytes of the unpacked file up to its last voxel.

    Raises
    ------
    ValueError
        If the header states an offset that no file has.
    NotVolumetricError, TooLargeVolumeError
        If it states no voxels, or too many; without the path.
    """
    axes = int(header["dim"][0])
    shape = [int(size) for size in header["dim"][1 : axes + 1]]
    offset = float(header["vox_offset"])
    if not 1 <= axes <= 7 or min(shape) < 1:  # headers with axes of 0 and of negative numbers were seen
        raise NotVolumetricError(f"expected a 3-D volume, but found {axes} axes and the shape {tuple(shape)}")
    if not 0 <= offset <= _MOST_OFFSET:  # written so that NaN is refused too
        raise ValueError(f"its header states that the voxels begin at byte {offset:g}")
    count = 1
    for size in shape:
        count *= size  # in Python's integers, which do not overflow
    needed = count * header.get_data_dtype().itemsize
    if needed > MOST_BYTES:
        message = f"{' × '.join(map(str, shape))} voxels need {needed / 2**30:,.4g} GiB"
        raise TooLargeVolumeError(f"{message}, expected at most {MOST_BYTES >> 30}")
    return int(header.get_data_offset()) + needed
