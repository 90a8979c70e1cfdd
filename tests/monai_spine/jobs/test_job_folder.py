import json
import subprocess
from pathlib import Path

import pytest
import yaml

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.jobs.description import read_job
from monai_spine.jobs.job_folder import check_job_folder
from monai_spine.jobs.platforms import PLATFORMS
from tests.monai_spine.jobs.jobs import GPUS, REQUESTS, write

SLOW = {"vertex", "azureml"}
ALL = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PLATFORMS]


@pytest.mark.parametrize("platform", ALL)
def test_the_vendors_types_accept_what_is_written(platform: str, tmp_path: Path) -> None:
    write(platform, tmp_path / "plain", check=True)
    everything = {
        "nodes": 3,
        "spot": platform != "slurm",
        "timeout": "12h",
        "settings": ["epochs=3"],
        "max_restarts": 0,
    }
    job = write(platform, tmp_path / "job", check=True, accelerator=GPUS[platform], **everything)
    assert read_job(tmp_path / "job") == job
    assert (job.timeout, job.settings) == (43200, {"epochs": "3"})


def edit(folder: Path, changes: dict) -> None:
    """Change entries of a specification, named by their path."""
    path = folder / PLATFORMS[read_job(folder).platform].file
    content = yaml.safe_load(path.read_text())
    for place, value in changes.items():
        *above, last = place.split(".")
        part = content
        for name in above:
            part = part[int(name)] if isinstance(part, list) else part[name]
        if value is None:
            del part[last]
        else:
            part[last] = value
    path.write_text(json.dumps(content))


POOL = "jobSpec.workerPoolSpecs.0"


@pytest.mark.parametrize(
    ("platform", "changes", "fault"),
    [
        ("vertex", {f"{POOL}.machineSpec.acceleratorType": "NVIDIA_L5"}, "NVIDIA_L5"),
        ("vertex", {f"{POOL}.machineSpec.machineType": "n1-standard-8"}, "cannot have NVIDIA_L4"),
        ("vertex", {f"{POOL}.replicaCount": 2}, "replicaCount of 1"),
        ("vertex", {"jobSpec.no_such": 1}, "no_such"),
        ("vertex", {f"{POOL}.pythonPackageSpec": {"pythonModule": "x"}}, "both containerSpec and pythonPackageSpec"),
        ("azureml", {"no_such": 1}, "no_such"),
        ("azureml", {"distribution.type": "torch"}, "distribution"),
        ("azureml", {"environment": None}, "environment with an image"),
    ],
)
@pytest.mark.slow
def test_slow_vendors_refuse_edited_specifications(platform: str, changes: dict, fault: str, tmp_path: Path) -> None:
    refused(platform, changes, fault, tmp_path)


@pytest.mark.parametrize(
    ("platform", "changes", "fault"),
    [
        ("kubernetes", {"spec.runtimeRef": None}, "runtimeRef"),
        ("kubernetes", {"spec.trainer.no_such": 1}, "trainer.no_such, which it does not know"),
        ("kubernetes", {"spec.trainer.numNodes": "two"}, "numNodes"),
        ("kubernetes", {"kind": "PyTorchJob"}, "expected a TrainJob"),
        ("sagemaker", {"RoleArn": None}, "RoleArn"),
        ("sagemaker", {"RoleArn": "me"}, "RoleArn"),
        ("sagemaker", {"no_such": 1}, "no_such"),
        ("sagemaker", {"ResourceConfig.InstanceType": "ml.p9"}, "ml.p9"),
        ("sagemaker", {"ResourceConfig.InstanceCount": "two"}, "InstanceCount"),
        ("sagemaker", {"RetryStrategy.MaximumRetryAttempts": 31}, "31 is more than 30"),
        ("sagemaker", {"AlgorithmSpecification.AlgorithmName": "a"}, "both TrainingImage and AlgorithmName"),
    ],
)
def test_vendors_refuse_edited_specifications(platform: str, changes: dict, fault: str, tmp_path: Path) -> None:
    refused(platform, changes, fault, tmp_path)


def refused(platform: str, changes: dict, fault: str, tmp_path: Path) -> None:
    write(platform, tmp_path / "job", accelerator=GPUS[platform])
    edit(tmp_path / "job", changes)
    with pytest.raises(InvalidTableError) as caught:
        check_job_folder(tmp_path / "job")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "fault"), [("#SBATCH --gpus-per-nod=8", "gpus-per-nod"), ("if then", "no shell script")]
)
def test_an_edited_script_of_slurm_is_refused(line: str, fault: str, tmp_path: Path) -> None:
    write("slurm", tmp_path / "job")
    script = tmp_path / "job" / "slurm.sh"
    script.write_text(f"{script.read_text()}{line}\n")
    with pytest.raises(InvalidTableError, match=fault):
        check_job_folder(tmp_path / "job")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_commands_that_submit_are_a_shell_script(platform: str, tmp_path: Path) -> None:
    write(platform, tmp_path / "job")
    subprocess.run(["sh", "-n", str(tmp_path / "job/submit.sh")], check=True)
    assert PLATFORMS[platform].file in (tmp_path / "job/submit.sh").read_text()


