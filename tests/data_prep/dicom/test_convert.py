"""Whole runs: every form of input, names, tables, exit codes, resuming, processes, a cluster that loses a worker."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from data_prep import scratch
from data_prep.dicom import job, nifti, sources
from data_prep.dicom.convert import convert
from data_prep.dicom.refusals import Reason
from data_prep.dicom.scan import scan
from monai_spine.errors import SpineError
from monai_spine.files import PARTIAL
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle


def cohort(folder: Path, series: int = 6) -> None:
    """Several series, one of them with a missing slice."""
    for number in range(series):
        images = factory.series(5, seed=number, rows=16, columns=16)
        factory.write(
            folder / f"study{number // 2}" / f"series{number}", images if number != 1 else images[:2] + images[3:]
        )


def contents(out: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data_prep", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_tables_have_exactly_the_promised_columns(tmp_path: Path) -> None:
    cohort(tmp_path / "in", 2)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    manifest, files = (tmp_path / "out" / name for name in ("manifest.csv", "files.csv"))
    assert manifest.read_text().splitlines()[0] == (
        "study,series_uid,stack,description,plane,files,slices,status,reason,detail,nifti"
    )
    assert files.read_text().splitlines()[0] == "path,frame,status,reason,nifti,k,t"


def test_outputs_are_named_by_uid(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4) + factory.series(4, EchoTime=20, first_instance=5))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert sorted(contents(tmp_path / "out")) == sorted(
        [
            *("1.2.3.0.1/1.2.3.0.2.nii.gz", "1.2.3.0.1/1.2.3.0.2.json"),
            *("1.2.3.0.1/1.2.3.0.2_1.nii.gz", "1.2.3.0.1/1.2.3.0.2_1.json"),
            *("files.csv", "manifest.csv"),
        ]
    )


def test_outputs_are_named_by_folder(tmp_path: Path) -> None:
    factory.write(tmp_path / "in" / "100" / "7", factory.series(4))
    factory.write(tmp_path / "in" / "100" / "8", factory.series(4))  # the same UIDs in another folder
    convert(tmp_path / "in", tmp_path / "out", name_by="folder", quiet=True)
    assert [row["nifti"] for row in oracle.manifest(tmp_path / "out")] == ["100/7.nii.gz", "100/8.nii.gz"]


@pytest.mark.parametrize("part", ["", "100", "100/7"])
def test_folder_names_above_the_input_count_too(tmp_path: Path, part: str) -> None:
    factory.write(tmp_path / "in" / "100" / "7", factory.series(4))
    convert(tmp_path / "in" / part, tmp_path / "out", name_by="folder", quiet=True)
    assert [row["nifti"] for row in oracle.manifest(tmp_path / "out")] == ["100/7.nii.gz"]


def test_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    cohort(tmp_path / "in")
    archive = shutil.make_archive(str(tmp_path / "cohort"), "zip", tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    convert(Path(archive), tmp_path / "zipped", quiet=True)
    assert contents(tmp_path / "zipped") == contents(tmp_path / "out")


def test_zip_within_a_tree_is_opened(tmp_path: Path) -> None:
    cohort(tmp_path / "packed", 1)
    (tmp_path / "in").mkdir()
    shutil.make_archive(str(tmp_path / "in" / "cohort"), "zip", tmp_path / "packed")
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.files(tmp_path / "out")[0]["path"] == "cohort.zip/study0/series0/000.dcm"


@pytest.mark.parametrize("name", ["../escape.dcm", "/tmp/escape.dcm", "a/../../escape.dcm", "C:\\escape.dcm"])
def test_zip_entries_cannot_escape(tmp_path: Path, name: str) -> None:
    (path, *_) = factory.write(tmp_path / "one", factory.series(1))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
    convert(tmp_path / "bad.zip", tmp_path / "out", quiet=True)
    assert [row["reason"] for row in oracle.files(tmp_path / "out")] == ["UNSAFE_PATH"]
    assert not list(tmp_path.rglob("escape.dcm"))


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.dcm", b"\0" * 1_000_000)
    convert(tmp_path / "bomb.zip", tmp_path / "out", quiet=True, max_bytes=10_000)
    assert [row["reason"] for row in oracle.files(tmp_path / "out")] == ["TOO_LARGE"]


def test_zip_bomb_of_many_entries_is_refused_in_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LEAST_ALLOWED", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.dcm", bytes(1 << 20))
    with scratch.folder(tmp_path) as unpacked:
        found = sources.find(tmp_path / "bomb.zip", unpacked)
        written = sum(path.stat().st_size for path in unpacked.rglob("*") if path.is_file())
    allowed = max(sources.LEAST_ALLOWED, sources.RATIO * (tmp_path / "bomb.zip").stat().st_size)
    assert written <= allowed < 20 << 20
    assert {source.reason for source in found} == {None, Reason.TOO_LARGE}


def test_packed_dicom_files_are_read_and_keep_their_names(tmp_path: Path) -> None:
    for path in factory.write(tmp_path / "in", factory.series(4)):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (tmp_path / "in" / "cut.dcm.gz").write_bytes((tmp_path / "in" / "000.dcm.gz").read_bytes()[:90])
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    rows = {row["path"]: row["status"] for row in oracle.files(tmp_path / "out")}
    assert rows == {"cut.dcm.gz": "refused"} | {f"{n:03d}.dcm.gz": "used" for n in range(4)}


def test_refused_files_have_a_row_that_says_why(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    (tmp_path / "in" / "empty.dcm").touch()
    out = tmp_path / "out"
    convert(tmp_path / "in", out, quiet=True)
    assert (out / "refused.csv").read_text() == ("path,frame,reason,detail\nempty.dcm,,EMPTY,the file has no bytes\n")
    (tmp_path / "in" / "empty.dcm").unlink()
    convert(tmp_path / "in", out, quiet=True)
    assert not (out / "refused.csv").exists()


def test_resuming_sees_that_pixels_changed_under_equal_headers_sizes_and_times(tmp_path: Path) -> None:
    path = factory.write(tmp_path / "in", factory.series(4))[2]
    convert(tmp_path / "in", tmp_path / "out", quiet=True, format="nii")
    before, status = contents(tmp_path / "out"), path.stat()
    changed = bytearray(path.read_bytes())
    changed[-10] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    convert(tmp_path / "in", tmp_path / "out", quiet=True, format="nii", resume=True)
    oracle.check(tmp_path / "in", tmp_path / "out")
    assert contents(tmp_path / "out") != before


def test_damaged_zip_has_a_row(tmp_path: Path) -> None:
    cohort(tmp_path / "in", 1)
    archive = Path(shutil.make_archive(str(tmp_path / "cohort"), "zip", tmp_path / "in"))
    data = bytearray(archive.read_bytes())
    data[60:90] = b"\xff" * 30
    archive.write_bytes(data)
    convert(archive, tmp_path / "out", quiet=True)
    assert "UNREADABLE" in {row["reason"] for row in oracle.files(tmp_path / "out")}


def burn_disc(folder: Path) -> None:
    """Four images under a DICOMDIR."""
    files = FileSet()
    for image in factory.series(4):
        image.PatientID, image.PatientName, image.StudyDate, image.StudyTime = "1", "A", "20200101", "1200"
        image.StudyID, image.AccessionNumber = "1", "1"
        factory.write_one(folder.parent / "one.dcm", image)
        files.add(folder.parent / "one.dcm")
    files.write(folder)


def test_dicomdir_gives_the_files_that_it_names(tmp_path: Path) -> None:
    burn_disc(tmp_path / "in")
    convert(tmp_path / "in" / "DICOMDIR", tmp_path / "out", quiet=True)
    convert(tmp_path / "in", tmp_path / "tree", quiet=True)
    for out in ("out", "tree"):
        assert oracle.check(tmp_path / "in", tmp_path / out) == {"used": 4, "ignored": 1}


def test_dicomdir_finds_files_that_a_mount_renamed(tmp_path: Path) -> None:
    burn_disc(tmp_path / "in")
    for path in sorted((tmp_path / "in").rglob("*"), reverse=True):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower() + (";1" if path.is_file() else "")))
    convert(tmp_path / "in" / "DICOMDIR", tmp_path / "out", quiet=True)
    assert [row["status"] for row in oracle.files(tmp_path / "out")] == ["ignored"] + ["used"] * 4


def test_only_the_chosen_planes_are_converted(tmp_path: Path) -> None:
    factory.write(tmp_path / "in" / "a", factory.series(4))
    factory.write(tmp_path / "in" / "b", factory.series(4, seed=1, orientation=factory.AXIAL))
    summary = convert(tmp_path / "in", tmp_path / "out", only=["axial"], quiet=True)
    assert [row["plane"] for row in oracle.manifest(tmp_path / "out")] == ["axial"]
    assert summary.files == {"used": 4, "ignored": 4}


@pytest.mark.slow
def test_exit_codes_and_streams(tmp_path: Path) -> None:
    factory.write(tmp_path / "good", factory.series(4))
    cohort(tmp_path / "mixed", 2)
    done = [command("convert", tmp_path / name, tmp_path / "out" / name) for name in ("good", "mixed", "absent")]
    assert [result.returncode for result in done] == [0, 3, 2]
    assert [result.stderr[:6] for result in done] == ["", "", "error:"]
    assert "1 stack converted, 1 refused" in done[1].stdout
    assert command("convert", tmp_path / "good", tmp_path / "out", "--format", "mnc").returncode == 2


def test_scan_lists_every_stack_with_its_verdict(tmp_path: Path) -> None:
    cohort(tmp_path / "in", 2)
    (tmp_path / "in" / "notes.txt").write_text("none")
    done = command("scan", tmp_path / "in", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert [stack["verdict"] for stack in report["stacks"]] == ["convertible", "MISSING_SLICE"]
    assert report["stacks"][0]["size"] == "16 x 16 x 5"
    assert report["stacks"][0]["spacing"] == "0.500 x 0.700 x 4.000"
    assert report["other_files"] == {"NOT_AN_IMAGE": 1}
    assert "Explicit VR Little Endian" in command("scan", tmp_path / "in").stdout


def test_scan_of_an_empty_folder_is_an_error_of_the_user(tmp_path: Path) -> None:
    done = command("scan", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no file at all" in done.stderr


def test_scan_and_convert_agree(tmp_path: Path) -> None:
    cohort(tmp_path / "in")
    shutil.copytree(tmp_path / "in" / "study0" / "series0", tmp_path / "in" / "again")
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    verdicts = [stack.verdict for stack in scan(tmp_path / "in", quiet=True).stacks]
    assert verdicts == [verdict.replace("converted", "convertible") for verdict in oracle.verdicts(tmp_path / "out")]


def test_folder_named_like_the_second_volume_of_another_overwrites_nothing(tmp_path: Path) -> None:
    echoes = factory.series(4, EchoTime=20) + factory.series(4, EchoTime=80, first_instance=5)
    factory.write(tmp_path / "in" / "100" / "t2", echoes)
    factory.write(tmp_path / "in" / "100" / "t2_1", factory.series(5, seed=1))
    convert(tmp_path / "in", tmp_path / "out", name_by="folder", quiet=True)
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 13}
    assert len({row["nifti"] for row in oracle.manifest(tmp_path / "out")}) == 3


@pytest.mark.parametrize("arguments", [["convert"], ["images", "folders"]])
def test_help_shows_examples_each_on_one_line(arguments: list[str]) -> None:
    lines = [line.strip() for line in command(*arguments, "--help").stdout.splitlines()]
    examples = [line for line in lines if line.startswith(f"python -m data_prep {' '.join(arguments)}")]
    assert len(examples) == 2
    assert any(line.endswith(("--resume", "--drop-leaks")) for line in examples)


@pytest.mark.parametrize("arguments", [[], ["convert"], ["phantom"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Not even pydantic, which typer loads to coerce values, and which takes longer than all the rest."""
    traced = [sys.executable, "-X", "importtime", "-m", "data_prep", *arguments, "--help"]
    imported = subprocess.run(traced, capture_output=True, text=True, check=True).stderr
    assert not {"numpy", "pandas", "torch", "pydantic", "pydicom"} & set(imported.split())


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    cohort(tmp_path / "in")
    for out in ("one", "two"):
        convert(tmp_path / "in", tmp_path / out, quiet=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    cohort(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "one", quiet=True)
    convert(tmp_path / "in", tmp_path / "two", quiet=True, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("after", [1, 4, 7])
def test_resuming_after_a_kill_gives_the_same_bytes(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "whole", quiet=True)
    count = 0
    real = nifti.write

    def dying(path: Path, pieces: list[bytes]) -> int:
        nonlocal count
        count += 1
        if count > after:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1{PARTIAL}").write_bytes(b"half")
            raise KeyboardInterrupt
        return real(path, pieces)

    monkeypatch.setattr(nifti, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "in", tmp_path / "out", quiet=True)
    monkeypatch.undo()
    convert(tmp_path / "in", tmp_path / "out", quiet=True, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_resuming_keeps_what_is_whole_and_redoes_what_is_not(tmp_path: Path) -> None:
    cohort(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    before = contents(tmp_path / "out")
    volumes = sorted((tmp_path / "out").rglob("*.nii.gz"))
    stamp = volumes[0].stat().st_mtime_ns
    volumes[1].write_bytes(volumes[1].read_bytes()[:-1] + b"!")
    volumes[2].with_name(volumes[2].name.replace(".nii.gz", ".json")).unlink()
    convert(tmp_path / "in", tmp_path / "out", quiet=True, resume=True)
    assert contents(tmp_path / "out") == before
    assert volumes[0].stat().st_mtime_ns == stamp


def test_resuming_does_not_trust_a_volume_of_other_headers(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    factory.write(tmp_path / "in", factory.series(4, step=5.0))
    convert(tmp_path / "in", tmp_path / "out", quiet=True, resume=True)
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 4}


def test_resuming_with_hashed_uids_keeps_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort(tmp_path / "in", 4)
    monkeypatch.setattr(job, "run_job", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "in", tmp_path / "out", quiet=True, keep_uids=False)
    monkeypatch.undo()
    (salt,) = (tmp_path / "out").glob(".salt")
    assert salt.stat().st_mode & 0o077 == 0
    (tmp_path / "whole").mkdir()
    shutil.copy(salt, tmp_path / "whole")
    convert(tmp_path / "in", tmp_path / "out", quiet=True, keep_uids=False, resume=True)
    convert(tmp_path / "in", tmp_path / "whole", quiet=True, keep_uids=False, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_verification_catches_a_wrong_affine_and_removes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    real = nifti.header

    def shifted(shape: object, dtype: object, affine: object, *rest: object) -> bytes:
        moved = affine.copy()
        moved[0, 3] += 0.2
        return real(shape, dtype, moved, *rest)

    monkeypatch.setattr(nifti, "header", shifted)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (row,) = oracle.manifest(tmp_path / "out")
    assert (row["reason"], row["detail"]) == ("VERIFY_FAILED", "a corner of slice 1 is off by 0.200 mm")
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_verification_catches_changed_bytes_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    real = nifti.encoded
    monkeypatch.setattr(nifti, "encoded", lambda *arguments: (values + 40 for values in real(*arguments)))
    convert(tmp_path / "in", tmp_path / "out", quiet=True, verify="full")
    assert oracle.verdicts(tmp_path / "out") == ["VERIFY_FAILED"]


def test_cluster_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpineError, match=r"pip install 'monai-spine\[cluster\]'"):
        convert(tmp_path / "in", tmp_path / "out", cluster="tcp://127.0.0.1:1", quiet=True)


@pytest.mark.slow
def test_cluster_that_loses_a_worker_loses_nothing_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    cohort(tmp_path / "in", 24)
    convert(tmp_path / "in", tmp_path / "whole", quiet=True)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        workers = list(cluster.workers.values())
        monkeypatch.setattr("data_prep.dicom.convert.track", lambda results, *_: _killing(results, workers[0].pid))
        convert(tmp_path / "in", tmp_path / "out", cluster=cluster.scheduler_address, quiet=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def _killing(results: object, worker: int) -> object:
    """Pass results on; kill a worker after the first of the conversion."""
    for number, result in enumerate(results):
        if number == 1 and isinstance(result, job.JobResult):
            os.kill(worker, signal.SIGKILL)
            time.sleep(0.2)
        yield result
