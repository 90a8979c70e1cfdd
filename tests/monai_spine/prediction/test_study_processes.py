from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster

from monai_spine.bundle.on_demand import OnDemand
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.levels.study_search import StudyInput
from monai_spine.prediction import run
from monai_spine.prediction import study_processes as module
from monai_spine.prediction.outcomes import read_outcome
from monai_spine.prediction.part import Part
from monai_spine.prediction.study_processes import CheckedTask, check_cluster, study_processes, worker_tag
from monai_spine.prediction.study_task import StudyTask
from tests.monai_spine.prediction.distant import grade, pending

MODELS = OnDemand.of("tests.monai_spine.prediction.distant.no_models", {})
STUDIES = [f"{number:02}" for number in range(20)]


def task(out: Path) -> StudyTask:
    return StudyTask(out, MODELS, {"model": "none"}, grade=grade)


def results(out: Path, **place: object) -> dict[str, bool]:
    """By study, whether an earlier run had done it; a study that comes twice fails."""
    with study_processes(MODELS, **place) as begun:
        done = begun.run(task(out), [pending(name) for name in STUDIES])
        pairs = [(one.outcome.study_id, one.kept) for one in done]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.slow
def test_a_killed_worker_of_a_cluster_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    (tmp_path / "DIE").write_text("07")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options, silence_logs=50) as cluster:
        place = {"cluster": cluster.scheduler_address}
        assert set(results(tmp_path / "out", **place)) == set(STUDIES)
        assert not (tmp_path / "DIE").exists()
        for name in STUDIES:
            assert (tmp_path / "out" / name / "files.txt").read_text() == "whole"
        assert not list((tmp_path / "out").glob(".run-*"))
        calls = Counter((tmp_path / "calls.txt").read_text().split())
        # Dask gives what the dead worker had not sent to others; a study that was done is then read, not done again.
        assert calls["07"] == 2
        assert max(count for name, count in calls.items() if name != "07") == 1
        assert all(results(tmp_path / "out", **place).values())


@pytest.mark.slow
def test_a_killed_process_of_this_machine_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    (tmp_path / "DIE").touch()
    assert set(results(tmp_path / "out", workers=2)) == set(STUDIES)
    calls = Counter((tmp_path / "calls.txt").read_text().split())
    assert sorted(calls.values()) == [1] * (len(STUDIES) - 1) + [2]
    assert all(results(tmp_path / "out", workers=2).values())


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [False, True])
def test_a_study_for_which_processes_are_killed_again_and_again_is_refused_and_no_other_one(
    cluster: bool, tmp_path: Path
) -> None:
    (tmp_path / "DIE_ALWAYS").write_text("00" if not cluster else "07")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with ExitStack() as stack:
        place = {"workers": 2}
        if cluster:
            place = {"cluster": stack.enter_context(LocalCluster(**options)).scheduler_address}
        with study_processes(MODELS, **place) as begun:
            outcomes = [one.outcome for one in begun.run(task(tmp_path / "out"), [pending(name) for name in STUDIES])]
    reasons = {one.study_id: one.refused for one in outcomes}
    assert len(outcomes) == len(reasons) == len(STUDIES)
    given_up = {name for name, reason in reasons.items() if reason != "nobody grades here"}
    assert given_up == {(tmp_path / "DIE_ALWAYS").read_text()}
    assert all("were killed, perhaps for lack of memory" in reasons[name] for name in given_up)


def test_an_unreachable_scheduler_is_one_line(tmp_path: Path) -> None:
    begin = time.perf_counter()
    for address in ("nowhere", "host:1x", "http://127.0.0.1:8786"):
        with pytest.raises(SpineError, match=f"no Dask scheduler answers at {address}; start"):
            results(tmp_path / "out", cluster=address)
    assert time.perf_counter() - begin < 10  # without a client that takes half a minute to end
    assert list((tmp_path / "out").iterdir()) == []
    before = sorted(tmp_path.rglob("*"))
    with (
        study_processes(MODELS, cluster="nowhere") as place,
        pytest.raises(SpineError, match="no Dask scheduler answers at nowhere"),
    ):
        place.check(tmp_path / "new/out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cluster_is_asked_before_models_are_opened_and_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = OnDemand.of("pytest.fail", {"reason": "opened"})
    part = tmp_path / "out/parts/1-of-2/part.json"
    part.parent.mkdir(parents=True)
    part.write_text("{}")
    (tmp_path / "in").mkdir()
    monkeypatch.setattr(run, "check_no_dicom", lambda _: None)
    options = {"given_points": False, "points": None, "name_by": "uid", "prior_from": None, "force": False}
    options |= {"workers": 1, "quiet": True, "report": lambda _: None, "part": Part(1, 2)}
    with (
        study_processes(fail, cluster="nowhere") as place,
        pytest.raises(SpineError, match="no Dask scheduler answers at nowhere"),
    ):
        run.run_predict([tmp_path / "in"], tmp_path / "out", processes=place, **options)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [part]


def test_a_scheduler_without_workers_is_named(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(InvalidOptionError, match="has no workers; start some with"),
    ):
        check_cluster(cluster.scheduler_address, tmp_path)


@pytest.fixture
def one_worker() -> str:
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**options) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_studies_go_to_workers_with_the_tag_of_the_device(tmp_path: Path) -> None:
    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(n_workers=1, resources={"CPU": 1}, **options) as cluster:
        (tmp_path / "beacon").touch()
        assert check_cluster(cluster.scheduler_address, tmp_path / "beacon", "cpu") == "CPU"
        with pytest.raises(InvalidOptionError, match="needs workers with the tag GPU, but the cluster has CPU only"):
            check_cluster(cluster.scheduler_address, tmp_path / "beacon", "cuda:0")
        place = {"cluster": cluster.scheduler_address, "device": "cpu"}
        assert set(results(tmp_path / "out", **place)) == set(STUDIES)