@pytest.mark.parametrize(
    ("platform", "changes", "fault"),
    [
        ("vertex", {"package": Path("a.whl")}, "either --image or --package, but found both"),
        ("vertex", {"image": None}, "give --image"),
        ("vertex", {"image": None, "package": Path("a.whl")}, "--package needs --base-image"),
        ("vertex", {"image": None, "package": Path("no.whl"), "base_image": "p"}, "expected --package as a wheel"),
        ("vertex", {"base_image": "p"}, "--base-image is the image that installs --package"),
        ("vertex", {"data": "s3://b/x"}, "Vertex AI: expected --data as gs://bucket/folder, but found 's3://b/x'"),
        ("vertex", {"output": "run"}, "expected --output as gs://"),
        ("vertex", {"own": {}}, "Vertex AI needs --region"),
        ("vertex", {"data": None}, "trains on a datalist; name its folder with --data"),
        ("vertex", {"accelerator": "L4:3"}, "no machine with 3 × L4"),
        ("vertex", {"settings": ["epoch=3"]}, "no setting 'epoch'; did you mean 'epochs'"),
        ("vertex", {"settings": ["resume=False"]}, "resume is set by the command itself"),
        ("vertex", {"bundle": "no_such"}, "expected a bundle's folder or name, but found 'no_such'"),
        ("vertex", {"presets": [Path("no_such")]}, "no_such.json"),
        ("kubernetes", {"data": "gs://b/x"}, "expected --data as an absolute path"),
        ("sagemaker", {"data": "gs://b/x"}, "SageMaker: expected --data as s3://bucket/folder"),
        ("azureml", {"data": "/x"}, "expected --data as azureml://"),
        ("azureml", {"own": {"workspace": "w", "resource-group": "g", "compute": "c"}, "spot": True}, "--compute"),
        ("slurm", {"package": Path("a.whl")}, "name it with --python"),
        ("slurm", {"spot": True}, "Slurm has no --spot; choose machines with --partition or --qos"),
        ("slurm", {"disk_gb": 500}, "Slurm has no --disk-gb; choose machines with --partition or --qos"),
    ],
)
def test_impossible_jobs_are_refused_and_leave_nothing(
    platform: str, changes: dict, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.whl").touch()
    with pytest.raises((InvalidOptionError, MissingInputError)) as caught:
        write(platform, tmp_path / "job", **changes)
    assert fault in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]


def test_a_refused_check_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidTableError, match="InstanceType"):
        write("sagemaker", tmp_path / "job", check=True, machine="ml.p9")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_job_is_replaced_only_on_request(tmp_path: Path) -> None:
    write("slurm", tmp_path / "job")
    with pytest.raises(InvalidOptionError, match="exists; choose another folder with -o"):
        write("slurm", tmp_path / "job", nodes=2)
    write("slurm", tmp_path / "job", nodes=2, force=True)
    assert read_job(tmp_path / "job").nodes == 2
    (tmp_path / "mine").mkdir()
    with pytest.raises(InvalidOptionError, match="exists"):
        write("slurm", tmp_path / "mine", force=True)


def test_several_processes_get_the_configuration_for_them(tmp_path: Path) -> None:
    assert read_configs(tmp_path / "one", accelerator="L4") == ["train"]
    assert read_configs(tmp_path / "gpus", accelerator="L4:2") == ["train", "multi_gpu_train"]
    assert read_configs(tmp_path / "nodes", nodes=2) == ["train", "multi_gpu_train"]


def read_configs(folder: Path, **changes: object) -> list[str]:
    return [Path(config).stem for config in write("vertex", folder, **changes).configs]


def test_a_configuration_from_elsewhere_travels_with_the_job(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"batch_size": 1}')
    job = write("slurm", tmp_path / "job", presets=[tmp_path / "mine.json"])
    assert job.configs[1] == "configs/mine.json"
    assert (tmp_path / "job" / job.configs[1]).read_text() == '{"batch_size": 1}'


@pytest.mark.parametrize("platform", ["vertex", "kubernetes", "sagemaker", "azureml"])
def test_a_package_travels_with_the_job_and_is_installed(platform: str, tmp_path: Path) -> None:
    (tmp_path / "monai_spine-1.whl").touch()
    package = {"package": tmp_path / "monai_spine-1.whl", "image": None, "base_image": "python:3.12"}
    write(platform, tmp_path / "job", **package)
    assert (tmp_path / "job/monai_spine-1.whl").is_file()
    text = (tmp_path / "job" / PLATFORMS[platform].file).read_text()
    assert "monai_spine-1.whl" in text
    assert ("pip install" in text) != (platform == "vertex")  # which installs packages itself


def test_requests_of_tests_cover_all_platforms() -> None:
    assert set(REQUESTS) == set(PLATFORMS) == set(GPUS)
