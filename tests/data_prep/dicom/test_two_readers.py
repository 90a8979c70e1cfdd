"""SimpleITK reads every stack, our own reader must agree, and what SimpleITK reads wrongly stays with ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from data_prep.dicom import pixels, simpleitk
from data_prep.dicom.convert import convert
from data_prep.dicom.frames import Frame
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.refusals import Refused
from data_prep.dicom.simpleitk import Image
from data_prep.dicom.sources import Source
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle
from tests.data_prep.dicom.conversion import run
from tests.data_prep.dicom.frames_of import stack

FULL = {"BitsStored": 16, "HighBit": 15}
"""The precision of the codestreams that `factory.compressed` makes."""


def readers(out: Path) -> list[str]:
    """Which reader the sidecar of each volume names."""
    return [json.loads(path.read_text())["PixelReader"] for path in sorted(out.rglob("*.json"))]


def header(path: Path) -> Frame:
    """The first frame of a file."""
    return read_header(Source(path.name, str(path))).frames[0]


SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEG2000Lossless,
]


@pytest.mark.parametrize("slope", ["1", "2", "-3", "0.25", "1.3712e-3"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_series_of_every_syntax_is_read_by_simpleitk_and_right(tmp_path: Path, syntax: str, slope: str) -> None:
    images = factory.series(9, rows=32, columns=24, RescaleSlope=slope, RescaleIntercept="-7", **FULL)
    if uid.UID(syntax).is_compressed and syntax != uid.DeflatedExplicitVRLittleEndian:
        images = [factory.compressed(image, syntax) for image in images]
    factory.write(tmp_path / "in", images, syntax)
    convert(tmp_path / "in", tmp_path / "out", quiet=True, format="nii", verify="full")
    assert oracle.verdicts(tmp_path / "out") == ["converted"]
    assert readers(tmp_path / "out") == ["SimpleITK"]
    expected = [np.frombuffer(image.PixelData, "<u2") for image in factory.series(9, rows=32, columns=24)]
    (path,) = (tmp_path / "out").rglob("*.nii")
    voxels = np.asarray(nib.load(path).dataobj.get_unscaled())
    assert np.array_equal(voxels.T.reshape(9, -1), expected)


@pytest.mark.parametrize(
    "format_",
    [(16, 12, 0), (16, 12, 1), (16, 16, 0), (16, 16, 1), (8, 8, 0), (8, 8, 1), (32, 32, 0), (32, 32, 1)],
)
@pytest.mark.parametrize("slope", ["1", "2", "0.5"])
def test_every_width_and_sign_is_read_by_simpleitk_and_right(tmp_path: Path, format_, slope: str) -> None:
    allocated, stored, signed = format_
    attributes = {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": stored - 1}
    images = factory.series(4, **attributes, PixelRepresentation=signed, RescaleSlope=slope, RescaleIntercept="0")
    low = -(1 << (stored - 1)) if signed else 0
    for seed, image in enumerate(images):
        factory.set_pixels(image, np.random.default_rng(seed).integers(low, low + (1 << stored), (12, 10)))
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["converted"]
    assert readers(out) == ["SimpleITK"]


def test_unused_bits_and_signs_are_read_alike(tmp_path: Path) -> None:
    """An overlay in the high bits of one series, a sign that is not repeated into them in another."""
    overlay, short_sign = factory.series(4, seed=1), factory.series(4, seed=2, PixelRepresentation=1)
    for image in overlay:
        image.PixelData = (np.frombuffer(image.PixelData, "<u2") | 0x8000).tobytes()
    for seed, image in enumerate(short_sign):
        values = np.random.default_rng(seed).integers(-2048, 2048, 120).astype("<i2")
        image.PixelData = (values.view("<u2") & 0xFFF).tobytes()
    factory.write(tmp_path / "in" / "a", overlay)
    factory.write(tmp_path / "in" / "b", short_sign)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["converted"] * 2
    assert readers(tmp_path / "out") == ["SimpleITK"] * 2


def test_rescales_that_differ_are_read_file_by_file(tmp_path: Path) -> None:
    """SimpleITK's series reader would take the first file's integer type for all, and wrap −1.5 to 65535."""
    images = factory.series(5)
    for image, slope, intercept in zip(images, (1, 0.5, 0.5, 0.25, 2), (0, -1.5, -1.5, -3, 0), strict=True):
        image.RescaleSlope, image.RescaleIntercept = slope, intercept
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["converted"]
    assert readers(out) == ["SimpleITK"]


def test_groups_share_a_format_fit_a_slot_and_keep_volumes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [len(group) for group in pixels._groups(stack(40))]
    assert sizes == [4, 16, 20]
    assert [len(group) for group in pixels._groups([*stack(3), *stack(3)])] == [3, 3]
    for change in ({"slope": 0.5}, {"intercept": 1.0}, {"bits_stored": 11}, {"signed": True}):
        mixed = [*stack(2), *stack(2, origin=(0, 0, 8), **change)]
        assert [len(group) for group in pixels._groups(mixed)] == [2, 2]
    monkeypatch.setattr(simpleitk, "SLOT_BYTES", 2 * 240)
    assert [len(group) for group in pixels._groups(stack(5))] == [2, 2, 1]
    assert [len(group) for group in pixels._groups(stack(2, slope=0.5))] == [1, 1]


def altered(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let SimpleITK read something else: each attribute of its images goes through a function."""
    real = simpleitk.read_ahead

    def read(*arguments: object) -> Iterator[Image | None]:
        for image in real(*arguments):
            yield replace(image, **{name: change(getattr(image, name)) for name, change in changes.items()})

    monkeypatch.setattr(simpleitk, "read_ahead", read)


