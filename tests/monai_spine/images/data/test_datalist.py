import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_spine.data.datalist import split_folds
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import (
    ImageDatalist,
    Task,
    read_image_datalist,
    write_image_datalist,
)


def touched(root: Path, names: list[str]) -> list[str]:
    files = [root / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return [str(file) for file in files]


def written(root: Path, **changes: object) -> Path:
    files = touched(root, ["a.png", "b.png", "c.png"])
    content = {
        "schema": "monai_spine/datalist/1",
        "classes": ["x", "y", "z"],
        "training": [{"image": [Path(file).name], "label": n, "fold": n % 2} for n, file in enumerate(files)],
    }
    path = root / "datalist.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_is_read_back(tmp_path: Path, data: st.DataObject) -> None:
    classes = data.draw(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
    task = data.draw(st.sampled_from([Task.MULTILABEL, Task.BINARY if len(classes) == 2 else Task.MULTICLASS]))
    label = (
        st.lists(st.sampled_from([1, 0, -1]), min_size=len(classes), max_size=len(classes)).filter(
            lambda v: max(v) >= 0
        )
        if task is Task.MULTILABEL
        else st.integers(0, len(classes) - 1)
    )
    files = touched(tmp_path, [f"d/{n} ü.png" for n in range(6)])
    records = [
        {"image": [file], "label": data.draw(label), "group": data.draw(st.text()) + str(n), "fold": n % 2}
        for n, file in enumerate(files)
    ]
    test = [{**record, "fold": None} for record in records[4:]]
    given_list = ImageDatalist(tuple(classes), task, records[:4], test)
    write_image_datalist(tmp_path / "out/datalist.json", given_list)
    assert read_image_datalist(tmp_path / "out/datalist.json") == given_list


def test_a_datalist_without_groups_has_each_image_for_itself(tmp_path: Path) -> None:
    datalist = read_image_datalist(written(tmp_path))
    assert len({record["group"] for record in datalist.training}) == 3
    assert (datalist.task, datalist.test, datalist.channels) == (Task.MULTICLASS, [], ())


def test_a_datalist_is_read_through_a_link(tmp_path: Path) -> None:
    path = written(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_image_datalist(tmp_path / "link/datalist.json") == read_image_datalist(path)


ONE = {"image": ["a.png"], "label": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": [{**ONE, "label": 3}]}, "expected label as a number from 0 to 2, but found 3"),
        ({"training": [{**ONE, "label": True}]}, "expected label as a number"),
        ({"training": [{**ONE, "label": [1, 0]}]}, "expected label as 3 numbers"),
        ({"training": [{**ONE, "label": [1, 0, 2]}]}, "expected label as 3 numbers"),
        ({"training": [{**ONE, "label": [1, 0, 0]}], "task": "multiclass"}, "expected labels of the task 'multiclass'"),
        ({"task": "binary"}, "expected two classes"),
        ({"task": "regression"}, "expected a task out of"),
        ({"training": [{"image": ["a.png"]}]}, "expected a label for every image"),
        ({"training": [{**ONE, "image": "a.png"}]}, "expected image as a list"),
        ({"training": [{**ONE, "fold": "0"}]}, "expected fold as an integer"),
        ({"training": [ONE, ONE]}, "is listed twice"),
        ({"training": [{**ONE, "image": ["a.png", "b.png"]}, {**ONE, "image": ["c.png"]}]}, "expected 2 files"),
        (
            {"training": [{**ONE, "group": "p", "fold": 0}, {"image": ["b.png"], "label": 1, "group": "p", "fold": 1}]},
            "group p",
        ),
        ({"classes": ["x", "x"]}, "different names"),
        ({"training": [], "test": []}, "found none"),
        ({"schema": "other/1"}, "expected the schema"),
    ],
)
def test_what_breaks_the_format_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InvalidTableError, match=message):
        read_image_datalist(written(tmp_path, **changes))


def test_images_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "b.png").unlink()
    with pytest.raises(MissingInputError, match=r"there is no image .*b\.png"):
        read_image_datalist(path)


def test_a_fold_is_what_the_others_are_not(tmp_path: Path) -> None:
    records = read_image_datalist(written(tmp_path)).training
    training, validation = split_folds(records, 0)
    assert ([r["label"] for r in training], [r["label"] for r in validation]) == ([1], [0, 2])
    with pytest.raises(InvalidTableError, match=r"the folds are \[0, 1\]"):
        split_folds(records, 2)
    with pytest.raises(InvalidTableError, match="1 group with images both in fold 0 and outside"):
        split_folds([{**record, "group": "p" if n else "q"} for n, record in enumerate(records)], 0)
