"""``predict`` on object stores: in memory, and on a local server of S3."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from monai_spine.data.datalist import SCHEMA
from monai_spine.data.object_store import ObjectStore
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.grading.grader import Grader
from monai_spine.prediction.inputs import find_inputs
from monai_spine.prediction.merged_parts import merge_parts
from monai_spine.prediction.part import Part
from monai_spine.prediction.run import Summary, predict
from monai_spine.prediction.staging import staged
from monai_spine.spine import TARGETS, SeriesType
from tests.monai_spine.prediction.parts import models, oracle, points_of_spine, write_bundle, write_study

STUDIES = ("a", "b", "10", "9")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}"


def put(url: str, *names: str, content: bytes = b"x") -> None:
    system, root = fsspec.core.url_to_fs(url)
    for name in names:
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_paths_of_this_machine_stay_as_they_are(tmp_path: Path) -> None:
    with staged([tmp_path], tmp_path / "out") as staging:
        assert (staging.paths, staging.out, staging.places) == ([tmp_path], tmp_path / "out", ())
        staging.store()
    assert not (tmp_path / "out").exists()


def test_copies_of_patients_are_gone_after_the_run_and_after_a_failed_one(url: str) -> None:
    put(url, "in/a/t2.nii.gz")
    for fails in (False, True):
        try:
            with staged([Path(f"{url}/in")], Path(f"{url}/out")) as staging:
                copy = staging.paths[0] / "a/t2.nii.gz"
                assert copy.is_file()
                assert copy.parents[4].stat().st_mode & 0o077 == 0
                if fails:
                    raise SpineError(f"{copy}: damaged")
        except SpineError as error:
            assert str(error) == f"{url}/in/a/t2.nii.gz: damaged"
        assert not copy.exists()


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_a_part_fetches_its_own_studies_and_counts_the_others(url: str, count: int) -> None:
    put(url, *(f"in/{study}/t2.nii.gz" for study in STUDIES))
    put(url, *(f"out/{study}/outcome.json" for study in STUDIES), f"out/parts/01-of-{count}/part.json", "out/log.txt")
    for number in range(1, count + 1):
        part = Part(number, count)
        own = {study for study in STUDIES if part.holds(study)}
        with staged([Path(f"{url}/in")], Path(f"{url}/out"), part) as staging:
            fetched = {path.name for path in staging.paths[0].iterdir()}
            assert own <= fetched
            assert len(fetched) == max(1, len(own))  # one at least, to see what kind of input it is
            assert len(staging.left_there) == len(STUDIES) - len(fetched)
            assert {name.split("/")[0] for name in names(staging.out)} <= fetched | {"parts"}


def test_results_appear_study_by_study_and_the_mark_that_one_is_finished_comes_last(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, "in/a/t2.nii.gz")
    put(f"{url}/out/a", "outcome.json", "report.html", content=b"old")
    seen: list[tuple[str, list[str]]] = []
    for verb in ("store", "remove"):
        real = getattr(ObjectStore, verb)

        def noted(self: ObjectStore, files: list[str], *rest: Path, real: object = real, verb: str = verb) -> None:
            seen.append((verb, list(files)))
            real(self, files, *rest)  # type: ignore[operator]

        monkeypatch.setattr(ObjectStore, verb, noted)
    with staged([Path(f"{url}/in")], Path(f"{url}/out")) as staging:
        folder = staging.out / "a"
        (folder / "report.html").unlink()
        (folder / "findings.json").write_text("{}")
        (folder / "outcome.json").write_text("newer")
        (folder / ".half.123.partial").write_text("x")
        (staging.out / "b").mkdir()
        (staging.out / "b/findings.json").write_text("{}")
        staging.store("a")
        assert seen == [
            ("remove", ["a/outcome.json", "a/report.html"]),
            ("store", ["a/findings.json"]),
            ("store", ["a/outcome.json"]),
        ]
        assert set(ObjectStore(f"{url}/out").files()) == {"a/findings.json", "a/outcome.json"}
        staging.store()
    assert set(ObjectStore(f"{url}/out").files()) == {"a/findings.json", "a/outcome.json", "b/findings.json"}


def test_a_volume_comes_with_its_sidecar_and_a_datalist_with_its_volumes(url: str) -> None:
    put(url, "x/T2.nii.gz", "x/T2.json", "x/other.json", "list/datalist.json", "list/images/a.nii.gz")
    with staged([Path(f"{url}/x/T2.nii.gz"), Path(f"{url}/list/datalist.json")], Path("out")) as staging:
        assert [path.name for path in staging.paths] == ["T2.nii.gz", "datalist.json"]
        assert names(staging.paths[0].parent) == {"T2.nii.gz", "T2.json"}
        assert names(staging.paths[1].parent) == {"datalist.json", "images/a.nii.gz"}


def test_wrong_places_are_refused_before_anything_is_fetched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(url, "in/a/t2.nii.gz", content=b"12345")
    with pytest.raises(InvalidOptionError, match="lies in the input"), staged([Path(url)], Path(f"{url}/out")):
        pass
    with pytest.raises(MissingInputError, match=f"there is no {url}/nothing"), staged([Path(f"{url}/nothing")], Path()):
        pass
    usage = shutil.disk_usage("/")._replace(free=4)
    monkeypatch.setattr("monai_spine.prediction.staging.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InvalidOptionError, match="set TMPDIR"), staged([Path(f"{url}/in")], Path("out")):
        pass


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket on a server of S3 on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("studies")
        yield "s3://studies"
    server.stop()


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_is_one_line(s3: str) -> None:
    with pytest.raises(SpineError, match="s3://nobucket/in") as caught, staged([Path("s3://nobucket/in")], Path("out")):
        pass
    assert "\n" not in str(caught.value)


def graded(source: str, out: str, grader: Grader, part: Part | None = None) -> Summary:
    with staged([Path(source)], Path(out), part) as staging:
        found = find_inputs(staging.paths, staging.out, lambda *_: pytest.fail("no DICOM"))
        opened = models(oracle(), grader)
        return predict(found, staging.out, opened, given_points=True, quiet=True, part=part, staging=staging)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["memory", "s3"])
def test_a_run_on_a_store_gives_the_same_and_is_not_done_twice(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    grader = Grader.from_bundle(write_bundle(tmp_path / "bundle"))
    local = tmp_path / "in"
    for study in STUDIES:
        write_study(local / study)
    url = request.getfixturevalue("s3") if store == "s3" else f"memory://{tmp_path.name}"
    points = points_of_spine()
    series = [one.value for one in SeriesType]
    entries = [
        {"study_id": study, "points": points, **{one: [f"{study}/{one}.nii.gz"] for one in series}} for study in STUDIES
    ]
    (local / "datalist.json").write_text(json.dumps({"schema": SCHEMA, "targets": TARGETS, "test": entries}))
    ObjectStore(f"{url}/in").store(sorted(names(local)), local)
    source = f"{url}/in/datalist.json"
    whole = graded(str(local / "datalist.json"), str(tmp_path / "out"), grader)
    assert not [one.refused for one in whole.outcomes if one.refused]
    assert graded(source, f"{url}/out", grader).kept == 0
    assert graded(source, f"{url}/out", grader).kept == len(whole.outcomes) == len(STUDIES)
    ObjectStore(f"{url}/out").fetch(ObjectStore(f"{url}/out").files(), tmp_path / "copy")
    assert names(tmp_path / "copy") == {name for name in names(tmp_path / "out") if not name.startswith(".")}
    for study in STUDIES:
        findings = [(folder / study / "findings.json").read_bytes() for folder in (tmp_path / "copy", tmp_path / "out")]
        assert findings[0] == findings[1]
    for number in (1, 2, 3):
        graded(source, f"{url}/parts_out", grader, Part(number, 3))
    with staged([], Path(f"{url}/parts_out"), merging=True) as staging:
        merged = merge_parts(staging.out)
        staging.store()
    assert (merged.studies, merged.missing, merged.absent) == (len(STUDIES), (), ())
    assert "findings.csv" in ObjectStore(f"{url}/parts_out").files()
