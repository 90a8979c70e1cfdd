"""Runs of `data_prep rsna`: the same twice, in many processes, on a cluster, after a kill, into a used folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import pydicom
import pytest

from data_prep.collection import assembly
from data_prep.collection.assembly import Run
from data_prep.dicom import nifti
from data_prep.rsna2024.datalist import build
from monai_spine.errors import InvalidOptionError, SpineError
from monai_spine.files import PARTIAL
from tests.data_prep.collection.outputs import contents, entries, table


@pytest.fixture(scope="module")
def finished(two_studies, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("finished") / "out"
    build(two_studies, out, Run(folds=2, quiet=True))
    return contents(out)


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same(two_studies, tmp_path, finished):
    build(two_studies, tmp_path / "out", Run(folds=2, quiet=True, workers=2))
    assert contents(tmp_path / "out") == finished


def test_resuming_keeps_volumes(small, tmp_path):
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}
    build(small, tmp_path / "out", Run(folds=2, quiet=True, resume=True))
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}


def test_a_run_leaves_nothing_but_its_output(finished):
    files = {name for name in finished if "/" not in name}
    assert files == {
        *("datalist.json", "points.csv", "coverage.csv", "quality.csv", "quality.md", "folds.csv"),
        *("manifest.csv", "files.csv"),
    }
    assert not [name for name in finished if "/." in name or name.startswith(".")]


@pytest.mark.parametrize("writes", [0, 1, 5, 6, 8, 13])
def test_after_a_kill_at_any_moment_resuming_makes_the_same(two_studies, tmp_path, monkeypatch, finished, writes):
    calls = iter(range(1000))

    def killed(path, pieces, original=nifti.write):
        if next(calls) == writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1{PARTIAL}").write_bytes(b"half")
            raise KeyboardInterrupt
        return original(path, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(nifti, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            build(two_studies, tmp_path / "out", Run(folds=2, quiet=True))
    assert not (tmp_path / "out" / "datalist.json").exists()
    build(two_studies, tmp_path / "out", Run(folds=2, quiet=True, resume=True))
    assert contents(tmp_path / "out") == finished


@pytest.mark.parametrize("step", ["_folds", "_write_reports", "remove_stale"])
def test_after_a_kill_while_tables_are_written_resuming_makes_the_same(
    two_studies, tmp_path, monkeypatch, finished, step
):
    with monkeypatch.context() as patch:
        patch.setattr(assembly, step, mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(two_studies, tmp_path / "out", Run(folds=2, quiet=True))
    assert not (tmp_path / "out" / "datalist.json").exists()
    build(two_studies, tmp_path / "out", Run(folds=2, quiet=True, resume=True))
    assert contents(tmp_path / "out") == finished


@pytest.mark.slow
def test_a_process_killed_in_mid_run_is_resumed(two_studies, tmp_path, finished):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "data_prep", "rsna", str(two_studies), str(out), "--folds", "2", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(out.rglob("*.nii.gz")):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "datalist.json").exists()
    build(two_studies, out, Run(folds=2, quiet=True, resume=True))
    assert contents(out) == finished


def test_a_cluster_makes_the_same(two_studies, tmp_path, finished):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local:
        build(two_studies, tmp_path / "out", Run(folds=2, quiet=True, cluster=local.scheduler_address))
    assert contents(tmp_path / "out") == finished


def test_no_cluster_at_the_address_is_the_users_mistake(two_studies, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(SpineError, match="no Dask scheduler"):
        build(two_studies, tmp_path / "out", Run(folds=2, quiet=True, cluster="nowhere"))


def test_a_folder_with_other_studies_volumes_is_refused_before_anything_is_written(two_studies, tmp_path):
    shutil.copytree(two_studies, tmp_path / "other")
    study, kept = table(two_studies / "train.csv")["study_id"]
    build(two_studies, tmp_path / "out", Run(folds=2, quiet=True))
    before = contents(tmp_path / "out")
    for name in ("train.csv", "train_series_descriptions.csv", "train_label_coordinates.csv"):
        rows = table(two_studies / name)
        rows.assign(study_id=rows["study_id"].replace(study, "new")).to_csv(tmp_path / "other" / name, index=False)
    (tmp_path / "other" / "train_images" / study).rename(tmp_path / "other" / "train_images" / "new")
    with pytest.raises(InvalidOptionError, match=f"holds volumes of 1 study .*{study}"):
        build(tmp_path / "other", tmp_path / "out", Run(folds=2, quiet=True))
    assert contents(tmp_path / "out") == before
    assert kept in entries(tmp_path / "out")


def test_volumes_that_a_study_no_longer_has_are_removed_and_other_files_stay(small, tmp_path):
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    study = table(small / "train.csv")["study_id"][0]
    series = table(small / "train_series_descriptions.csv")
    (gone,) = series.loc[(series["study_id"] == study) & (series["series_description"] == "Sagittal T1"), "series_id"]
    shutil.rmtree(small / "train_images" / study / gone)
    mine = tmp_path / "out" / study / "my_mask.nii.gz"
    shutil.copy(tmp_path / "out" / study / f"{gone}.nii.gz", mine)
    collection = build(small, tmp_path / "out", Run(folds=2, quiet=True))
    assert collection.removed == 1
    assert not (tmp_path / "out" / study / f"{gone}.nii.gz").exists()
    assert not (tmp_path / "out" / study / f"{gone}.json").exists()
    assert mine.exists()
    assert "sagittal_t1" not in entries(tmp_path / "out")[study]


def test_an_output_inside_the_images_is_refused(small):
    with pytest.raises(SpineError, match="lies inside the input"):
        build(small, small / "train_images" / "out", Run(folds=2, quiet=True))


def test_numbers_of_instances_say_nothing(small, tmp_path):
    build(small, tmp_path / "before", Run(folds=2, quiet=True))
    renumber(small)
    build(small, tmp_path / "after", Run(folds=2, quiet=True))
    before, after = (contents(tmp_path / name) for name in ("before", "after"))
    assert before["datalist.json"] == after["datalist.json"]
    volumes = [name for name in before if name.endswith(".nii.gz")]
    assert [before[name] == after[name] for name in volumes] == [True] * len(volumes)


def renumber(folder):
    """Turn every series' instance numbers round, beyond 5,000 and with gaps, in the files and in the table."""
    path = folder / "train_label_coordinates.csv"
    points = table(path)
    points["instance_number"] = (9000 - 3 * points["instance_number"].astype(int)).astype(str)
    points.to_csv(path, index=False)
    for file in sorted((folder / "train_images").rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        dataset.InstanceNumber = 9000 - 3 * int(dataset.InstanceNumber)
        file.unlink()
        dataset.save_as(file.with_name(f"{dataset.InstanceNumber}.dcm"))
