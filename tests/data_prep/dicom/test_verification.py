"""A volume that was written wrong is found: bytes, shape, both affines, values; each tolerance from both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.dicom import nifti, verification
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.sources import Source
from data_prep.dicom.stacks.splitting import split
from data_prep.dicom.stacks.stack import Stack
from tests.data_prep import dicom_factory as factory


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Five sagittal slices whose values rise from 0 to 1000 in each, doubled by the rescale."""
    images = factory.series(5, RescaleSlope=2)
    for image in images:
        factory.set_pixels(image, np.linspace(0, 1000, 120).reshape(12, 10))
    frames = [read_header(Source(path.name, str(path))).frames[0] for path in factory.write(tmp_path / "in", images)]
    (made,) = split(frames)
    return made


def written(path: Path, stack: Stack, sform: np.ndarray, qform: np.ndarray, values: object = None) -> int:
    """Write a stack with these affines and, unless its own, these values; the CRC-32."""
    header = nib.Nifti1Header(nifti.header(stack.shape, np.dtype("f4"), stack.affine, 1.0, 0.0)[:348])
    header.set_sform(sform, code="scanner")
    header.set_qform(qform, code="scanner")
    if values is None:
        values = [verification.reference_values(frame) for frame in stack.frames]
    voxels = np.stack(values).astype(np.float32)
    return nifti.write(path, nifti.encode(bytes(header.binaryblock) + bytes(4), voxels, path.suffix == ".gz"))


def shifted(affine: np.ndarray, x: float) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += x
    return moved


def refusal(path: Path, crc: int, stack: Stack) -> str:
    with pytest.raises(Refused) as raised:
        verification.verify(path, crc, stack)
    assert raised.value.reason is Reason.VERIFY_FAILED
    return raised.value.detail


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_right_volume_passes(tmp_path: Path, stack: Stack, name: str) -> None:
    crc = written(tmp_path / name, stack, stack.affine, stack.affine)
    verification.verify(tmp_path / name, crc, stack)
    verification.verify_values(tmp_path / name, stack)


def test_changed_byte_is_found(tmp_path: Path, stack: Stack) -> None:
    crc = written(tmp_path / "a.nii", stack, stack.affine, stack.affine)
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.nii").write_bytes(data)
    assert refusal(tmp_path / "a.nii", crc, stack) == "the bytes on the disk are not those that were written"


def test_other_shape_is_found(tmp_path: Path, stack: Stack) -> None:
    crc = written(tmp_path / "a.nii", stack, stack.affine, stack.affine)
    shorter = replace(stack, volumes=(stack.volumes[0][:-1],))
    assert refusal(tmp_path / "a.nii", crc, shorter) == "shape (10, 12, 5) on the disk, expected (10, 12, 4)"


@pytest.mark.parametrize(("sform", "qform", "passes"), [(0.049, 0, 1), (0.051, 0, 0), (0, 0.149, 1), (0, 0.151, 0)])
def test_corners_are_checked_by_both_affines(tmp_path: Path, stack: Stack, sform, qform, passes) -> None:
    crc = written(tmp_path / "a.nii", stack, shifted(stack.affine, sform), shifted(stack.affine, qform))
    if passes:
        verification.verify(tmp_path / "a.nii", crc, stack)
    else:
        assert refusal(tmp_path / "a.nii", crc, stack) == f"a corner of slice 1 is off by {sform + qform:.3f} mm"


def test_affine_that_is_no_number_is_found(tmp_path: Path, stack: Stack) -> None:
    crc = written(tmp_path / "a.nii", stack, np.full((4, 4), np.nan), stack.affine)
    assert "nan mm" in refusal(tmp_path / "a.nii", crc, stack)


@pytest.mark.parametrize(("error", "passes"), [(1.99, True), (-1.99, True), (2.01, False), (-2.01, False)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_values_may_be_off_by_a_thousandth_of_their_range(tmp_path, stack: Stack, name, error, passes) -> None:
    values = [verification.reference_values(frame) for frame in stack.frames]
    assert np.ptp(values[3]) == 2000
    values[3][7, 2] += error
    written(tmp_path / name, stack, stack.affine, stack.affine, values)
    if passes:
        verification.verify_values(tmp_path / name, stack)
        return
    with pytest.raises(Refused) as raised:
        verification.verify_values(tmp_path / name, stack)
    assert raised.value.reason is Reason.VERIFY_FAILED
    assert raised.value.detail.startswith("values of slice 3 of volume 0 are off by 2.01")


def test_values_of_a_later_volume_are_named_by_their_place(tmp_path: Path, stack: Stack) -> None:
    both = replace(stack, volumes=(stack.volumes[0], stack.volumes[0]))
    values = [verification.reference_values(frame) for frame in both.frames]
    values[6][0, 0] += 50
    crc = written(tmp_path / "a.nii", both, stack.affine, stack.affine, values)
    verification.verify(tmp_path / "a.nii", crc, both)
    with pytest.raises(Refused) as raised:
        verification.verify_values(tmp_path / "a.nii", both)
    assert raised.value.detail == "values of slice 1 of volume 1 are off by 50"


def test_values_of_a_constant_slice_must_be_equal(tmp_path: Path, stack: Stack, monkeypatch) -> None:
    constant = [np.full((12, 10), 7.0)] * 5
    monkeypatch.setattr(verification, "reference_values", lambda *_: constant[0])
    written(tmp_path / "a.nii", stack, stack.affine, stack.affine, constant)
    verification.verify_values(tmp_path / "a.nii", stack)
    written(tmp_path / "a.nii", stack, stack.affine, stack.affine, [array + 1e-4 for array in constant])
    with pytest.raises(Refused):
        verification.verify_values(tmp_path / "a.nii", stack)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("with_decoder", [True, False])
def test_reference_values_are_the_rescaled_ones_whichever_decoder_serves(
    tmp_path: Path, syntax, photometric, with_decoder, monkeypatch
) -> None:
    if not with_decoder:
        monkeypatch.setattr(verification, "_has_decoder", lambda _: False)
    image = factory.series(1, RescaleSlope=2, RescaleIntercept=-3, PhotometricInterpretation=photometric)[0]
    expected = np.frombuffer(image.PixelData, "<u2").reshape(12, 10) * 2.0 - 3
    factory.write_one(tmp_path / "one.dcm", factory.compressed(image, syntax), syntax)
    (frame,) = read_header(Source("one.dcm", str(tmp_path / "one.dcm"))).frames
    assert np.array_equal(verification.reference_values(frame), expected)
