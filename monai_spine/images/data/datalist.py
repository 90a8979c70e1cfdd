"""``datalist.json`` of single images: which files, which label, which fold; read strictly, written whole.

It has the schema of the studies' datalist, and ``classes`` where that has ``targets``::

    {"schema": "monai_spine/datalist/1", "task": "multiclass",
     "classes": ["glioma", "meningioma", "none"], "channels": [],
     "training": [{"image": ["../pictures/a.png"], "label": 2, "group": "patient 7", "fold": 0}],
     "test": []}

``image`` names one file, or a grey file per channel. ``label`` is the number of a class, or for several labels an image
a list with 1 or 0 for each class; `UNKNOWN` stands for what nobody labelled, and an image of the test section may lack
the label altogether. Images of one ``group`` (a patient, copies of one picture) never stand in two folds.
Paths in the file are relative to it; a record, a plain dictionary as MONAI takes it, holds absolute ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import SCHEMA
from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import write_text

UNKNOWN = -1
"""In the place of a label that nobody gave."""

Record = dict[str, Any]
Label = int | list[int]


class Task(str, Enum):
    """What there is to tell of an image."""

    BINARY = "binary"
    """Which of two classes."""
    MULTICLASS = "multiclass"
    """Which of several classes."""
    MULTILABEL = "multilabel"
    """Of each class, whether it is there."""


@dataclass(frozen=True)
class ImageDatalist:
    """A datalist of images.

    Attributes
    ----------
    classes
        Their names; a label counts them from 0.
    training, test
        Records: ``image`` (absolute paths as strings, as many for every image), ``label`` (an int, or for `MULTILABEL`
        a list of an int per class), ``group`` (a string) and ``fold`` (an int, or None).
    channels
        Names of the channels, where an image has a file for each; else empty.
    """

    classes: tuple[str, ...]
    task: Task
    training: list[Record]
    test: list[Record]
    channels: tuple[str, ...] = ()


def read_image_datalist(path: str | Path) -> ImageDatalist:
    """Read and check a datalist of images; every fault is found before the first few are named.

    Raises
    ------
    MissingInputError
        If the datalist, or an image that it names, is not there.
    InvalidTableError
        If it is not JSON, of another schema, breaks the format, has a label outside of the classes, an image twice, or
        a group in two folds.
    """
    path = Path(path)
    content = _read_content(path)
    classes = _names(path, content, "classes")
    sections = {name: _entries(path, content, name) for name in ("training", "test")}
    entries = [(f"{name} image {n}", entry) for name, some in sections.items() for n, entry in enumerate(some)]
    if not entries:
        raise InvalidTableError(f"{path}: expected images under 'training' or 'test', but found none")
    task = _task(path, content, classes, [entry for _, entry in entries])
    channels = _names(path, content, "channels") if content.get("channels") else ()
    faults = [fault for name, entry in entries for fault in _entry_faults(entry, name, task, classes)]
    faults = faults or _labels_missing(sections["training"]) + _uneven(entries, channels)
    _raise(InvalidTableError, path, faults)
    folder = os.path.realpath(path.parent)
    training, test = ([_record(entry, folder, task, len(classes)) for entry in some] for some in sections.values())
    _raise(InvalidTableError, path, [*_repeated([*training, *test]), *leaks(training)])
    absent = [file for record in (*training, *test) for file in record["image"] if not Path(file).is_file()]
    _raise(MissingInputError, path, [f"there is no image {file}" for file in absent])
    return ImageDatalist(classes, task, training, test, channels)


def write_image_datalist(path: Path, datalist: ImageDatalist) -> None:
    """Write a datalist, an image a line; paths become relative to its folder."""
    folder = os.path.realpath(path.parent)
    head = {
        "schema": SCHEMA,
        "task": datalist.task.value,
        "classes": list(datalist.classes),
        "channels": list(datalist.channels),
    }
    parts = [json.dumps(head, ensure_ascii=False)[:-1]]
    for name, records in (("training", datalist.training), ("test", datalist.test)):
        lines = ",".join(f"\n {json.dumps(_entry(record, folder), ensure_ascii=False)}" for record in records)
        parts.append(f',\n"{name}": [{lines}]')
    write_text(path, "".join(parts) + "}\n")


def split_folds(records: Sequence[Record], fold: int) -> tuple[list[Record], list[Record]]:
    """Images to train on, and those of the fold to validate on.

    Raises
    ------
    InvalidTableError
        If an image has no fold, a side would be empty, or a group would stand on both sides.
    """
    lacking = [record["image"][0] for record in records if record["fold"] is None]
    if lacking:
        raise InvalidTableError(f"expected a fold for every image, but {listed(lacking)} have none")
    training = [record for record in records if record["fold"] != fold]
    validation = [record for record in records if record["fold"] == fold]
    if not training or not validation:
        folds = sorted({record["fold"] for record in records})
        raise InvalidTableError(f"expected images inside and outside of fold {fold}, but the folds are {folds}")
    shared = sorted({record["group"] for record in training} & {record["group"] for record in validation})
    if shared:
        raise InvalidTableError(
            f"{len(shared)} groups have images both in fold {fold} and outside of it: {listed(shared)}; "
            "give all images of a group the same fold"
        )
    return training, validation


def leaks(training: Iterable[Record]) -> list[str]:
    """A sentence for each group in more than one fold of the training section.

    A group may stand in the test section as well: `data_prep images` reports that, and leaves official splits alone.
    """
    folds: dict[str, set[int | None]] = {}
    for record in training:
        folds.setdefault(record["group"], set()).add(record["fold"])
    return [
        f"group {group} stands in the folds {listed(sorted(map(str, numbers)))}; give it one"
        for group, numbers in folds.items()
        if len(numbers) > 1
    ]


def _read_content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingInputError(
            f"expected a datalist of images, but there is no file {path}; `python -m data_prep images` writes one"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InvalidTableError(f"{path} is not JSON: {err}") from err
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise InvalidTableError(f"{path}: expected the schema {SCHEMA!r}, but found {found!r}")
    if "classes" not in content:
        raise InvalidTableError(f"{path}: expected a datalist of images with 'classes', but found one of studies")
    return content


def _names(path: Path, content: dict[str, Any], key: str) -> tuple[str, ...]:
    names = content[key]
    if not (isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)):
        raise InvalidTableError(f"{path}: expected {key} as a list of names, but found {names!r}")
    if len(set(names)) < len(names):
        raise InvalidTableError(f"{path}: expected {key} of different names, but found {names}")
    return tuple(names)


def _entries(path: Path, content: dict[str, Any], section: str) -> list[Any]:
    entries = content.get(section, [])
    if not isinstance(entries, list):
        raise InvalidTableError(f"{path}: expected a list of images under {section!r}")
    return entries


def _task(path: Path, content: dict[str, Any], classes: Sequence[str], entries: Sequence[Any]) -> Task:
    """The task that the labels make, which a ``task`` in the file must agree with."""
    labels = [entry["label"] for entry in entries if isinstance(entry, dict) and entry.get("label") is not None]
    task = told_task(labels, len(classes))
    given = content.get("task", task.value)
    if given not in {one.value for one in Task}:
        raise InvalidTableError(f"{path}: expected a task out of {[one.value for one in Task]}, but found {given!r}")
    if labels and (Task(given) is Task.MULTILABEL) != (task is Task.MULTILABEL):
        raise InvalidTableError(f"{path}: expected labels of the task {given!r}, but found those of {task.value!r}")
    if given == Task.BINARY.value and len(classes) != 2:
        raise InvalidTableError(f"{path}: expected two classes for the task 'binary', but found {len(classes)}")
    return Task(given)


def told_task(labels: Sequence[Any], classes: int) -> Task:
    """What task labels make: lists are `MULTILABEL`; numbers, of two classes `BINARY`, else `MULTICLASS`."""
    if any(isinstance(label, list) for label in labels):
        return Task.MULTILABEL
    return Task.BINARY if classes == 2 else Task.MULTICLASS


def _entry_faults(entry: Any, name: str, task: Task, classes: Sequence[str]) -> list[str]:
    if not isinstance(entry, dict) or not _are_paths(entry.get("image")):
        return [f"{name}: expected image as a list of paths"]
    faults = []
    if entry.get("label") is not None and not _is_label(entry["label"], task, len(classes)):
        expected = (
            f"{len(classes)} numbers out of 0, 1, {UNKNOWN}"
            if task is Task.MULTILABEL
            else f"a number from 0 to {len(classes) - 1}"
        )
        faults.append(f"{name} ({entry['image'][0]}): expected label as {expected}, but found {entry['label']!r}")
    if entry.get("fold") is not None and not _is_integer(entry["fold"]):
        faults.append(f"{name}: expected fold as an integer, but found {entry['fold']!r}")
    if not isinstance(entry.get("group", ""), str | int):
        faults.append(f"{name}: expected group as a string, but found {entry['group']!r}")
    return faults


def _are_paths(image: Any) -> bool:
    return isinstance(image, list) and bool(image) and all(isinstance(file, str) and file for file in image)


def _is_label(label: Any, task: Task, classes: int) -> bool:
    if task is Task.MULTILABEL:
        return (
            isinstance(label, list)
            and len(label) == classes
            and all(value is None or (_is_integer(value) and value in {0, 1, UNKNOWN}) for value in label)
        )
    return _is_integer(label) and UNKNOWN <= label < classes


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _labels_missing(training: Sequence[Record]) -> list[str]:
    """Images of the training section without any label."""
    lacking = [entry["image"][0] for entry in training if not _is_labelled(entry.get("label"))]
    return [f"expected a label for every image to train on, but {listed(lacking)} have none"] if lacking else []


def _is_labelled(label: Label | None) -> bool:
    values = label if isinstance(label, list) else [label]
    return any(value not in {None, UNKNOWN} for value in values)


def _uneven(entries: Iterable[tuple[str, Record]], channels: Sequence[str]) -> list[str]:
    """Images with another number of files than the first, or than there are channels."""
    counts = [(name, len(entry["image"])) for name, entry in entries]
    expected = len(channels) or counts[0][1]
    return [f"{name}: expected {expected} files, one per channel, but found {n}" for name, n in counts if n != expected]


def _record(entry: Record, folder: str, task: Task, classes: int) -> Record:
    images = [os.path.normpath(os.path.join(folder, file)) for file in entry["image"]]  # noqa: PTH118 - 10 times faster
    label = entry.get("label")
    if task is Task.MULTILABEL:
        label = [UNKNOWN if value is None else value for value in (label or [None] * classes)]
    return {
        "image": images,
        "label": UNKNOWN if label is None else label,
        "group": str(entry.get("group", images[0])),
        "fold": entry.get("fold"),
    }


def _entry(record: Record, folder: str) -> Record:
    """A record as the file holds it."""
    files = [Path(os.path.relpath(Path(file).absolute(), folder)).as_posix() for file in record["image"]]
    return {"image": files, **{key: record[key] for key in ("label", "group", "fold") if record.get(key) is not None}}


def _repeated(records: Iterable[Record]) -> Iterator[str]:
    seen: set[tuple[str, ...]] = set()
    for record in records:
        files = tuple(record["image"])
        if files in seen:
            yield f"the image {listed(files)} stands there twice"
        seen.add(files)


def _raise(kind: type[Exception], path: Path, faults: list[str]) -> None:
    if faults:
        raise kind(f"{path}: {listed(faults, separator='; ')}")
