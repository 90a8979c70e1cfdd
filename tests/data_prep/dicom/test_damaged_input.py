"""Damaged input gives a row in the tables or one clear error: no traceback, no partial volume, no file outside OUT."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.dicom import convert as convert_module
from data_prep.dicom import simpleitk
from data_prep.dicom.convert import convert
from monai_spine.errors import MissingInputError, OutputError, SpineError
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Files of a sound sagittal series in ``in``."""
    return factory.write(tmp_path / "in", factory.series(4))


def reasons(tmp_path: Path, **options: object) -> dict[str, str]:
    """Convert ``in`` and return status or reason by file."""
    convert(tmp_path / "in", tmp_path / "out", quiet=True, **options)
    oracle.check(tmp_path / "in", tmp_path / "out")
    return {row["path"]: row["reason"] or row["status"] for row in oracle.files(tmp_path / "out")}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY"),
        (b"\0", "NOT_AN_IMAGE"),
        (b"read me", "NOT_AN_IMAGE"),
        (b"\0" * 128 + b"DICM", "UNREADABLE"),
        (b"\0" * 128 + b"DICM" + bytes(range(256)) * 20, "UNREADABLE"),
        (b"\xff" * 5000, "NOT_AN_IMAGE"),
    ],
)
def test_rubbish_has_a_row(tmp_path: Path, paths: list[Path], content: bytes, reason: str) -> None:
    (tmp_path / "in" / "odd").write_bytes(content)
    by_file = reasons(tmp_path)
    assert by_file["odd"] == reason
    assert list(by_file.values()).count("used") == 4


@pytest.mark.parametrize("kept", [140, 200, 400, 700])
def test_file_cut_within_its_header_has_a_row(tmp_path: Path, paths: list[Path], kept: int) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[:kept])
    assert reasons(tmp_path)[paths[0].name] in {"UNREADABLE", "TRUNCATED", "NOT_AN_IMAGE"}


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("Rows", 0, "UNREADABLE"),
        ("Columns", 0, "UNREADABLE"),
        ("Rows", 65535, "TRUNCATED"),
        ("ImagePositionPatient", ["NaN", "0", "0"], "NO_GEOMETRY"),
        ("ImagePositionPatient", ["1e400", "0", "0"], "NO_GEOMETRY"),
        ("ImagePositionPatient", ["0", "0"], "NO_GEOMETRY"),
        ("ImagePositionPatient", ["x", "0", "0"], "NO_GEOMETRY"),
        ("ImagePositionPatient", None, "NO_GEOMETRY"),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"], "NO_GEOMETRY"),
        ("ImageOrientationPatient", ["0", "0", "0", "0", "0", "0"], "NO_GEOMETRY"),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1.1", "0"], "NO_GEOMETRY"),
        ("ImageOrientationPatient", ["1", "0", "0"], "NO_GEOMETRY"),
        ("PixelSpacing", ["0", "0.5"], "NO_GEOMETRY"),
        ("PixelSpacing", ["-1", "0.5"], "NO_GEOMETRY"),
        ("PixelSpacing", None, "NO_GEOMETRY"),
        ("RescaleSlope", "0", "UNSUPPORTED"),
        ("RescaleSlope", "1e400", "UNSUPPORTED"),
        ("PhotometricInterpretation", "RGB", "COLOUR"),
        ("PhotometricInterpretation", "PALETTE COLOR", "COLOUR"),
        ("BitsAllocated", 1, "UNSUPPORTED"),
        ("BitsAllocated", 12, "UNSUPPORTED"),
        ("BitsStored", 64, "UNSUPPORTED"),
        ("NumberOfFrames", "-3", "UNREADABLE"),
        ("NumberOfFrames", "many", "UNREADABLE"),
        ("NumberOfFrames", "1000000", "TRUNCATED"),
    ],
)
def test_absurd_header_is_refused(tmp_path: Path, keyword: str, value: object, reason: str) -> None:
    images = factory.series(4)
    for image in images:
        if isinstance(value, int):
            setattr(image, keyword, value)
        else:  # as text, since pydicom would not write such numbers
            text = value if isinstance(value, str) else "\\".join(value or ())
            image[keyword] = pydicom.DataElement(pydicom.datadict.tag_for_keyword(keyword), "LO", text)
    factory.write(tmp_path / "in", images)
    all_reasons = set(reasons(tmp_path).values())
    assert all_reasons == {reason} or (keyword == "NumberOfFrames" and all_reasons <= {"NO_GEOMETRY", reason})


