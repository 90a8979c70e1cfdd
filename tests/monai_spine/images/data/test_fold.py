"""What a training's configuration asks of a datalist with one fold held out."""

import json
from pathlib import Path

import pytest

from monai_spine.errors import InvalidTableError
from monai_spine.images.data.datalist import Task, read_image_datalist
from monai_spine.images.data.fold import ImageFold
from tests.monai_spine.images.pictures import write_dataset


@pytest.mark.parametrize("task", list(Task))
def test_a_fold_is_held_out_of_a_datalist_of_any_task(tmp_path: Path, task: Task) -> None:
    datalist = write_dataset(tmp_path, task) / "datalist.json"
    images, whole = ImageFold(datalist, 1), read_image_datalist(datalist)
    assert (images.training, images.validation) == whole.split(1)
    assert {record["fold"] for record in images.validation} == {1}
    assert images.classes == list(whole.classes)
    assert (images.task, images.multilabel) == (task.value, task is Task.MULTILABEL)
    assert images.key_metric == ("mean_auc" if task is Task.MULTILABEL else "balanced_accuracy")
    assert (images.channels, images.channel_names) == (3, ())


def test_files_of_an_image_are_channels_with_numbers_for_names_unless_they_have_some(tmp_path: Path) -> None:
    datalist = write_dataset(tmp_path, Task.BINARY) / "datalist.json"
    content = json.loads(datalist.read_text())
    for entry in (*content["training"], *content["test"]):
        entry["image"] *= 2
    datalist.write_text(json.dumps(content))
    assert (ImageFold(datalist, 0).channels, ImageFold(datalist, 0).channel_names) == (2, ("0", "1"))
    datalist.write_text(json.dumps({**content, "channels": ["nucleus", "threads"]}))
    assert ImageFold(datalist, 0).channel_names == ("nucleus", "threads")


def test_a_fold_that_is_not_there_matters_only_to_those_who_ask_for_it(tmp_path: Path) -> None:
    images = ImageFold(write_dataset(tmp_path, Task.BINARY) / "datalist.json", 7)
    assert images.datalist.test
    with pytest.raises(InvalidTableError, match="fold 7"):
        _ = images.validation
