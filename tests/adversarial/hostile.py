"""Hostile inputs, by name: NIfTI files with impossible headers, damaged files, odd sidecars, odd folder names."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

Edit = Callable[[bytearray], None]


def f4(place: int, *values: float) -> Edit:
    """Write 32-bit floats into a header."""
    return lambda raw: raw.__setitem__(slice(place, place + 4 * len(values)), struct.pack(f"<{len(values)}f", *values))


def i2(place: int, *values: int) -> Edit:
    """Write 16-bit integers into a header."""
    return lambda raw: raw.__setitem__(slice(place, place + 2 * len(values)), struct.pack(f"<{len(values)}h", *values))


def both(*edits: Edit) -> Edit:
    """Several changes."""

    def edit(raw: bytearray) -> None:
        for one in edits:
            one(raw)

    return edit


NAN, INF = float("nan"), float("inf")
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, QFORM, QUATERN, QOFFSET, SROW = 40, 70, 76, 108, 112, 252, 256, 268, 280

HEADERS: dict[str, Edit] = {
    "translation_nan": both(f4(QOFFSET, NAN), f4(SROW + 12, NAN)),
    "translation_inf": both(f4(QOFFSET, INF), f4(SROW + 12, INF)),
    "translation_huge": both(f4(QOFFSET, 1e30), f4(SROW + 12, 1e30)),
    "translation_minus_huge": both(f4(QOFFSET + 8, -3e38), f4(SROW + 44, -3e38)),
    "quaternion_nan": f4(QUATERN, NAN, NAN, NAN),
    "quaternion_long": both(f4(QUATERN, 3, 3, 3), i2(QFORM, 1, 0)),
    "spacing_zero": both(f4(PIXDIM + 4, 0, 0, 0), i2(QFORM, 1, 0)),
    "spacing_tiny": both(f4(PIXDIM + 4, 1e-12, 1e-12, 1e-12), i2(QFORM, 1, 0)),
    "spacing_flat": both(f4(PIXDIM + 4, 99, 99, 1e-8), i2(QFORM, 1, 0)),
    "spacing_small": both(f4(PIXDIM + 4, 0.011, 0.011, 0.011), i2(QFORM, 1, 0)),
    "spacing_huge": both(f4(PIXDIM + 4, 1e30, 1e30, 1e30), i2(QFORM, 1, 0)),
    "spacing_large": both(f4(PIXDIM + 4, 99, 99, 99), i2(QFORM, 1, 0)),
    "spacing_negative": both(f4(PIXDIM + 4, -2, -2, -4), i2(QFORM, 1, 0)),
    "spacing_nan": both(f4(PIXDIM + 4, NAN, NAN, NAN), i2(QFORM, 1, 0)),
    "sform_nan": both(f4(SROW, *[NAN] * 12), i2(QFORM, 0, 1)),
    "sform_zero": both(f4(SROW, *[0.0] * 12), i2(QFORM, 0, 1)),
    "sform_singular": both(f4(SROW, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0), i2(QFORM, 0, 1)),
    "sform_huge": both(f4(SROW, *[3e38] * 12), i2(QFORM, 0, 1)),
    "no_codes": i2(QFORM, 0, 0),
    "codes_odd": i2(QFORM, 17, -5),
    "dim_zero": i2(DIM, 3, 0, 0, 0),
    "dim_zero_slices": i2(DIM, 3, 15, 110, 0),
    "dim_negative": i2(DIM, 3, -15, 110, 125),
    "dim_overflow": i2(DIM, 7, *[32767] * 7),
    "dim_huge": i2(DIM, 3, 32767, 32767, 32767),
    "dim_none": i2(DIM, 0),
    "dim_eight": i2(DIM, 8),
    "dim_many": i2(DIM, 29999),
    "dim_one_axis": i2(DIM, 1, 900),
    "dim_two_axes": i2(DIM, 2, 110, 125),
    "dim_one_voxel": i2(DIM, 3, 1, 1, 1),
    "dim_one_slice": i2(DIM, 3, 1, 110, 125),
    "dim_one_column": i2(DIM, 3, 15, 1, 125),
    "dim_three_voxels": i2(DIM, 3, 3, 1, 1),
    "dim_seven_axes": i2(DIM, 7, 5, 5, 5, 2, 2, 2, 2),
    "offset_1e30": f4(OFFSET, 1e30),
    "offset_nan": f4(OFFSET, NAN),
    "offset_inf": f4(OFFSET, INF),
    "offset_negative": f4(OFFSET, -352),
    "offset_zero": f4(OFFSET, 0),
    "offset_odd": f4(OFFSET, 353.7),
    "offset_behind_the_end": f4(OFFSET, 9e6),
    "type_unknown": i2(DATATYPE, 12345, 16),
    "type_none": i2(DATATYPE, 0, 0),
    "type_complex": i2(DATATYPE, 32, 64),
    "type_rgb": i2(DATATYPE, 128, 24),
    "type_binary": i2(DATATYPE, 1, 1),
    "type_float128": i2(DATATYPE, 1536, 128),
    "slope_nan": f4(SLOPE, NAN, NAN),
    "slope_inf": f4(SLOPE, INF, 0),
    "slope_huge": f4(SLOPE, 3e38, 3e38),
    "slope_tiny": f4(SLOPE, 1e-45, 0),
    "intercept_nan": f4(SLOPE, 1, NAN),
    "magic_none": lambda raw: raw.__setitem__(slice(344, 348), b"\0\0\0\0"),
    "magic_pair": lambda raw: raw.__setitem__(slice(344, 348), b"ni1\0"),
    "header_size_odd": lambda raw: raw.__setitem__(slice(0, 4), struct.pack("<i", 349)),
    "header_of_ones": lambda raw: raw.__setitem__(slice(4, 344), b"\xff" * 340),
    "header_of_zeros": lambda raw: raw.__setitem__(slice(4, 344), bytes(340)),
    "extension_endless": lambda raw: raw.__setitem__(slice(348, 364), struct.pack("<4b3i", 1, 0, 0, 0, -16, 0, 0)),
    "extension_of_2_gib": both(
        f4(OFFSET, 4000), lambda raw: raw.__setitem__(slice(348, 360), struct.pack("<4b2i", 1, 0, 0, 0, 2**31 - 16, 6))
    ),
}


def _nifti2_overflow(raw: bytes) -> bytes:
    image = nib.Nifti2Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    content[16 : 16 + 8 * 4] = struct.pack("<4q", 3, 2**40, 2**40, 2**40)
    return bytes(content)


def _nifti2_negative(raw: bytes) -> bytes:
    content = bytearray(nib.Nifti2Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    content[168:176] = struct.pack("<q", -(2**62))
    return bytes(content)


def _bomb(raw: bytes) -> bytes:
    """Zeros behind a small volume, a thousand times as many as the file has bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        file.write(raw)
        for _ in range(64):
            file.write(bytes(1 << 20))
    return packed.getvalue()