def test_declared_size_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path, paths: list[Path]) -> None:
    assert set(reasons(tmp_path, max_bytes=100).values()) == {"TOO_LARGE"}


@pytest.mark.parametrize("orientation", [["1", "0", "0", "0", "1"], ["nan"] * 6])
def test_truncated_file_with_an_impossible_geometry_has_a_row(
    tmp_path: Path, paths: list[Path], orientation: list[str]
) -> None:
    image = factory.series(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[0]
    image[0x00200037] = pydicom.DataElement(0x00200037, "LO", "\\".join(orientation))
    factory.write_one(paths[0], image)
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    assert reasons(tmp_path)[paths[0].name] in {"TRUNCATED", "LOCALIZER"}


def test_deflated_bomb_is_refused(tmp_path: Path) -> None:
    images = factory.series(3, rows=200, columns=200)
    for image in images:
        factory.set_pixels(image, np.zeros((200, 200)))
    factory.write(tmp_path / "in", images, "1.2.840.10008.1.2.1.99")
    assert set(reasons(tmp_path, max_bytes=50_000).values()) == {"TOO_LARGE"}


def test_text_dicom_without_pixels_is_ignored(tmp_path: Path, paths: list[Path]) -> None:
    report = factory.blank(2, 2)
    del report.Rows, report.Columns
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    factory.write_one(tmp_path / "in" / "report.dcm", report)
    assert reasons(tmp_path)["report.dcm"] == "NOT_AN_IMAGE"


def test_absent_input_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="does not exist"):
        convert(tmp_path / "nowhere", tmp_path / "out")


def test_input_without_any_image_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("none")
    with pytest.raises(SpineError, match="no DICOM image"):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("out", ["in", "in/out"])
def test_output_inside_the_input_is_a_clear_error(tmp_path: Path, paths: list[Path], out: str) -> None:
    with pytest.raises(SpineError, match="lies inside the input"):
        convert(tmp_path / "in", tmp_path / out)


def test_output_that_is_a_file_is_a_clear_error(tmp_path: Path, paths: list[Path]) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SpineError, match="is a file"):
        convert(tmp_path / "in", tmp_path / "out")


def test_loops_of_links_end(tmp_path: Path, paths: list[Path]) -> None:
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    by_file = reasons(tmp_path)
    assert by_file["self"] == "UNREADABLE"
    assert len(by_file) == 5


def test_pipe_does_not_block(tmp_path: Path, paths: list[Path]) -> None:
    os.mkfifo(tmp_path / "in" / "pipe")
    assert reasons(tmp_path)["pipe"] == "NOT_AN_IMAGE"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_unreadable_file_has_a_row(tmp_path: Path, paths: list[Path]) -> None:
    paths[3].chmod(0)
    assert reasons(tmp_path)[paths[3].name] == "UNREADABLE"


