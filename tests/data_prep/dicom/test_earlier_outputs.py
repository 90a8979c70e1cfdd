"""Runs into a folder that holds the output of an earlier run: its volumes are kept, replaced or protected."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from data_prep.dicom.convert import convert
from data_prep.dicom.output_folder import SALT
from monai_spine.errors import SpineError
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle


def volumes(out: Path) -> list[str]:
    """The names of the volumes and sidecars in a folder."""
    return sorted(path.name for path in out.rglob("*") if path.suffix in {".gz", ".nii", ".json"})


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """The output of two series: of two volumes and of one."""
    factory.write(tmp_path / "in" / "a", factory.series(4) + factory.series(4, EchoTime=20, first_instance=5))
    factory.write(tmp_path / "in" / "b", factory.series(4, SeriesInstanceUID="1.2.3.0.7", SeriesNumber=7))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert len(volumes(tmp_path / "out")) == 6
    return tmp_path / "out"


@pytest.mark.parametrize("resume", [False, True])
def test_volume_that_is_refused_this_time_is_removed(used: Path, resume: bool) -> None:
    source = used.parent / "in"
    (source / "a" / "005.dcm").unlink()
    convert(source, used, quiet=True, resume=resume)
    assert oracle.check(source, used)["refused"] == 3
    assert volumes(used) == ["1.2.3.0.2.json", "1.2.3.0.2.nii.gz", "1.2.3.0.7.json", "1.2.3.0.7.nii.gz"]


def test_another_format_replaces_the_first(used: Path) -> None:
    convert(used.parent / "in", used, quiet=True, format="nii")
    names = {path.name.partition(".nii")[0].removesuffix(".json") for path in used.rglob("1.2.3.0.[27]*")}
    assert volumes(used) == sorted(f"{name}.{end}" for name in names for end in ("json", "nii"))
    assert oracle.check(used.parent / "in", used) == {"used": 12}


def test_volumes_of_another_input_are_protected(used: Path) -> None:
    before = {path: path.read_bytes() for path in used.rglob("*") if path.is_file()}
    factory.write(used.parent / "other", factory.series(4, seed=9))
    with pytest.raises(SpineError, match=r"holds the volumes of another input, such as 1\.2\.3\.0\.1/1\.2\.3\.0\.2\."):
        convert(used.parent / "other", used, quiet=True, keep_uids=False)
    assert {path: path.read_bytes() for path in used.rglob("*") if path.is_file()} == before
    assert not (used / SALT).exists()


def test_more_input_adds_to_what_is_there(used: Path) -> None:
    factory.write(used.parent / "in" / "c", factory.series(4, seed=9))
    convert(used.parent / "in", used, quiet=True, resume=True)
    assert oracle.check(used.parent / "in", used) == {"used": 16}


@pytest.mark.parametrize("name", ["../outside.nii.gz", "a/../../outside.nii.gz", "/outside.nii.gz"])
def test_edited_manifest_cannot_point_outside(used: Path, name: str) -> None:
    outside = used.parent / "outside.nii.gz"
    outside.write_bytes(b"precious")
    manifest = used / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("1.2.3.0.1/1.2.3.0.7.nii.gz", name))
    convert(used.parent / "in", used, quiet=True)
    assert outside.read_bytes() == b"precious"


def test_foreign_files_in_the_output_are_left_alone(used: Path) -> None:
    for name in ("notes.txt", "1.2.3.0.1/mask.nii.gz"):
        (used / name).write_bytes(b"mine")
    convert(used.parent / "in", used, quiet=True)
    assert (used / "notes.txt").exists()
    assert (used / "1.2.3.0.1" / "mask.nii.gz").exists()


def test_interrupted_volume_that_is_refused_now_does_not_stay(tmp_path: Path) -> None:
    """A killed run leaves volumes, but no table that lists them."""
    paths = factory.write(tmp_path / "in", factory.series(4, rows=32, columns=24))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (tmp_path / "out" / "manifest.csv").unlink()
    images = [factory.compressed(image, RLELossless) for image in factory.series(4, rows=32, columns=24)]
    for path, image in zip(paths, images, strict=True):
        image.PixelData = encapsulate([bytes(60)])
        factory.write_one(path, image, RLELossless)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["UNREADABLE"]
    assert volumes(tmp_path / "out") == []
