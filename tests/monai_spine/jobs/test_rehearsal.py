import json
from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.jobs.rehearsal import RehearsalError, rehearse, stage_subset
from tests.cohorts import write_cohort
from tests.monai_spine.jobs.jobs import write

TINY = (
    "network_def#channels=[4,8]",
    "network_def#strides=[2,2]",
    "grid_size=[4,16,24]",
    "grid_step=[12.0,8.0,6.0]",
    "batch_size=1",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=8).parent


def test_a_machine_that_fails_is_named_with_the_reason(data: Path, tmp_path: Path) -> None:
    write("slurm", tmp_path / "job")
    (tmp_path / "job/lumbar_unet_classifier/configs/train.json").unlink()
    with pytest.raises(RehearsalError, match=r"machine \d ended with exit code 1: FileNotFoundError.*the log is"):
        rehearse(tmp_path / "job", tmp_path / "out", data, studies=4, settings=TINY)


def test_a_part_of_a_data_set_has_studies_of_both_sides_and_their_volumes(data: Path, tmp_path: Path) -> None:
    stage_subset(data, tmp_path / "part", studies=4, fold=0)
    entries = json.loads((tmp_path / "part/datalist.json").read_text())["training"]
    assert sorted(entry["fold"] for entry in entries) == [0, 0, 1, 1]
    assert all((tmp_path / "part" / name).is_file() for entry in entries for name in entry["sagittal_t1"])
    assert len(list((tmp_path / "part").rglob("*.nii.gz"))) == 4 * 3


def test_data_that_are_elsewhere_are_asked_for(tmp_path: Path) -> None:
    write("vertex", tmp_path / "job")
    with pytest.raises(MissingInputError, match="name one on this machine with --data"):
        rehearse(tmp_path / "job", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_and_too_few_epochs_are_refused(data: Path, tmp_path: Path) -> None:
    write("vertex", tmp_path / "job")
    with pytest.raises(InvalidOptionError, match="exists"):
        rehearse(tmp_path / "job", tmp_path, data)
    with pytest.raises(InvalidOptionError, match="at least 3 epochs"):
        rehearse(tmp_path / "job", tmp_path / "out", data, epochs=2)
