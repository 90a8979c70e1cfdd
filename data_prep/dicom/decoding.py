"""Compressed frames → stored values, by SimpleITK in a process of its own.

Codecs are written in C, and damaged data can crash them. Then the frame is refused, and the next one gets a new
process. A frame is handed over in a DICOM file that holds its pixels and nothing else: with the original file,
SimpleITK would apply the rescale and invert MONOCHROME1.

This module is also the program of that process (``python -m data_prep.dicom.decoding``). It reads paths of DICOM files
from stdin, a line each. For each it writes the line ``<numpy type code> <bytes>`` and as many bytes to stdout, or the
line ``refused``.
"""

from __future__ import annotations

import select
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Pixels
from data_prep.dicom.refusals import Reason, Refused

SECONDS = 120.0
"""How long one frame may take to decode."""

MEMORY = 16 << 30
"""Bytes of address space of the process: the most that a codestream with a wrong size can allocate."""

Stored = npt.NDArray[np.generic]


def decode(pixels: Pixels, index: int) -> Stored:
    """Stored values of one compressed frame, flat, ``rows × columns`` of them.

    Raises
    ------
    Refused
        ``TRUNCATED``, ``UNREADABLE`` or ``UNSUPPORTED``.
    """
    streams = _codestreams(pixels)
    if index >= len(streams):
        raise Refused(Reason.TRUNCATED, f"{len(streams)} compressed frames of {pixels.frames}")
    bits = _bits(pixels, streams[index])
    with tempfile.TemporaryDirectory(prefix="monai-spine-") as folder:
        path = Path(folder) / "frame.dcm"
        _write_pixels_alone(path, replace(pixels, bits_stored=bits), streams[index])
        type_code, data = _decoder().decode(path)
    decoded = np.frombuffer(data, type_code)
    if decoded.size != pixels.rows * pixels.columns:
        raise Refused(Reason.UNREADABLE, "pixel data decode to another matrix than the header's")
    if bits > pixels.bits_stored and not _fit(decoded, pixels):
        raise Refused(Reason.UNSUPPORTED, f"values of {bits} bits, while the header says {pixels.bits_stored}")
    return decoded.astype(pixels.dtype, copy=False)


@lru_cache(maxsize=1)
def _codestreams(pixels: Pixels) -> list[bytes]:
    """The compressed bytes of each frame, its fragments joined."""
    from pydicom.encaps import generate_frames

    try:
        with Path(pixels.location).open("rb") as file:
            file.seek(pixels.offset)
            return list(generate_frames(file, number_of_frames=pixels.frames))
    except Exception as error:  # pydicom raises errors of many types on damaged fragments
        raise Refused(Reason.UNREADABLE, f"compressed fragments: {type(error).__name__}") from error


def _bits(pixels: Pixels, codestream: bytes) -> int:
    """How many bits a codestream's values have: as the codestream declares, or else as the header says.

    JPEG 2000 files whose width contradicts the header are sent by hospitals.

    Raises
    ------
    Refused
        ``UNSUPPORTED`` if codestream and header contradict each other in the sign and in the width. If the width is
        equal, the same bits are read with the header's sign.
    """
    declared = precision(codestream)
    if declared is None or not 1 <= declared.bits <= pixels.bits_allocated:
        return pixels.bits_stored
    bits, signed = declared
    if signed not in {None, pixels.signed} and bits != pixels.bits_stored:
        in_codestream, in_header = ("signed", "unsigned") if signed else ("unsigned", "signed")
        detail = f"the codestream has {bits} bits, {in_codestream}; the header {pixels.bits_stored}, {in_header}"
        raise Refused(Reason.UNSUPPORTED, detail)
    return bits


def _fit(decoded: Stored, pixels: Pixels) -> bool:
    """Whether decoded values are no larger than BitsStored allows."""
    low = -(1 << (pixels.bits_stored - 1)) if pixels.signed else 0
    return bool(decoded.min() >= low and decoded.max() < low + (1 << pixels.bits_stored))


