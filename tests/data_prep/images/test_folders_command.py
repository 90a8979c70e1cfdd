import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from data_prep.cli import app
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import Task, read_image_datalist
from tests.data_prep.images.picture_sets import picture, write_folders


def prepare(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["images", *map(str, arguments), "--quiet"], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def codes(out: Path) -> set[str]:
    return {finding["code"] for finding in report(out)["findings"]}


def test_every_image_of_a_class_folder_is_in_the_datalist_with_its_class(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data", {"glioma": 6, "none": 9, "pituitary": 7})
    assert prepare("folders", data, tmp_path / "out", "--folds", 3)[0] == 0
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, datalist.task) == (("glioma", "none", "pituitary"), Task.MULTICLASS)
    told = {record["image"][0]: datalist.classes[record["label"]] for record in datalist.training}
    assert told == {str(file): file.parent.name for file in data.rglob("*.png")}
    for fold in range(3):
        _, held = datalist.split(fold)
        assert sorted(np.bincount([record["label"] for record in held])) in ([2, 2, 3], [2, 2, 3], [2, 3, 3])


def test_paths_are_relative_and_survive_a_move_of_everything(tmp_path: Path) -> None:
    write_folders(tmp_path / "here/data", {"a": 4, "b": 4})
    prepare("folders", tmp_path / "here/data", tmp_path / "here/out", "--folds", 2)
    (tmp_path / "here").rename(tmp_path / "there")
    datalist = read_image_datalist(tmp_path / "there/out/datalist.json")
    assert all(record["image"][0].startswith(str(tmp_path / "there/data")) for record in datalist.training)


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("train", "test")])
def test_split_folders_are_taken_as_the_split(tmp_path: Path, train: str, test: str) -> None:
    data = write_folders(tmp_path, {f"{train}/a": 5, f"{train}/b": 5, f"{test}/a": 2, f"{test}/b": 3})
    prepare("folders", data, data / "out", "--folds", 2)
    datalist = read_image_datalist(data / "out/datalist.json")
    assert (len(datalist.training), len(datalist.test), datalist.task) == (10, 5, Task.BINARY)


def test_a_validation_folder_is_fold_0_with_whatever_belongs_to_it(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    Image.fromarray(picture(0)).save(data / "val/a/again.png")  # a copy of train/a/000.png
    prepare("folders", data, tmp_path / "out")
    held = {Path(r["image"][0]).name for r in read_image_datalist(tmp_path / "out/datalist.json").split(0)[1]}
    assert held == {"000.png", "again.png", "008.png", "009.png", "010.png", "011.png"}
    assert "MOVED_TO_VALIDATION" in codes(tmp_path / "out")


def leaking(root: Path) -> Path:
    data = write_folders(root, {"train/a": 6, "train/b": 6, "test/a": 3, "test/b": 3})
    Image.fromarray(picture(0)).save(data / "test/a/exact.tif")
    near = Image.fromarray(picture(7)).resize((90, 90), Image.Resampling.BICUBIC)
    near.save(data / "test/b/near.jpg", quality=60)
    return data


def test_copies_across_the_split_are_found_and_can_be_dropped(tmp_path: Path) -> None:
    data = leaking(tmp_path / "d")
    code, printed = prepare("folders", data, tmp_path / "kept", "--folds", 2)
    found = {(leak["training"], leak["test"], leak["copy"]) for leak in report(tmp_path / "kept")["leaks"]}
    assert found == {
        ("train/a/000.png", "test/a/exact.tif", "exact"),
        ("train/b/007.png", "test/b/near.jpg", "near"),
    }
    assert (code, "2 training images are copies of test images" in printed) == (0, True)
    prepare("folders", data, tmp_path / "dropped", "--folds", 2, "--drop-leaks")
    before, after = (read_image_datalist(tmp_path / name / "datalist.json") for name in ("kept", "dropped"))
    gone = {r["image"][0] for r in before.training} - {r["image"][0] for r in after.training}
    assert gone == {str(data / "train/a/000.png"), str(data / "train/b/007.png")}
    assert len(after.test) == len(before.test) == 8


def test_copies_never_stand_in_two_folds_and_contradicting_labels_are_told(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"a": 6, "b": 6})
    for n in range(4):
        Image.fromarray(picture(n)).save(data / "b" / f"copy{n}.png")
    prepare("folders", data, tmp_path / "out", "--folds", 4)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    fold = {Path(r["image"][0]).stem: r["fold"] for r in datalist.training}
    assert all(fold[f"copy{n}"] == fold[f"{n:03d}"] for n in range(4))
    assert "COPIES_DISAGREE" in codes(tmp_path / "out")


