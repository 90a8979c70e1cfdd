"""Every transfer syntax gives the values of the uncompressed original."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from data_prep.dicom import decoding
from data_prep.dicom.convert import convert
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle

PLAIN = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]
COMPRESSED = [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEG2000Lossless]


def values(out: Path) -> np.ndarray:
    """The voxels of the only volume in a folder."""
    (path,) = out.rglob("*.nii")
    return nib.load(path).get_fdata()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("original")
    factory.write(folder / "in", factory.series(4, rows=32, columns=24))
    convert(folder / "in", folder / "out", format="nii", quiet=True)
    return values(folder / "out")


@pytest.mark.parametrize("syntax", [*PLAIN, *COMPRESSED])
def test_syntax_makes_no_difference(tmp_path: Path, original: np.ndarray, syntax: str) -> None:
    images = factory.series(4, rows=32, columns=24)
    if syntax in COMPRESSED:
        images = [factory.compressed(image, syntax) for image in images]
    factory.write(tmp_path / "in", images, syntax)
    convert(tmp_path / "in", tmp_path / "out", format="nii", quiet=True, verify="full")
    assert oracle.verdicts(tmp_path / "out") == ["converted"]
    assert np.array_equal(values(tmp_path / "out"), original)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_compressed_values_are_rescaled_once_and_never_inverted(
    tmp_path: Path, original: np.ndarray, syntax: str, photometric: str
) -> None:
    images = factory.series(
        4, rows=32, columns=24, RescaleSlope=0.5, RescaleIntercept=-3, PhotometricInterpretation=photometric
    )
    factory.write(tmp_path / "in", [factory.compressed(image, syntax) for image in images], syntax)
    convert(tmp_path / "in", tmp_path / "out", format="nii", quiet=True)
    assert np.allclose(values(tmp_path / "out"), original * 0.5 - 3)


@pytest.mark.parametrize("syntax", PLAIN[:2])
def test_file_without_preamble_and_meta_information_is_read(tmp_path: Path, original: np.ndarray, syntax: str) -> None:
    for path in factory.write(tmp_path / "in", factory.series(4, rows=32, columns=24), syntax):
        data = path.read_bytes()
        length = int.from_bytes(data[140:144], "little")
        path.write_bytes(data[144 + length :])
    convert(tmp_path / "in", tmp_path / "out", format="nii", quiet=True)
    assert np.array_equal(values(tmp_path / "out"), original)


def test_compressed_and_plain_files_hold_the_same_volume(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    convert(tmp_path / "in", tmp_path / "gz", quiet=True)
    convert(tmp_path / "in", tmp_path / "plain", format="nii", quiet=True)
    (packed,) = (tmp_path / "gz").rglob("*.nii.gz")
    (plain,) = (tmp_path / "plain").rglob("*.nii")
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def renamed(path: Path, syntax: str) -> None:
    """Give a file's meta information another transfer syntax UID of equal padded length."""
    data = path.read_bytes()
    start = data.index(b"\x02\0\x10\0UI") + 8
    length = int.from_bytes(data[start - 2 : start], "little")
    path.write_bytes(data[:start] + syntax.encode().ljust(length, b"\0") + data[start + length :])


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused(tmp_path: Path) -> None:
    images = [factory.compressed(image, uid.JPEG2000Lossless) for image in factory.series(3, rows=32, columns=24)]
    for path in factory.write(tmp_path / "in", images, uid.JPEG2000Lossless):
        renamed(path, uid.ExplicitVRLittleEndian)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["UNREADABLE"]


def test_uncompressed_pixels_under_a_compressed_syntax_are_right(tmp_path: Path, original: np.ndarray) -> None:
    """Some archives decompress the pixels and leave the old transfer syntax."""
    for path in factory.write(tmp_path / "in", factory.series(4, rows=32, columns=24), uid.ExplicitVRLittleEndian):
        renamed(path, uid.RLELossless)
    convert(tmp_path / "in", tmp_path / "out", quiet=True, verify="full", format="nii")
    assert np.array_equal(values(tmp_path / "out"), original)


@pytest.mark.parametrize("header_signed", [False, True])
@pytest.mark.parametrize("header_bits", [12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg2000_that_contradicts_its_header_is_right_or_refused(
    tmp_path: Path, bits: int, signed: bool, header_bits: int, header_signed: bool
) -> None:
    """If the width is equal, the header's sign is used; if not, the signs must agree and the values must fit."""
    codec = pytest.importorskip("openjpeg.utils")
    images = factory.series(3, rows=64, columns=64)
    low = -(2 ** (bits - 1)) if signed else 0
    for seed, image in enumerate(images):
        values = np.random.default_rng(seed).integers(low, low + 2**bits, (64, 64)).astype("i2" if signed else "u2")
        image.BitsStored, image.HighBit, image.PixelRepresentation = header_bits, header_bits - 1, int(header_signed)
        stream = codec.encode_array(values, bits_stored=bits, photometric_interpretation=2)
        image.PixelData = encapsulate([bytes(stream)])
        image["PixelData"].VR = "OB"
    factory.write(tmp_path / "in", images, uid.JPEG2000Lossless)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    oracle.check(tmp_path / "in", tmp_path / "out")
    agree = bits == header_bits or (signed == header_signed and bits < header_bits)
    assert oracle.verdicts(tmp_path / "out") == ["converted" if agree else "UNSUPPORTED"]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_full_verification_of_compressed_frames_uses_another_decoder(
    tmp_path: Path, photometric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openjpeg")
    images = factory.series(4, rows=64, columns=64, PhotometricInterpretation=photometric)
    whole = factory.enhanced(images)
    streams = [next(generate_frames(factory.compressed(image, uid.JPEG2000Lossless).PixelData)) for image in images]
    whole.PixelData = encapsulate(streams)
    whole["PixelData"].VR = "OB"
    factory.write(tmp_path / "in", [whole], uid.JPEG2000Lossless)
    convert(tmp_path / "in", tmp_path / "right", quiet=True, verify="full")
    assert oracle.verdicts(tmp_path / "right") == ["converted"]
    real = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda pixels, index: real(pixels, index) ^ 64)
    convert(tmp_path / "in", tmp_path / "wrong", quiet=True, verify="full")
    assert oracle.verdicts(tmp_path / "wrong") == ["VERIFY_FAILED"]


def test_unknown_syntax_of_compressed_pixels_is_named(tmp_path: Path) -> None:
    images = [factory.compressed(image, uid.RLELossless) for image in factory.series(3)]
    for path in factory.write(tmp_path / "in", images, uid.RLELossless):
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.99999.1.2.5\0"))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert row["reason"] == "UNSUPPORTED"
    assert row["detail"] == "compressed pixel data in an unknown transfer syntax: 1.2.840.99999.1.2.5"
