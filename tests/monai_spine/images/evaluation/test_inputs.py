from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import Task
from monai_spine.images.data.fold import ImageFold
from monai_spine.images.evaluation.inputs import find_images, labelled_images, report_refused
from monai_spine.images.network.model_description import ClassifierDescription
from tests.monai_spine.images.pictures import write_dataset, write_pictures

PLAIN = ClassifierDescription(classes=("a", "b", "c"), task="multiclass")


def test_a_folder_is_searched_in_depth_but_for_hidden_and_other_files(tmp_path: Path) -> None:
    write_pictures(tmp_path / "b" / "deep", 2)
    write_pictures(tmp_path / "a", 1)
    write_pictures(tmp_path / ".hidden", 1)
    (tmp_path / "notes.txt").write_text("no image")
    paths = [Path(record["image"][0]).relative_to(tmp_path).as_posix() for record in find_images(tmp_path, PLAIN)]
    assert paths == ["a/000.png", "b/deep/000.png", "b/deep/001.png"]
    assert find_images(tmp_path / "a" / "000.png", PLAIN)[0]["label"] == -1


def test_a_section_of_a_datalist_can_be_chosen(tmp_path: Path) -> None:
    write_dataset(tmp_path, Task.MULTICLASS)
    assert len(find_images(tmp_path, PLAIN)) == 6
    assert len(find_images(tmp_path / "datalist.json", PLAIN, "training")) == 24
    with pytest.raises(InvalidOptionError, match="training, test"):
        find_images(tmp_path, PLAIN, "validation")
    images = ImageFold(tmp_path / "datalist.json", 1)
    assert len(labelled_images(images, "validation")) == 12
    assert len(labelled_images(images, "test")) == 6
    for record in images.datalist.test:
        record["label"] = -1
    with pytest.raises(InvalidTableError, match="no images with labels under 'test'"):
        labelled_images(images, "test")


def test_a_classifier_of_several_files_an_image_needs_a_datalist_of_as_many(tmp_path: Path) -> None:
    several = ClassifierDescription(channel_names=("nucleus", "microtubules"), channels=2)
    write_dataset(tmp_path, Task.MULTICLASS)
    with pytest.raises(InvalidOptionError, match="nucleus, microtubules"):
        find_images(tmp_path / "pictures", several)
    with pytest.raises(InvalidTableError, match="expected 2 files an image"):
        find_images(tmp_path, several)


def test_an_empty_or_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="but there is no"):
        find_images(tmp_path / "none", PLAIN)
    with pytest.raises(MissingInputError, match="found none"):
        find_images(tmp_path, PLAIN)


def test_refused_images_end_with_exit_code_three(tmp_path: Path) -> None:
    report_refused({}, tmp_path)
    with pytest.raises(SystemExit) as caught:
        report_refused({("a.png",): MissingInputError("gone")}, tmp_path)
    assert caught.value.code == 3