GEOMETRY = [
    ("origin", (0.04, 0, 0), ""),
    ("origin", (0, 0.06, 0), "origin -8.0000 -89.9400 120.0000, the header says -8.0000 -90.0000 120.0000"),
    ("spacing", (0.004, 0, 0), ""),
    ("spacing", (0.006, 0, 0), "spacing 0.5060 0.7000, the header says 0.5000 0.7000"),
    ("spacing", (0, 0, 0.01), ""),
    ("spacing", (0, 0, 0.02), "extent along the slices 12.0600, the header says 12.0000"),
]


@pytest.mark.parametrize(("name", "offset", "message"), GEOMETRY)
def test_geometry_of_both_readers_must_agree(tmp_path: Path, name, offset, message, monkeypatch) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    altered(monkeypatch, **{name: lambda value: value + offset})
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    expected = ("VERIFY_FAILED", f"slices 1 to 4: SimpleITK reads {message}") if message else ("", "")
    assert (row["reason"], row["detail"]) == expected
    assert bool(list((tmp_path / "out").rglob("*.nii.gz"))) == (not message)


@pytest.mark.parametrize("turned", [lambda axes: -axes, lambda axes: axes[:, [1, 0, 2]], lambda axes: axes * np.nan])
def test_directions_of_both_readers_must_agree(tmp_path: Path, turned, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    altered(monkeypatch, direction=turned)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert row["reason"] == "VERIFY_FAILED"
    assert row["detail"].startswith("slices 1 to 4: SimpleITK reads direction")


def one_changed(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[2, 3, 4] += 1
    return changed


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_one_value_that_differs_between_the_readers_refuses_the_stack(tmp_path: Path, syntax, monkeypatch) -> None:
    factory.write(tmp_path / "in", factory.series(4), syntax)
    altered(monkeypatch, values=one_changed)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert row["reason"] == "VERIFY_FAILED"
    assert row["detail"] == "slice 3: 1 pixels differ between SimpleITK and the file, by up to 1"


@pytest.mark.parametrize("slope", ["2", "0.3"])
def test_values_that_no_stored_value_gives_refuse_a_compressed_stack(tmp_path: Path, slope, monkeypatch) -> None:
    """No second decoder reads compressed pixels, but the rescale is checked."""
    images = factory.series(4, rows=32, columns=24, RescaleSlope=slope, RescaleIntercept="0")
    factory.write(tmp_path / "in", [factory.compressed(image, uid.RLELossless) for image in images], uid.RLELossless)
    altered(monkeypatch, values=one_changed)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert row["reason"] == "VERIFY_FAILED"
    assert row["detail"].startswith("slice 3: SimpleITK's values are off by ")


def narrow(allocated: int, stored: int) -> list[Dataset]:
    attributes = {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": stored - 1}
    images = factory.series(4, **attributes)
    for seed, image in enumerate(images):
        factory.set_pixels(image, np.random.default_rng(seed).integers(0, 1 << stored, (12, 10)))
    return images


def of_class(sop_class: str) -> list[Dataset]:
    return factory.series(4, SOPClassUID=sop_class)


ANOTHER = "another SOP class than MR, CT, PET or secondary capture"
WRONG = {
    "MONOCHROME1": (lambda: factory.series(4, PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1", "120 pixels"),
    "7 of 8 bits": (lambda: narrow(8, 7), "7 of 8 bits", "unreadable"),
    "24 of 32 bits": (lambda: narrow(32, 24), "24 of 32 bits", "pixels differ"),
    "nuclear medicine": (lambda: of_class("1.2.840.10008.5.1.4.1.1.20"), ANOTHER, "origin 0.0000 0.0000 0.0000"),
    "radiograph": (lambda: of_class("1.2.840.10008.5.1.4.1.1.1"), ANOTHER, "spacing 1.0000 1.0000"),
    "angiogram": (lambda: of_class("1.2.840.10008.5.1.4.1.1.12.1"), ANOTHER, "spacing 1.0000 1.0000"),
    "enhanced in single files": (lambda: of_class(factory.ENHANCED_MR), ANOTHER, "origin 0.0000 0.0000 0.0000"),
    "private Philips": (lambda: of_class("1.3.46.670589.11.0.0.12.1"), ANOTHER, "unreadable"),
}


@pytest.mark.parametrize("name", WRONG)
def test_class_that_simpleitk_reads_wrongly_is_read_right_by_our_reader_alone(tmp_path: Path, name: str) -> None:
    make, reason, evidence = WRONG[name]
    images = make()
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["converted"]
    assert readers(out) == [f"monai_spine alone: {reason}"]
    assert evidence in fault_of_simpleitk(header(tmp_path / "in" / "000.dcm"))


def fault_of_simpleitk(frame: Frame) -> str:
    """What SimpleITK reads wrongly of a file; empty if it agrees with our reader."""
    image = simpleitk.read_file(frame.pixels.location, frame.pixels.rows * frame.pixels.columns * 8)
    if image is None:
        return "unreadable"
    try:
        list(pixels._agreed([frame], image))
    except Refused as refusal:
        return refusal.detail
    return ""


def test_frames_of_an_enhanced_object_are_read_by_our_reader_alone(tmp_path: Path) -> None:
    """SimpleITK applies one rescale to all frames, and stacks them in the order of the file."""
    images = factory.series(4)[::-1]
    for slope, image in enumerate(images, start=1):
        image.RescaleSlope, image.RescaleIntercept = slope, 0
    factory.write(tmp_path / "in", [factory.enhanced(images)])
    convert(tmp_path / "in", tmp_path / "out", quiet=True, verify="full")
    oracle.check(tmp_path / "in", tmp_path / "out")
    assert readers(tmp_path / "out") == ["monai_spine alone: a multi-frame object"]
    image = simpleitk.read_file(str(tmp_path / "in" / "000.dcm"), 1 << 20)
    assert image is not None
    stored = np.stack([np.frombuffer(one.PixelData, "<u2").reshape(12, 10) for one in images])
    slopes = np.arange(1, 5).reshape(4, 1, 1)
    assert np.array_equal(image.values[0], stored[0])
    assert not np.array_equal(image.values, stored * slopes)


@pytest.mark.parametrize("high", [4096, 65536])
def test_codestream_wider_than_the_header_is_read_alone_or_refused(tmp_path: Path, high: int) -> None:
    """Of JPEG values of 16 bits under a header of 12 bits, SimpleITK drops the upper four and says nothing."""
    images = factory.series(4, rows=32, columns=24)
    values = np.random.default_rng(0).integers(0, high, (32, 24))
    for image in images:
        factory.set_pixels(image, values)
    syntax = uid.JPEGLosslessSV1
    paths = factory.write(tmp_path / "in", [factory.compressed(image, syntax) for image in images], syntax)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["converted" if high == 4096 else "UNSUPPORTED"]
    assert readers(tmp_path / "out") == ["monai_spine alone: a codestream that contradicts the header"] * (high == 4096)
    image = simpleitk.read_file(str(paths[0]), 1 << 20)
    assert image is not None
    assert np.array_equal(image.values[0], values & 0xFFF)


def test_codestream_of_another_sign_and_width_is_refused(tmp_path: Path) -> None:
    """Of JPEG 2000 values of 12 bits with a sign, under a header of 16 without, SimpleITK takes −1 for 65535."""
    codec = pytest.importorskip("openjpeg.utils")
    images = factory.series(4, rows=64, columns=64, **FULL)
    values = np.random.default_rng(0).integers(-2048, 2048, (64, 64)).astype("i2")
    stream = bytes(codec.encode_array(values, bits_stored=12, photometric_interpretation=2))
    for image in images:
        image.PixelData = encapsulate([stream])
        image["PixelData"].VR = "OB"
    paths = factory.write(tmp_path / "in", images, uid.JPEG2000Lossless)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["UNSUPPORTED"]
    image = simpleitk.read_file(str(paths[0]), 1 << 20)
    assert image is not None
    assert np.array_equal(image.values[0], values.astype("u2"))


def test_file_that_simpleitk_cannot_open_for_bytes_behind_its_pixels_is_read_right(tmp_path: Path) -> None:
    paths = factory.write(tmp_path / "in", factory.series(4))
    paths[2].write_bytes(paths[2].read_bytes() + b"\x01\x02\x03\x04garbage!" * 3)
    assert simpleitk.read_file(str(paths[2]), 1 << 20) is None
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["converted"]
    assert readers(tmp_path / "out") == ["monai_spine alone: files that SimpleITK cannot open"]


def test_file_that_simpleitk_cannot_open_is_read_by_our_reader_alone(tmp_path: Path, monkeypatch) -> None:
    """One file of a group: the others are read by SimpleITK, file by file."""
    real_ask, real = simpleitk._Process.ask, simpleitk._Process.answer
    asked: list[Sequence[str]] = []

    def ask(self: simpleitk._Process, files: Sequence[str], slot: int) -> int:
        asked.append(files)
        return real_ask(self, files, slot)

    def answer(self: simpleitk._Process, number: int) -> Image | None:
        image = real(self, number)
        return None if any(path.endswith("002.dcm") for path in asked[number - first]) else image

    first = simpleitk._process(0)._asked + 1
    monkeypatch.setattr(simpleitk._Process, "ask", ask)
    monkeypatch.setattr(simpleitk._Process, "answer", answer)
    out, _ = run(tmp_path, factory.series(4))
    assert oracle.verdicts(out) == ["converted"]
    assert readers(out) == ["monai_spine alone: files that SimpleITK cannot open"]
    assert [len(files) for files in asked] == [4, 1, 1, 1, 1]


def test_slot_grows_with_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simpleitk, "SLOT_BYTES", 1000)
    simpleitk._running.clear()
    for side in (8, 40):
        factory.write(tmp_path / f"{side}", factory.series(4, rows=side, columns=side, RescaleSlope="0.5"))
        convert(tmp_path / f"{side}", tmp_path / f"out{side}", quiet=True)
        assert readers(tmp_path / f"out{side}") == ["SimpleITK"]
    simpleitk._running.clear()