def test_images_that_cannot_be_read_are_left_out_and_end_with_3(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"a": 5, "b": 5})
    (data / "a/empty.png").write_bytes(b"")
    (data / "b/cut.png").write_bytes((data / "b/005.png").read_bytes()[:200])
    (data / "a/notes.txt").write_text("not an image")
    code, _ = prepare("folders", data, tmp_path / "out", "--folds", 2)
    refused = [f["images"] for f in report(tmp_path / "out")["findings"] if f["code"] == "UNREADABLE"]
    assert (code, sorted(refused)) == (3, [["a/empty.png"], ["b/cut.png"]])
    assert len(read_image_datalist(tmp_path / "out/datalist.json").training) == 10


def test_twelve_bits_in_files_of_sixteen_are_told(tmp_path: Path) -> None:
    write_folders(tmp_path / "in", {"a": 4, "b": 4})
    twelve = np.random.default_rng(0).integers(0, 4096, (20, 20)).astype(np.uint16)
    Image.fromarray(twelve).save(tmp_path / "in/a/ct.png")
    Image.new("L", (20, 20)).save(tmp_path / "in/b/black.png")
    prepare("folders", tmp_path / "in", tmp_path / "out")
    (found,) = (one for one in report(tmp_path / "out")["findings"] if one["code"] == "DARK_IMAGES")
    assert found["images"] == ["a/ct.png"]
    assert "--form#intensity percentiles" in found["advice"]


def test_a_mapping_merges_classes_and_an_empty_one_leaves_out(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"astrocytoma": 4, "glioma": 3, "normal": 5, "odd": 2})
    (tmp_path / "map.csv").write_text("folder,class\nastrocytoma,tumour\nglioma,tumour\nnormal,healthy\nodd,\n")
    prepare("folders", data, tmp_path / "out", "--mapping", tmp_path / "map.csv", "--holdout", 0.25)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, datalist.task) == (("healthy", "tumour"), Task.BINARY)
    assert [sum(r["label"] == n for r in datalist.training) for n in (0, 1)] == [5, 7]
    assert len(datalist.split(0)[1]) == 3


def test_patients_told_by_file_names_stay_together(tmp_path: Path) -> None:
    data = tmp_path / "d"
    for n in range(24):
        where = data / "ab"[n % 2]
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(n)).save(where / f"p{n // 4}_{n}.png")
    prepare("folders", data, tmp_path / "out", "--patient-pattern", "{patient}_*.png", "--folds", 3)
    folds: dict[str, set[int]] = {}
    for record in read_image_datalist(tmp_path / "out/datalist.json").training:
        folds.setdefault(record["group"], set()).add(record["fold"])
    assert sorted(folds) == [f"p{n}" for n in range(6)]
    assert all(len(numbers) == 1 for numbers in folds.values())


@pytest.mark.parametrize(
    ("folders", "options", "error", "message"),
    [
        ({"a": 3, "b": 1}, [], InvalidTableError, "'b' has 1"),
        ({"a": 3, "b": 0}, [], InvalidTableError, "none in b"),
        ({"Glioma": 3, "glioma": 3}, [], InvalidTableError, "'Glioma' and 'glioma'"),
        ({"a": 3}, [], InvalidTableError, "at least two classes"),
        ({"a": 3, "b": 3, "c": 3}, ["--classes", "a,b"], InvalidTableError, "but found c"),
        ({"train/a": 3, "train/b": 3, "test/c": 3}, [], InvalidTableError, "'c' has none"),
        ({"train/a": 3, "train/b": 3, "c": 3}, [], InvalidTableError, "found both"),
        ({"a": 3, "b": 3}, ["--test-dir", "held"], MissingInputError, "'held' of test images"),
        ({"a": 3, "b": 3}, ["--folds", 7], InvalidOptionError, "at most 6 folds"),
        ({"a": 3, "b": 3}, ["--folds", 2, "--holdout", 0.5], InvalidOptionError, "either --folds or --holdout"),
        ({"a": 3, "b": 3}, ["--holdout", 1], InvalidOptionError, "between 0 and 1"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    tmp_path: Path, folders: dict, options: list, error: type, message: str
) -> None:
    data = write_folders(tmp_path / "d", folders)
    with pytest.raises(error, match=message):
        prepare("folders", data, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_an_earlier_datalist_as_it_was(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"a": 3, "b": 3})
    prepare("folders", data, tmp_path / "out", "--folds", 2)
    before = (tmp_path / "out/datalist.json").read_bytes()
    with pytest.raises(InvalidOptionError):
        prepare("folders", data, tmp_path / "out", "--folds", 7)
    assert (tmp_path / "out/datalist.json").read_bytes() == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"datalist.json", "report.json"}


def test_the_same_seed_makes_the_same_datalist_with_any_number_of_workers(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"a": 12, "b": 12})
    for name, workers in (("one", 1), ("two", 2)):
        prepare("folders", data, tmp_path / name, "--workers", workers, "--seed", 3)
    one, two = ((tmp_path / name / "datalist.json").read_bytes() for name in ("one", "two"))
    assert one == two
