import json
from pathlib import Path

import pytest
import yaml

from monai_spine.errors import MissingInputError
from monai_spine.jobs.description import Job, read_job
from monai_spine.jobs.placement import Placement
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms import PLATFORMS
from tests.monai_spine.jobs.jobs import write


def job(platform: str, nodes: int = 3) -> Job:
    places = {"vertex": ("gs://b/nifti", "gs://b/run"), "sagemaker": ("s3://b/nifti", "s3://b/run")}
    data, output = places.get(platform, ("/shared/nifti", "/shared/run"))
    return Job(platform, "a-job", "grader", (), data, output, nodes=nodes)


def placed(platform: str, environment: dict[str, str]) -> Placement:
    return PLATFORMS[platform].placement(job(platform), environment)


def cluster(pool: int, index: int) -> str:
    pools = {"workerpool0": ["host-a:2222"], "workerpool1": ["host-b:2222", "host-c:2222"]}
    return json.dumps({"cluster": pools, "environment": "cloud", "task": {"type": f"workerpool{pool}", "index": index}})


@pytest.mark.parametrize(("pool", "index", "node"), [(0, 0, 0), (1, 0, 1), (1, 1, 2)])
def test_vertex_ai_numbers_machines_through_its_pools(pool: int, index: int, node: int) -> None:
    environment = {
        "CLUSTER_SPEC": cluster(pool, index),
        "AIP_MODEL_DIR": "gs://b/run/model/",
        "AIP_CHECKPOINT_DIR": "gs://b/run/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": "gs://b/run/logs/",
    }
    placement = placed("vertex", environment)
    assert (placement.nodes, placement.node, placement.master) == (3, node, "host-a:2222")
    assert placement.data == "/gcs/b/nifti"
    assert placement.output == Path("/gcs/b/run")
    assert placement.checkpoints == Path("/gcs/b/run/checkpoints")
    assert placement.tensorboard == Path("/gcs/b/run/logs")
    assert placement.model == Path("/gcs/b/run/model")


@pytest.mark.parametrize("current", ["algo-1", "algo-2", "algo-10"])
def test_sagemaker_numbers_its_hosts(current: str, tmp_path: Path) -> None:
    hosts = ["algo-1", "algo-10", "algo-2"]
    said = {"SM_HOSTS": json.dumps(hosts), "SM_CURRENT_HOST": current, "SM_CHANNEL_TRAINING": "/opt/ml/input/data/t"}
    placement = placed("sagemaker", {**said, "SM_MODEL_DIR": "/opt/ml/model"})
    node = ["algo-1", "algo-2", "algo-10"].index(current)
    assert (placement.nodes, placement.node, placement.master) == (3, node, "algo-1:29400")
    assert (placement.data, placement.copies_data) == ("/opt/ml/input/data/t", False)
    assert placement.checkpoints == Path("/opt/ml/checkpoints")
    assert placement.model == Path("/opt/ml/model")
    # an image without SageMaker's toolkit gets a file in place of the variables
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/resourceconfig.json").write_text(json.dumps({"hosts": hosts, "current_host": current}))
    assert placed("sagemaker", {"SPINE_ML_ROOT": str(tmp_path)}).node == node


def test_azureml_exports_the_mounted_folders() -> None:
    environment = {
        **{"WORLD_SIZE": "3", "NODE_RANK": "2", "RANK": "2", "MASTER_ADDR": "10.0.0.4", "MASTER_PORT": "6105"},
        **{"AZUREML_RUN_ID": "run-1", "SPINE_DATA": "/mnt/d", "SPINE_OUTPUT": "/mnt/o"},
    }
    placement = placed("azureml", environment)
    assert (placement.nodes, placement.node, placement.master, placement.run) == (3, 2, "10.0.0.4:6105", "run-1")
    assert (placement.data, placement.output) == ("/mnt/d", Path("/mnt/o"))