def test_the_machine_of_the_command_needs_no_device_of_the_workers() -> None:
    asked = MODELS.replaced(device="cuda:99", runtime="auto", precision="float32")
    with study_processes(asked, cluster="nowhere", device="cuda:99") as place:
        assert place.models_here == asked.replaced(device="cpu", runtime="torch")
    with study_processes(asked, device="cuda:99") as place:
        assert place.models_here == asked
    with (
        study_processes(asked.replaced(runtime="openvino"), cluster="nowhere") as place,
        pytest.raises(InvalidOptionError, match="openvino is for CPUs, but the device is cuda"),
    ):
        place.models_here()


def test_a_worker_without_the_device_is_named_before_the_first_study(one_worker: str, tmp_path: Path) -> None:
    (tmp_path / "beacon").touch()
    with pytest.raises(InvalidOptionError, match=r"expected the device cuda:99 on every worker .* there is no device"):
        check_cluster(one_worker, tmp_path / "beacon", "cuda:99")


@pytest.mark.parametrize(
    ("resources", "device", "tag"),
    [
        ([{}, {}], "cuda", None),
        ([{"GPU": 1}, {"CPU": 4}], None, None),
        ([{"GPU": 1}, {"CPU": 4}], "cuda:1", "GPU"),
        ([{"GPU": 1}, {"CPU": 4}], "cpu", "CPU"),
        ([{"MEMORY": 1}], "cpu", None),
    ],
)
def test_tags_count_where_workers_have_them(resources: list[dict], device: str | None, tag: str | None) -> None:
    assert worker_tag(resources, device) == tag


def test_a_worker_that_does_not_see_the_folder_is_named_before_the_first_study(one_worker: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"expected .* on every worker, but .* cannot see it; mount"):
        check_cluster(one_worker, tmp_path / "out" / "beacon")


def test_a_worker_that_does_not_see_the_inputs_is_named_before_the_first_study(one_worker: str, tmp_path: Path) -> None:
    (tmp_path / "T2.nii.gz").touch()
    series = [(tmp_path / "T2.nii.gz",), (tmp_path / "T2.nii.gz",), (tmp_path / "gone.nii.gz",)]
    studies = [StudyInput(str(number), files) for number, files in enumerate(series)]
    with study_processes(MODELS, cluster=one_worker) as place:
        with pytest.raises(MissingInputError, match=rf"expected the inputs .* cannot see {series[2][0]}; mount"):
            list(place.run(task(tmp_path / "out"), studies))
        place.check(tmp_path / "new", studies[:2])
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_worker_with_another_version_is_named(
    one_worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beacon").touch()
    check_cluster(one_worker, tmp_path / "beacon")
    monkeypatch.setattr(module, "__version__", "9.9")
    with pytest.raises(InvalidOptionError, match=r"expected monai_spine 9\.9 on every worker, but .* has \d"):
        check_cluster(one_worker, tmp_path / "beacon")


def test_a_late_worker_that_does_not_see_the_folder_or_has_another_version_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "beacon").touch()
    assert CheckedTask(task(tmp_path / "out"), tmp_path / "beacon")(pending("01")).outcome.study_id == "01"
    with pytest.raises(SpineError, match="every worker needs the same paths"):
        CheckedTask(task(tmp_path), tmp_path / "no_beacon")(pending("01"))
    with pytest.raises(SpineError, match=r"expected monai_spine 9\.9 on every worker, but .* has \d"):
        CheckedTask(task(tmp_path), tmp_path / "beacon", "9.9")(pending("01"))


def test_an_outcome_says_what_the_study_took(tmp_path: Path) -> None:
    result = task(tmp_path / "out")(pending("01"))
    outcome = result.outcome
    assert (result.kept, outcome.machine != "", outcome.peak_mb > 10) == (False, True, True)
    assert read_outcome(tmp_path / "out/01", outcome.fingerprint) == outcome
    assert task(tmp_path / "out")(pending("01")) == replace(result, kept=True)
