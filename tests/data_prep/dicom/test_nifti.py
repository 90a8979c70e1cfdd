"""The bytes of a NIfTI file: types, values, header and checksums, read back by nibabel, gzip and zlib."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.dicom import nifti
from data_prep.dicom.frames import Frame
from monai_spine.errors import OutputError
from tests.data_prep.dicom.frames_of import stack

AFFINE = np.array([[-0.5, 0, 0, 20], [0, -0.7, 0, 30], [0, 0, 4, -5], [0, 0, 0, 1.0]])


def stored_as(*formats: tuple[int, int, bool], slope: float = 1.0, intercept: float = 0.0) -> list[Frame]:
    """One frame for each (bits allocated, bits stored, signed)."""
    return [
        replace(one, slope=slope, intercept=intercept)
        for allocated, stored, signed in formats
        for one in stack(1, bits_allocated=allocated, bits_stored=stored, signed=signed)
    ]


@pytest.mark.parametrize(
    ("formats", "dtype"),
    [
        ([(16, 12, False)], "i2"),  # the sign bit is not in use
        ([(16, 16, False)], "u2"),
        ([(16, 12, True)], "i2"),
        ([(8, 8, False)], "u1"),
        ([(8, 7, False)], "u1"),  # NIfTI's usual 8-bit type is unsigned
        ([(8, 8, True)], "i1"),
        ([(32, 31, False)], "i4"),
        ([(32, 32, False)], "u4"),
        ([(16, 12, False), (16, 16, False)], "u2"),
        ([(16, 16, False), (16, 12, False)], "u2"),
        ([(16, 12, False), (16, 12, True)], "i4"),  # the smallest type that holds both
        ([(8, 8, False), (16, 12, False)], "i2"),
        ([(8, 8, False), (8, 8, True)], "i2"),
    ],
)
def test_output_type_holds_the_values_of_every_slice(formats: list[tuple[int, int, bool]], dtype: str) -> None:
    assert nifti.encoding(stored_as(*formats)) == nifti.Encoding(np.dtype(dtype), 1.0, 0.0)


def test_one_rescale_goes_into_the_header_and_differing_ones_are_computed() -> None:
    formats = [(16, 12, False)] * 2
    frames = stored_as(*formats, slope=0.25, intercept=-3.0)
    assert nifti.encoding(frames) == nifti.Encoding(np.dtype("i2"), 0.25, -3.0)
    for change in ({"slope": 0.5}, {"intercept": -3.5}):
        assert nifti.encoding([frames[0], replace(frames[1], **change)]) == nifti.Encoding(np.dtype("f4"), 1.0, 0.0)


def test_encoded_values_are_the_stored_ones_in_the_output_type(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[0, 1], [1000, 4095]], np.uint16)
    monkeypatch.setattr(nifti, "confirmed_frames", lambda frames, _: (values for _ in frames))
    frames = stored_as((16, 12, False), slope=0.1, intercept=-7.0)
    for dtype in ("i2", "u2", "i4"):
        (found,) = nifti.encoded(frames, nifti.Encoding(np.dtype(dtype)), set())
        assert found.dtype == dtype
        assert found.tolist() == values.tolist()
    (found,) = nifti.encoded(frames, nifti.Encoding(np.dtype("f4")), set())
    assert found.dtype == np.float32
    assert found.tolist() == (values.astype(np.float64) * 0.1 - 7).astype(np.float32).tolist()


@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.25, 0.0), (1.0, -1024.0)])
@pytest.mark.parametrize("shape", [(10, 12, 5), (10, 12, 5, 2)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_file_is_what_nibabel_reads(tmp_path: Path, shape, slope, inter, suffix) -> None:
    voxels = np.random.default_rng(0).integers(-500, 500, shape).astype(np.int16)
    head = nifti.header(shape, voxels.dtype, AFFINE, slope, inter)
    assert len(head) == 352
    path = tmp_path / "new" / f"a{suffix}"
    crc = nifti.write(path, nifti.encode(head, voxels.ravel("F"), suffix == ".nii.gz"))
    image = nib.load(path)
    assert np.array_equal(image.get_fdata(), voxels * slope + inter)
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        assert affine == pytest.approx(AFFINE, abs=1e-5)
        assert code == 1
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert nib.Nifti1Header(head[:348]).get_slope_inter() == (slope, inter)
    assert crc == zlib.crc32(path.read_bytes())
    assert nifti.file_checksum(path) == (crc, path.read_bytes()[:4096])
    read_shape, read_affine, _ = nifti.read_header(path.read_bytes()[:4096])
    assert (read_shape, read_affine) == (shape, pytest.approx(AFFINE, abs=1e-5))
    slices = list(nifti.slices(path))
    assert np.array_equal(np.stack(slices), image.get_fdata().reshape(10, 12, -1, order="F").T)


def test_compressed_pieces_are_a_gzip_file_without_name_and_time() -> None:
    pieces = [b"a" * 100_000, memoryview(b"b" * 50_000), b""]
    packed = b"".join(nifti.pack(pieces, True))
    assert gzip.decompress(packed) == b"a" * 100_000 + b"b" * 50_000
    assert packed[3] == 0  # no name, comment or extra field
    assert packed[4:8] == bytes(4)  # no time
    assert len(packed) < 2_000
    assert b"".join(nifti.pack(pieces, False)) == b"a" * 100_000 + b"b" * 50_000


def test_large_file_is_checksummed_in_pieces(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(2 * nifti.CHUNK + 5)
    voxels = np.frombuffer(data, np.uint8)
    crc = nifti.write(tmp_path / "a", nifti.encode(b"head", voxels, False))
    assert (tmp_path / "a").read_bytes() == b"head" + data
    assert nifti.file_checksum(tmp_path / "a") == (crc, (b"head" + data)[:4096])
    assert crc == zlib.crc32(b"head" + data)


def test_write_that_fails_leaves_the_old_file_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"old")

    def failing() -> object:
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write .*a\.nii: No space left on device; free some space"):
        nifti.write(path, failing())
    assert [one.name for one in tmp_path.iterdir()] == ["a.nii"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["t2.nii", "t2.nii.gz"])
def test_sidecar_lies_beside_the_volume(name: str) -> None:
    assert nifti.sidecar_path(Path("study") / name) == Path("study/t2.json")
