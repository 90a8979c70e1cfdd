import json
from pathlib import Path

import pytest
import torch

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import Task, read_image_datalist
from monai_spine.images.evaluation.inputs import find_images, labelled, report_refused
from monai_spine.images.training.model_description import ModelDescription, read_description, write_description
from tests.monai_spine.images.pictures import write_dataset, write_pictures

PLAIN = ModelDescription(classes=("a", "b", "c"), task="multiclass")


def test_a_folder_is_searched_in_depth_without_what_is_hidden_or_no_image(tmp_path: Path) -> None:
    write_pictures(tmp_path / "b" / "deep", 2)
    write_pictures(tmp_path / "a", 1)
    write_pictures(tmp_path / ".hidden", 1)
    (tmp_path / "notes.txt").write_text("no image")
    found = [Path(record["image"][0]).relative_to(tmp_path).as_posix() for record in find_images(tmp_path, PLAIN)]
    assert found == ["a/000.png", "b/deep/000.png", "b/deep/001.png"]
    assert find_images(tmp_path / "a" / "000.png", PLAIN)[0]["label"] == -1


def test_a_datalist_gives_the_section_asked_for(tmp_path: Path) -> None:
    write_dataset(tmp_path, Task.MULTICLASS)
    assert len(find_images(tmp_path, PLAIN)) == 6
    assert len(find_images(tmp_path / "datalist.json", PLAIN, "training")) == 24
    with pytest.raises(InvalidOptionError, match="training, test"):
        find_images(tmp_path, PLAIN, "validation")
    datalist = read_image_datalist(tmp_path / "datalist.json")
    assert len(labelled(datalist, "validation", 1)) == 12
    assert len(labelled(datalist, "test", 1)) == 6
    for record in datalist.test:
        record["label"] = -1
    with pytest.raises(InvalidTableError, match="no images with labels under 'test'"):
        labelled(datalist, "test", 0)


def test_a_classifier_of_several_files_an_image_needs_a_datalist_of_as_many(tmp_path: Path) -> None:
    several = ModelDescription(channel_names=("nucleus", "microtubules"), channels=2)
    write_dataset(tmp_path, Task.MULTICLASS)
    with pytest.raises(InvalidOptionError, match="nucleus, microtubules"):
        find_images(tmp_path / "pictures", several)
    with pytest.raises(InvalidTableError, match="expected 2 files an image"):
        find_images(tmp_path, several)


def test_nothing_to_look_at_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="but there is no"):
        find_images(tmp_path / "none", PLAIN)
    with pytest.raises(MissingInputError, match="found none"):
        find_images(tmp_path, PLAIN)


def test_refused_images_end_with_exit_code_three(tmp_path: Path) -> None:
    report_refused({}, tmp_path)
    with pytest.raises(SystemExit) as caught:
        report_refused({("a.png",): MissingInputError("gone")}, tmp_path)
    assert caught.value.code == 3


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    given = ModelDescription(
        task="multilabel", classes=("ä", "b"), backbone="test_vit", hidden=(4,), pixels=(32, 48), fit="crop", channels=2
    )
    write_description(tmp_path / "model.pt", given)
    assert read_description(tmp_path / "model.pt") == given
    assert given.form.pixels == (32, 48)
    assert given.network()(torch.rand(1, 2, 32, 48)).shape == (1, 2)


def test_weights_without_their_description_are_no_default(tmp_path: Path) -> None:
    assert read_description(tmp_path / "model.pt") == ModelDescription()
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(MissingInputError, match=r"expected model\.json beside"):
        read_description(tmp_path / "model.pt")
    for wrong in ("no json", "[]", json.dumps({"schema": "another"}), json.dumps({"schema": "x", "colour": 1})):
        (tmp_path / "model.json").write_text(wrong)
        with pytest.raises(InvalidTableError):
            read_description(tmp_path / "model.pt")


def test_classes_in_another_order_are_other_classes() -> None:
    PLAIN.check(task="multiclass", classes=["a", "b", "c"], path="w.pt")
    with pytest.raises(InvalidTableError, match="b, a, c"):
        PLAIN.check(task="multiclass", classes=["b", "a", "c"], path="w.pt")