def test_unreadable_file_has_a_row_for_any_user(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    plain = builtins.open

    def forbidding(file: object, *args: object, **options: object) -> object:
        if str(file).endswith(paths[3].name):
            raise PermissionError(13, "Permission denied")
        return plain(file, *args, **options)

    monkeypatch.setattr(builtins, "open", forbidding)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    monkeypatch.undo()
    assert oracle.files(tmp_path / "out")[3]["reason"] == "UNREADABLE"


def test_full_disk_is_one_clear_error_and_leaves_no_part(tmp_path: Path) -> None:
    """A limit on the size of files has the effect of a full disk."""
    factory.write(tmp_path / "in", factory.series(4, rows=128, columns=128))
    command = [sys.executable, "-m", "data_prep", "convert", str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write")
    assert "Traceback" not in done.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_failing_write_removes_its_partial_file(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_partial_files_of_a_killed_run_are_removed(tmp_path: Path, paths: list[Path]) -> None:
    left = tmp_path / "out" / "1.2.3.0.1" / ".1.2.3.0.2.nii.gz.123.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert not left.exists()


def test_partial_files_of_a_worker_killed_in_this_run_are_removed(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "out" / "1.2.3.0.1" / ".1.2.3.0.2.nii.gz.123.partial"

    def run_and_leave(*arguments: object, **options: object) -> object:
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_bytes(b"half")
        return run_all(*arguments, **options)

    run_all = convert_module.run_all
    monkeypatch.setattr(convert_module, "run_all", run_and_leave)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert not left.exists()


@pytest.mark.parametrize("uid", ["../../../escape", "/etc/passwd", "..", "a/b", "x" * 300, "", "nul\0byte"])
def test_names_from_headers_never_leave_the_output(tmp_path: Path, uid: str) -> None:
    from pydicom import config

    with config.disable_value_validation():
        factory.write(tmp_path / "in", factory.series(4, StudyInstanceUID=uid, SeriesInstanceUID=uid))
    before = set(tmp_path.rglob("*"))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "out") for path in new)
    assert oracle.verdicts(tmp_path / "out") == ["converted"]


def test_an_unexpected_error_refuses_its_series_alone(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep.dicom import job

    factory.write(tmp_path / "in" / "other", factory.series(4, seed=7, SeriesDescription="broken"))
    real = job.split_job

    def sometimes(frames: list[object]) -> object:
        if frames[0].identity.description == "broken":
            raise ZeroDivisionError("Doe^Jane")
        return real(frames)

    monkeypatch.setattr(job, "split_job", sometimes)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert sorted(oracle.verdicts(tmp_path / "out")) == ["UNREADABLE", "converted"]
    assert "Doe" not in (tmp_path / "out" / "manifest.csv").read_text()


def stop_process_at(name: str, signal_number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SimpleITK's process a signal whenever it is asked for a file of this name."""
    real = simpleitk._Process.ask

    def ask(self: simpleitk._Process, files: list[str], slot: int) -> int:
        if any(Path(file).name == name for file in files):
            self._process.send_signal(signal_number)
        return real(self, files, slot)

    monkeypatch.setattr(simpleitk._Process, "ask", ask)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("signal_number", [signal.SIGSEGV, signal.SIGSTOP])
def test_file_that_crashes_or_hangs_simpleitk_refuses_its_stack_alone(
    tmp_path: Path, signal_number: int, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rle = "1.2.840.10008.1.2.5"
    for seed, names in ((1, None), (2, ["0.dcm", "1.dcm", "bad.dcm", "3.dcm", "4.dcm"]), (3, None)):
        images = factory.series(5, seed=seed)
        if compressed:
            factory.write(tmp_path / "in" / str(seed), [factory.compressed(one, rle) for one in images], rle, names)
        else:
            factory.write(tmp_path / "in" / str(seed), images, names=names)
    # a busy machine needs seconds to start the process again; a crash is noticed at once
    monkeypatch.setattr(simpleitk, "SECONDS", 2.5 if signal_number == signal.SIGSTOP else 60.0)
    stop_process_at("bad.dcm", signal_number, monkeypatch)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    rows = oracle.manifest(tmp_path / "out")
    assert [row["reason"] for row in rows] == ["", "UNREADABLE", ""]
    assert rows[1]["detail"] == "slice 3: the file crashes SimpleITK"
    oracle.check(tmp_path / "in", tmp_path / "out")


def test_frame_that_crashes_the_decoder_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rle = "1.2.840.10008.1.2.5"
    images = factory.series(4, PhotometricInterpretation="MONOCHROME1")
    factory.write(tmp_path / "in", [factory.compressed(image, rle) for image in images], rle)
    stop_process_at("frame.dcm", signal.SIGSEGV, monkeypatch)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert (row["reason"], row["detail"]) == ("UNREADABLE", "slice 1: pixel data crash the decoder")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 3), st.integers(128, 1100), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.none() | st.tuples(st.integers(0, 3), st.integers(1, 1100)),
)
def test_mutated_headers_never_crash_and_never_pass_wrong(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, int]], cut: tuple[int, int] | None
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    paths = factory.write(folder / "in", factory.series(4, rows=6, columns=5))
    for number, offset, value in edits:
        data = bytearray(paths[number].read_bytes())
        data[min(offset, len(data) - 1)] = value
        paths[number].write_bytes(data)
    if cut is not None:
        paths[cut[0]].write_bytes(paths[cut[0]].read_bytes()[: cut[1]])
    try:
        convert(folder / "in", folder / "out", format="nii", quiet=True)
    except SpineError:
        return
    with (folder / "out" / "files.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert {row["path"] for row in rows} == {path.name for path in paths}
    assert {row["status"] for row in rows} <= {"used", "duplicate", "refused", "ignored"}
    assert not list((folder / "out").rglob("*.partial"))
