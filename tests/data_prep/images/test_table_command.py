from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import Task, read_image_datalist
from tests.data_prep.images.picture_sets import picture
from tests.data_prep.images.test_folders_command import codes, prepare, report


def chest(root: Path, images: int = 12) -> tuple[Path, pd.DataFrame]:
    """A set in the layout of the NIH's: pictures in numbered folders, findings joined by bars, two images a patient."""
    findings = ["No Finding", "Effusion", "Cardiomegaly|Effusion", "Mass"]
    rows = []
    for n in range(images):
        folder = root / f"images_{n % 2:03d}/images"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(n)).save(folder / f"{n // 2:08d}_{n % 2:03d}.png")
        rows.append(
            {"Image Index": f"{n // 2:08d}_{n % 2:03d}.png", "Finding Labels": findings[n % 4], "Patient ID": n // 2}
        )
    table = pd.DataFrame(rows)
    table.to_csv(root / "entries.csv", index=False)
    return root / "entries.csv", table


NIH = ("--image-column", "Image Index", "--labels-column", "Finding Labels", "--patient-column", "Patient ID")


def test_joined_labels_become_a_number_per_class_and_patients_stay_together(tmp_path: Path) -> None:
    csv, table = chest(tmp_path / "nih")
    prepare("table", csv, tmp_path / "out", *NIH, "--folds", 3)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, datalist.task) == (("Cardiomegaly", "Effusion", "Mass"), Task.MULTILABEL)
    told = {Path(r["image"][0]).name: r for r in datalist.training}
    for row in table.to_dict("records"):
        names = {name for name, value in zip(datalist.classes, told[row["Image Index"]]["label"], strict=True) if value}
        assert names == set(row["Finding Labels"].split("|")) - {"No Finding"}
        assert told[row["Image Index"]]["group"] == str(row["Patient ID"])


def test_official_lists_make_the_sections_and_a_patient_in_both_is_told_and_dropped(tmp_path: Path) -> None:
    csv, table = chest(tmp_path / "nih")
    names = list(table["Image Index"])
    (tmp_path / "train.txt").write_text("\n".join(names[:7]))  # the fourth patient has an image in each
    (tmp_path / "test.txt").write_text("\n".join(names[7:10]) + "\n")
    lists = ("--train-list", tmp_path / "train.txt", "--test-list", tmp_path / "test.txt", "--folds", 2)
    prepare("table", csv, tmp_path / "out", *NIH, *lists)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (len(datalist.training), len(datalist.test)) == (7, 3)
    assert codes(tmp_path / "out") >= {"PATIENT_IN_TEST", "LEFT_OUT"}
    prepare("table", csv, tmp_path / "dropped", *NIH, *lists, "--drop-leaks")
    after = read_image_datalist(tmp_path / "dropped/datalist.json")
    assert {r["group"] for r in after.training}.isdisjoint({r["group"] for r in after.test})
    assert len(after.training) == 6


def test_missing_files_are_all_listed_or_counted(tmp_path: Path) -> None:
    csv, _ = chest(tmp_path / "nih")
    for name in ("00000000_000.png", "00000003_001.png"):
        next(tmp_path.rglob(name)).unlink()
    with pytest.raises(MissingInputError, match=r"2 images missing[\s\S]*00000000_000.png[\s\S]*00000003_001.png"):
        prepare("table", csv, tmp_path / "out", *NIH)
    assert not (tmp_path / "out").exists()
    assert prepare("table", csv, tmp_path / "out", *NIH, "--skip-missing", "--folds", 2)[0] == 3
    assert report(tmp_path / "out")["counts"]["missing"] == 2


def flat(root: Path, content: str) -> Path:
    root.mkdir()
    for n in range(6):
        Image.fromarray(picture(n)).save(root / f"{n}.png")
    (root / "t.csv").write_text(content)
    return root / "t.csv"


def test_columns_of_flags_are_labels_and_empty_cells_are_unknown(tmp_path: Path) -> None:
    csv = flat(tmp_path / "d", "image,edema,mass\n0.png,1,0\n1.png,0,\n2.png,1.0,1\n3.png,-1,0\n4.png,0,1\n5.png,0,0\n")
    prepare("table", csv, tmp_path / "out", "--label-column", "edema", "--label-column", "mass", "--folds", 2)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, datalist.task) == (("edema", "mass"), Task.MULTILABEL)
    assert [r["label"] for r in datalist.training] == [[1, 0], [0, -1], [1, 1], [-1, 0], [0, 1], [0, 0]]


def test_classes_given_are_numbered_in_their_order(tmp_path: Path) -> None:
    csv = flat(tmp_path / "d", "image,label\n" + "".join(f"{n},{'xy'[n % 2]}\n" for n in range(6)))
    prepare("table", csv, tmp_path / "out", "--label-column", "label", "--classes", "y,x", "--folds", 2)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, [r["label"] for r in datalist.training]) == (("y", "x"), [1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (
            "image,label\n0.png,x\n1.png,z\n",
            ["--label-column", "label", "--classes", "x,y"],
            InvalidTableError,
            "found z",
        ),
        ("image,label\n0.png,x\n1.png,\n", ["--label-column", "label"], InvalidTableError, "row 3: no label"),
        (
            "image,label\n0.png,x\n0.png,y\n",
            ["--label-column", "label"],
            InvalidTableError,
            "0.png is listed 2 times",
        ),
        ("image,label\n0.png,x\n", ["--label-column", "grade"], MissingInputError, "expected the columns grade"),
        ("image,label\n0.png,x\n", [], InvalidOptionError, "either --label-column"),
        ("image,a,b\n0.png,1,2\n", ["--label-column", "a", "--label-column", "b"], InvalidTableError, "b is '2'"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, content: str, options: list, error: type, message: str) -> None:
    csv = flat(tmp_path / "d", content)
    with pytest.raises(error, match=message):
        prepare("table", csv, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