_START_OF_IMAGE = b"\xff\xd8"
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15 of JPEG (ITU-T T.81, table B.1; DHT, JPG and DAC are none) and SOF55 of JPEG-LS (T.87)."""


class Precision(NamedTuple):
    """What a codestream declares of its values; ``signed`` is None where the format has no such field."""

    bits: int
    signed: bool | None


def precision(codestream: bytes) -> Precision | None:
    """The precision of a JPEG, JPEG-LS or JPEG 2000 codestream; None for others, such as RLE."""
    if codestream.startswith(_START_OF_IMAGE):
        return _jpeg_precision(codestream)
    return _jpeg_2000_precision(codestream)


def _jpeg_precision(codestream: bytes) -> Precision | None:
    """From the first frame header: a marker, the segment's length, the precision."""
    offset = len(_START_OF_IMAGE)
    while offset + 5 <= len(codestream) and codestream[offset] == 0xFF:
        marker, length = codestream[offset + 1], struct.unpack_from(">H", codestream, offset + 2)[0]
        if marker in _FRAME_HEADERS:
            return Precision(codestream[offset + 4], None)
        offset += 1 if marker == 0xFF else 2 + length  # fill bytes may stand before a marker
    return None


def _jpeg_2000_precision(codestream: bytes) -> Precision | None:
    """Of the first component, from the SIZ marker segment (ISO/IEC 15444-1, A.5.1), in a JP2 file or bare."""
    start = codestream.find(b"\xff\x4f\xff\x51")
    offset = start + 42  # markers, Lsiz, Rsiz, eight sizes and offsets of four bytes, Csiz
    if start < 0 or offset >= len(codestream):
        return None
    return Precision((codestream[offset] & 0x7F) + 1, bool(codestream[offset] & 0x80))


def _write_pixels_alone(path: Path, pixels: Pixels, codestream: bytes) -> None:
    """Write a DICOM file with a pixel module and nothing else."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, MRImageStorage, generate_uid

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.rows, pixels.columns
    dataset.BitsAllocated = pixels.bits_allocated
    dataset.BitsStored, dataset.HighBit = pixels.bits_stored, pixels.bits_stored - 1
    dataset.PixelRepresentation = int(pixels.signed)
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(pixels.syntax)
    dataset.save_as(path, enforce_file_format=True)


class Decoder:
    """A process that decodes one DICOM file after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "data_prep.dicom.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # codecs print warnings there
        )

    def alive(self) -> bool:
        """Whether it can take another file."""
        return self._process.poll() is None

    def decode(self, path: Path) -> tuple[str, bytes]:
        """Type code and bytes of a file's pixels.

        Raises
        ------
        Refused
            ``UNREADABLE`` when they do not decode, crash the process or take too long.
        """
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        try:
            requests.write(f"{path}\n".encode())
            requests.flush()
        except OSError as error:
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder") from error
        if not select.select([answers], [], [], SECONDS)[0]:
            self.stop()
            raise Refused(Reason.UNREADABLE, f"pixel data do not decode within {SECONDS:.0f} s")
        return self._read_answer(answers)

    def _read_answer(self, answers: IO[bytes]) -> tuple[str, bytes]:
        type_code, _, size = answers.readline().decode().strip().partition(" ")
        if not type_code:
            self.stop()
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder")
        if type_code == "refused":
            raise Refused(Reason.UNREADABLE, "pixel data do not decode")
        data = answers.read(int(size))
        if len(data) < int(size):
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder")
        return type_code, data

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


_running: list[Decoder] = []


def _decoder() -> Decoder:
    """This process's decoder; a new one if the last has crashed."""
    if not _running or not _running[-1].alive():
        _running[:] = [Decoder()]
    return _running[-1]


def serve() -> None:
    """Decode files until stdin ends: the main function of the process."""
    import resource  # not on Windows

    import SimpleITK as sitk  # noqa: N813 - its usual name

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sitk.ProcessObject.GlobalWarningDisplayOff()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for line in sys.stdin:
        sys.stdout.buffer.write(_answer(line.rstrip("\n")))
        sys.stdout.buffer.flush()


def _answer(path: str) -> bytes:
    import SimpleITK as sitk  # noqa: N813

    try:
        decoded = sitk.GetArrayFromImage(sitk.ReadImage(path, imageIO="GDCMImageIO"))
    except (RuntimeError, MemoryError):
        return b"refused\n"
    return f"{decoded.dtype.str} {decoded.nbytes}\n".encode() + decoded.tobytes()


if __name__ == "__main__":
    serve()
