import dataclasses
import json
import sys
from pathlib import Path

import pytest

from monai_spine.bundle.provenance import trained_on
from monai_spine.errors import InvalidOptionError
from monai_spine.jobs import entry
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement
from monai_spine.jobs.platforms import PLATFORMS
from tests.monai_spine.jobs.jobs import write

PLACEMENT = Placement(
    nodes=2,
    node=1,
    master="127.0.0.1:4000",
    run="run-7",
    data="/gcs/b/nifti",
    output=Path("/gcs/b/run"),
    checkpoints=Path("/gcs/b/run/checkpoints"),
    tensorboard=Path("/gcs/b/run/logs"),
    model=Path("/gcs/b/run/model"),
    scratch=Path("/tmp/scratch"),
)


def described(**changes: object) -> Job:
    return Job("vertex", "a-job", "grader", (), "gs://b/n", "gs://b/run", **changes)


def test_machines_meet_at_the_first_one() -> None:
    words = entry.launch_arguments(described(accelerators=4, nodes=2, max_restarts=5), PLACEMENT)
    assert {"--nnodes=2", "--nproc-per-node=4", "--max-restarts=5", "--rdzv-backend=c10d"} <= set(words)
    assert {"--rdzv-endpoint=127.0.0.1:4000", "--rdzv-id=run-7", "--local-addr=127.0.0.1"} <= set(words)
    assert any(word.startswith("--rdzv-conf=is_host=0") for word in words)
    first = entry.launch_arguments(described(), dataclasses.replace(PLACEMENT, node=0))
    assert any(word.startswith("--rdzv-conf=is_host=1") for word in first)


def test_one_machine_stands_alone() -> None:
    words = entry.launch_arguments(described(), dataclasses.replace(PLACEMENT, nodes=1, node=0))
    assert words == ["--standalone", "--nproc-per-node=1", "--max-restarts=3"]


def options(words: list[str]) -> dict[str, str]:
    """The options of a training by name, after the words that name it."""
    begin = words.index("--config_file")
    return dict(zip(words[begin::2], words[begin + 1 :: 2], strict=True))


@pytest.mark.parametrize("bundle", ["lumbar_unet_classifier", "lumbar_25d_grader", "image_classifier"])
def test_the_platforms_folders_become_those_of_the_bundle(bundle: str, tmp_path: Path) -> None:
    job = write("vertex", tmp_path / "job", bundle=bundle, settings=["epochs=7"])
    said = options(entry.training_arguments(job, tmp_path / "job", PLACEMENT, "/tmp/scratch/data"))
    assert said["--bundle_root"] == "/gcs/b/run"
    assert said["--dataset_dir"] == "/tmp/scratch/data"
    assert said["--ckpt_dir"] == "/gcs/b/run/checkpoints"
    assert said["--training_run#tensorboard#folder"] == "/gcs/b/run/logs"
    assert (said["--resume"], said["--epochs"]) == ("auto", "7")
    assert said.get("--cache_dir") == (None if bundle == "lumbar_unet_classifier" else "/tmp/scratch/cache")
    assert Path(json.loads(said["--config_file"].replace("'", '"'))[0]).is_file()
    assert Path(said["--logging_file"]).is_file()


def test_the_trained_bundle_does_not_claim_what_the_earlier_weights_learnt_from(tmp_path: Path) -> None:
    job = write("slurm", tmp_path / "job", bundle="lumbar_25d_grader")
    (tmp_path / "model.pt").write_bytes(b"trained")
    bundle = entry.export_bundle(job, tmp_path / "job", tmp_path / "model.pt", tmp_path / "model")
    assert trained_on(tmp_path / "job/lumbar_25d_grader") == "phantom"
    assert trained_on(bundle) is None
    assert (bundle / "models/model.pt").read_bytes() == b"trained"
    job = dataclasses.replace(job, trained_on="RSNA 2024")
    assert trained_on(entry.export_bundle(job, tmp_path / "job", tmp_path / "model.pt", tmp_path / "m")) == "RSNA 2024"


@pytest.fixture
def rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, str]]:
    """A job's folder, and the variables of its first machine, in whose place nothing is trained."""
    job = write("sagemaker", tmp_path / "job", nodes=2)
    environment = PLATFORMS["sagemaker"].rehearsal(job, 0, tmp_path / "storage", 4000)
    monkeypatch.setattr(entry, "_torchrun", lambda launch, training: 0)
    return tmp_path / "job", environment


def test_the_trained_bundle_lies_where_the_platform_takes_it_from(rehearsed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = rehearsed
    weights = Path(environment["SPINE_ML_ROOT"]) / "checkpoints/model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"trained")
    assert entry.run_job(folder, environment) == 0
    model = Path(environment["SM_MODEL_DIR"]) / "lumbar_unet_classifier/models/model.pt"
    assert model.read_bytes() == b"trained"


def test_a_platform_with_another_number_of_machines_is_refused(rehearsed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = rehearsed
    hosts = {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"}
    with pytest.raises(InvalidOptionError, match="a job for 2 machines, but the platform has 1"):
        entry.run_job(folder, {**environment, **hosts})


@pytest.mark.parametrize("words", [[], ["no_such_folder"]])
def test_bad_arguments_end_with_one_line_and_2(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["entry", *words])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: expected")