def _zip(raw: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.nii", raw)
    return packed.getvalue()


def _values(value: float, dtype: str) -> Callable[[bytes], bytes]:
    def make(raw: bytes) -> bytes:
        image = nib.Nifti1Image.from_bytes(raw)
        voxels = np.full(image.shape, value).astype(dtype)
        return nib.Nifti1Image(voxels, image.affine, dtype=dtype).to_bytes()

    return make


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "one_byte": lambda raw: b"\x5c",
    "text": lambda raw: b"this is no volume\n" * 99,
    "random": lambda raw: np.random.default_rng(0).bytes(5000),
    "header_alone": lambda raw: raw[:348],
    "cut": lambda raw: raw[: len(raw) // 2],
    "cut_by_a_byte": lambda raw: raw[:-1],
    "all_nan": _values(NAN, "float32"),
    "all_inf": _values(INF, "float64"),
    "all_equal": _values(7, "int16"),
    "all_zero": _values(0, "uint8"),
    "all_huge": _values(1e300, "float64"),
    "nifti2_overflow": _nifti2_overflow,
    "nifti2_negative_offset": _nifti2_negative,
    "gz_cut": lambda raw: gzip.compress(raw)[:-4000],
    "gz_without_end": lambda raw: gzip.compress(raw)[:-8],
    "gz_wrong_checksum": lambda raw: gzip.compress(raw)[:-8] + bytes(4) + gzip.compress(raw)[-4:],
    "gz_wrong_length": lambda raw: gzip.compress(raw)[:-4] + b"\xff\xff\xff\x7f",
    "gz_of_nothing": lambda raw: gzip.compress(b""),
    "gz_header_alone": lambda raw: gzip.compress(raw)[:10],
    "gz_of_gz": lambda raw: gzip.compress(gzip.compress(raw)),
    "gz_then_rubbish": lambda raw: gzip.compress(raw) + b"rubbish" * 9,
    "gz_bomb": _bomb,
    "zip": _zip,
}
JSONS: dict[str, bytes] = {
    "json_deep": b"[" * 200_000,
    "json_deep_closed": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "json_huge_number": b'{"EchoTime": ' + b"9" * 10_000 + b"}",
    "json_nan": b'{"EchoTime": NaN, "RepetitionTime": Infinity, "FlipAngle": -Infinity}',
    "json_list": b"[1, 2, 3]",
    "json_null": b"null",
    "json_not_utf8": b'{"SeriesDescription": "\xff\xfe"}',
    "json_empty": b"",
    "json_odd_types": json.dumps(
        {
            "SeriesDescription": ["a"],
            "EchoTime": {},
            "Plane": ["sagittal"],
            "FlipAngle": {"a": 1},
            "ScanningSequence": {"SE": 1},
            "SequenceName": [[[]]],
            "RepetitionTime": True,
            "Schema": ["x"],
        }
    ).encode(),
    "json_long": b'{"SeriesDescription": "' + b"t2 sag " * 100_000 + b'"}',
}
FOLDERS: dict[str, bytes] = {
    "not_utf8": b"st\xe9\xff\xfe",
    "reserved": b"volumes",
    "reserved_table": b"predictions.csv",
    "long": b"x" * 200,
    "formula": b"=1+1",
    "new_line": b"a\nb",
    "blank": b" ",
    "emoji": "\N{BONE} 🦴".encode(),
    "device": b"nul",
    "dots": b"...",
    "option": b"--force",
    "quote": b"'\"`$(id)",
}
"""Names of folders of good studies."""


def write_nifti(folder: Path, name: str, raw: bytes, file: str = "sagittal_t2") -> Path:
    """A study's only volume that is hostile in the way of this name; ``raw`` is a good one, unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in HEADERS:
        content = bytearray(raw)
        HEADERS[name](content)
        path = folder / f"{file}.nii"
        path.write_bytes(content)
    elif name in CONTENTS:
        path = folder / (f"{file}.nii.gz" if name.startswith("gz") else f"{file}.nii")
        path.write_bytes(CONTENTS[name](raw))
    else:
        # Without a series type in its name, so that the sidecar is needed.
        path = folder / "image.nii.gz"
        path.write_bytes(gzip.compress(raw, 1))
        (folder / "image.json").write_bytes(JSONS[name])
    return path


NIFTI = [*HEADERS, *CONTENTS, *JSONS]


def good_folder(parent: Path, name: str) -> Path:
    """The folder of a good study with a hostile name."""
    return Path(os.fsdecode(os.fsencode(parent) + b"/" + FOLDERS[name]))


def _picture(form: str, size: tuple[int, int] = (40, 40)) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def _png_of(width: int, height: int) -> bytes:
    content = bytearray(_picture("PNG"))
    content[16:24] = struct.pack(">2I", width, height)
    return bytes(content)


PICTURES: dict[str, Callable[[], bytes]] = {
    "empty.png": lambda: b"",
    "text.jpg": lambda: b"no picture",
    "cut.png": lambda: _picture("PNG")[:300],
    "cut.jpg": lambda: _picture("JPEG")[:300],
    "cut.tif": lambda: _picture("TIFF")[:900],
    "flipped.png": lambda: _picture("PNG")[:60] + b"\0\1\2" + _picture("PNG")[63:],
    "huge.png": lambda: _png_of(2**31 - 1, 2**31 - 1),
    "zero.png": lambda: _png_of(0, 0),
    "large.png": lambda: _png_of(60_000, 60_000),
    "nifti.nii": lambda: b"\x5c\x01\0\0" + bytes(400),
    "empty.nii.gz": lambda: gzip.compress(b""),
    "gif.png": lambda: _picture("GIF"),
    "rubbish.webp": lambda: b"RIFF" + bytes(4) + b"WEBP" + bytes(99),
    "rubbish.bmp": lambda: b"BM" + b"\xff" * 99,
    "rubbish.dcm": lambda: bytes(128) + b"DICM" + b"\xff" * 500,
}