def test_kubernetes_sets_torchruns_variables() -> None:
    said = {"PET_NNODES": "3", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "job-node-0-0.job", "PET_MASTER_PORT": "29500"}
    placement = placed("kubernetes", said)
    assert (placement.nodes, placement.node, placement.master) == (3, 1, "job-node-0-0.job:29500")
    assert placement.output == Path("/shared/run")


def test_slurm_numbers_its_nodes_and_has_a_disk_for_each_job() -> None:
    said = {"SLURM_NNODES": "3", "SLURM_NODEID": "2", "SLURM_JOB_ID": "77", "SLURM_TMPDIR": "/local/77"}
    placement = placed("slurm", {**said, "MASTER_ADDR": "gpu01", "MASTER_PORT": "29477"})
    assert (placement.nodes, placement.node, placement.master) == (3, 2, "gpu01:29477")
    assert (placement.run, placement.scratch) == ("slurm-77", Path("/local/77"))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_machine_elsewhere_is_told_which_variable_is_missing(platform: str) -> None:
    with pytest.raises(MissingInputError, match=r"expected (the environment variable )?\w+"):
        placed(platform, {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cluster": {}, "task": {}}', cluster(2, 0)])
def test_another_cluster_spec_is_refused(text: str) -> None:
    with pytest.raises(MissingInputError, match="CLUSTER_SPEC"):
        placed("vertex", {"CLUSTER_SPEC": text, "AIP_MODEL_DIR": "gs://b/run/model/"})


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_rehearsal_stays_in_its_folder_and_places_each_machine(platform: str, tmp_path: Path) -> None:
    for node in range(3):
        placement = placed(platform, PLATFORMS[platform].rehearsal(job(platform), node, tmp_path, 4000))
        assert (placement.nodes, placement.node, placement.master) == (3, node, "127.0.0.1:4000")
        places = (placement.data, placement.output, placement.checkpoints, placement.tensorboard, placement.model)
        assert all(Path(str(place)).is_relative_to(tmp_path) for place in places)


def test_the_specification_of_vertex_ai_names_the_folder_that_its_machines_see(tmp_path: Path) -> None:
    write("vertex", tmp_path / "job", nodes=3, accelerator="L4:2", spot=True)
    spec = json.loads((tmp_path / "job/vertex.json").read_text())["jobSpec"]
    first, others = spec["workerPoolSpecs"]
    assert (first["replicaCount"], others["replicaCount"]) == (1, 2)
    assert first["containerSpec"] == others["containerSpec"]
    assert first["containerSpec"]["args"] == ["/gcs/b/run/job"]
    assert first["machineSpec"] == {
        "machineType": "g2-standard-24",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 2,
    }
    assert (spec["scheduling"]["strategy"], spec["scheduling"]["timeout"]) == ("SPOT", "86400s")


def test_spot_machines_of_kubernetes_are_chosen_by_their_label(tmp_path: Path) -> None:
    write(
        "kubernetes", tmp_path / "job", spot=True, own={"claim": "c", "spot-label": "karpenter.sh/capacity-type=spot"}
    )
    spec = yaml.safe_load((tmp_path / "job/kubernetes.yaml").read_text())["spec"]
    (replicated,) = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = replicated["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"karpenter.sh/capacity-type": "spot"}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "c"}


def test_the_script_of_slurm_asks_for_what_the_job_needs(tmp_path: Path) -> None:
    write("slurm", tmp_path / "job", nodes=2, accelerator="H100:8", timeout="36h", own={"partition": "gpu"})
    script = (tmp_path / "job/slurm.sh").read_text()
    for option in ("nodes=2", "ntasks-per-node=1", "gpus-per-node=h100:8", "time=1-12:00:00", "partition=gpu"):
        assert f"#SBATCH --{option}\n" in script
    assert read_job(tmp_path / "job").processes == 8


def test_offers_name_the_platforms() -> None:
    assert set(OFFERS) == set(PLATFORMS)
    assert all(set(offer.required) <= set(offer.options) for offer in OFFERS.values())
