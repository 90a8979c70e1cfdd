"""Compressed frames → stored values, through SimpleITK in a process of its own.

Codecs are C code that damaged data can crash: then a frame is refused, and the next one gets a new process. A frame is
handed over inside a bare file of our own, so that the reader applies no rescaling and inverts no MONOCHROME1.
"""

from __future__ import annotations

import select
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from data_prep.dicom.codestreams import precision
from data_prep.dicom.encapsulated import frame_codestreams
from data_prep.dicom.frames import Pixels
from data_prep.dicom.reasons import Reason, Refused

SECONDS = 120.0
"""How long one frame may take to decode."""

Stored = npt.NDArray[np.generic]


def decode(pixels: Pixels, index: int) -> Stored:
    """Stored values of one compressed frame, flat, ``rows × columns`` of them.

    Raises
    ------
    Refused
        ``TRUNCATED`` or ``UNREADABLE``.
    """
    streams = _codestreams(pixels.location, pixels)
    if index >= len(streams):
        raise Refused(Reason.TRUNCATED, f"{len(streams)} compressed frames of {pixels.frames}")
    bits = _bits(pixels, streams[index])
    with tempfile.TemporaryDirectory(prefix="monai-spine-") as folder:
        path = Path(folder) / "frame.dcm"
        _write_bare(path, replace(pixels, bits_stored=bits), streams[index])
        kind, data = _decoder().decode(path)
    decoded = np.frombuffer(data, kind)
    if decoded.size != pixels.rows * pixels.columns:
        raise Refused(Reason.UNREADABLE, "pixel data decode to another matrix than the header's")
    wanted = np.dtype(f"{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")
    if bits > pixels.bits_stored and not _fit(decoded, pixels):
        raise Refused(Reason.UNSUPPORTED, f"values of {bits} bits, of which the header knows {pixels.bits_stored}")
    return decoded.astype(wanted, copy=False)


def _bits(pixels: Pixels, codestream: bytes) -> int:
    """How many bits a codestream's values have: what itself says of them, else what the header says.

    Raises
    ------
    Refused
        ``UNSUPPORTED`` if codestream and header contradict each other in the sign, and in the width too. Of equal
        width, the same bits are read as the header says.
    """
    told = precision(codestream)
    if told is None or not 1 <= told.bits <= pixels.bits_allocated:
        return pixels.bits_stored
    bits, signed = told
    if signed not in {None, pixels.signed} and bits != pixels.bits_stored:
        kind, other = ("signed", "unsigned") if signed else ("unsigned", "signed")
        detail = f"the codestream has {bits} bits, {kind}; the header {pixels.bits_stored}, {other}"
        raise Refused(Reason.UNSUPPORTED, detail)
    return bits


def _fit(decoded: Stored, pixels: Pixels) -> bool:
    """Whether decoded values are no larger than BitsStored allows."""
    low = -(1 << (pixels.bits_stored - 1)) if pixels.signed else 0
    return bool(decoded.min() >= low and decoded.max() < low + (1 << pixels.bits_stored))


@lru_cache(maxsize=1)
def _codestreams(location: str, pixels: Pixels) -> list[bytes]:
    try:
        return frame_codestreams(location, pixels)
    except Exception as error:  # pydicom raises errors of many kinds on damaged fragments
        raise Refused(Reason.UNREADABLE, f"compressed fragments: {type(error).__name__}") from error


def _write_bare(path: Path, pixels: Pixels, codestream: bytes) -> None:
    """A DICOM file with a pixel module and nothing else."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, MRImageStorage, generate_uid

    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = MRImageStorage, generate_uid()
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    bare.Rows, bare.Columns = pixels.rows, pixels.columns
    bare.BitsAllocated = pixels.bits_allocated
    bare.BitsStored, bare.HighBit = pixels.bits_stored, pixels.bits_stored - 1
    bare.PixelRepresentation = int(pixels.signed)
    bare.PixelData = encapsulate([codestream])
    bare["PixelData"].VR = "OB"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = UID(pixels.syntax)
    bare.save_as(path, enforce_file_format=True)


class Decoder:
    """A process that decodes bare files one after the other (`data_prep.dicom.decoder_process`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "data_prep.dicom.decoder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # codecs chatter there
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
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        try:
            asked.write(f"{path}\n".encode())
            asked.flush()
        except OSError as error:
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder") from error
        if not select.select([answers], [], [], SECONDS)[0]:
            self.stop()
            raise Refused(Reason.UNREADABLE, f"pixel data do not decode within {SECONDS:.0f} s")
        return self._answer(answers)

    def _answer(self, answers: IO[bytes]) -> tuple[str, bytes]:
        kind, _, size = answers.readline().decode().strip().partition(" ")
        if not kind:
            self.stop()
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder")
        if kind == "refused":
            raise Refused(Reason.UNREADABLE, "pixel data do not decode")
        data = answers.read(int(size))
        if len(data) < int(size):
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder")
        return kind, data

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


_running: list[Decoder] = []


def _decoder() -> Decoder:
    """This process's decoder, a new one if the last has crashed."""
    if not _running or not _running[-1].alive():
        _running[:] = [Decoder()]
    return _running[-1]
