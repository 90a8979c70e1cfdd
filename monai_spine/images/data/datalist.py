"""``datalist.json`` of single images: files, labels and folds; every entry is checked when it is read.

It has the schema of the studies' datalist (`monai_spine.data.datalist`), and ``classes`` instead of ``targets``::

    {"schema": "monai_spine/datalist/1", "task": "multiclass",
     "classes": ["glioma", "meningioma", "none"], "channels": [],
     "training": [{"image": ["../pictures/a.png"], "label": 2, "group": "patient 7", "fold": 0}],
     "test": []}

``image`` names one file, or one grey file per channel. ``label`` is the number of a class. For several labels an image
it is a list with 1 (present) or 0 (absent) for each class. `UNKNOWN` marks a label that nobody gave; an image of the
test section may also lack the key. All images of a ``group`` (a patient, or copies of one picture) have the same fold.
Paths in the file are relative to it. A record, a plain dictionary as MONAI expects it, holds absolute paths.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import SCHEMA, is_integer, raise_faults, read_schema, split_folds
from monai_spine.errors import InvalidTableError, MissingInputError, counted, listed
from monai_spine.files import write_text

UNKNOWN = -1
"""Stands for a label that nobody gave."""

Record = dict[str, Any]
Label = int | list[int]


class Task(str, Enum):
    """What the classifier decides about an image."""

    BINARY = "binary"
    """Which of two classes it has."""
    MULTICLASS = "multiclass"
    """Which of several classes it has."""
    MULTILABEL = "multilabel"
    """For each class, whether it is present."""

    @property
    def key_metric(self) -> str:
        """The figure that chooses the best weights: balanced accuracy, with several labels mean AUC; more is better."""
        return "mean_auc" if self is Task.MULTILABEL else "balanced_accuracy"


@dataclass(frozen=True)
class ImageDatalist:
    """A datalist of images."""

    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    task: Task
    """What the labels are."""
    training: list[Record]
    test: list[Record]
    """``training``, ``test``: records: ``image`` (absolute paths as strings, the same number for every image),
    ``label`` (an int, or for `MULTILABEL` a list with an int per class), ``group`` (a string) and ``fold`` (an int, or
    None)."""
    channels: tuple[str, ...] = ()
    """Names of the channels if an image has one file for each, else empty."""

    def split(self, fold: int) -> tuple[list[Record], list[Record]]:
        """Images to train on, and images of the fold to validate on; errors are those of `split_folds`."""
        return split_folds(self.training, fold)


def read_image_datalist(path: str | Path) -> ImageDatalist:
    """Read and check a datalist of images. The error names the first few of all faults of the file.

    Raises `MissingInputError` if the datalist, or an image that it names, does not exist.
    Raises `InvalidTableError` if it is not JSON, has another schema, breaks the format, has a label outside of the
    classes, lists an image twice, or has a group in two folds.
    """
    path = Path(path)
    content = _read_content(path)
    classes = _names(path, content, "classes")
    sections = {name: _entries(path, content, name) for name in ("training", "test")}
    entries = [(f"{name} image {n}", entry) for name, section in sections.items() for n, entry in enumerate(section)]
    if not entries:
        raise InvalidTableError(f"{path}: expected images under 'training' or 'test', but found none")
    task = _task(path, content, classes, [entry for _, entry in entries])
    channels = _names(path, content, "channels") if content.get("channels") else ()
    faults = [fault for name, entry in entries for fault in _entry_faults(entry, name, task, classes)]
    # The later checks read keys that the earlier ones have verified, so they run only on entries without a fault.
    faults = faults or _missing_labels(sections["training"]) + _uneven_file_counts(entries, channels)
    raise_faults(InvalidTableError, path, faults)
    # If the folder is a link, ``..`` in a path starts from the folder that it points to.
    folder = os.path.realpath(path.parent)
    training, test = ([_record(entry, folder, task, len(classes)) for entry in some] for some in sections.values())
    raise_faults(InvalidTableError, path, [*_repeated([*training, *test]), *_leaks(training)])
    absent = [file for record in (*training, *test) for file in record["image"] if not Path(file).is_file()]
    raise_faults(MissingInputError, path, [f"there is no image {file}" for file in absent])
    return ImageDatalist(classes, task, training, test, channels)


def write_image_datalist(path: Path, datalist: ImageDatalist) -> None:
    """Write a datalist, one image per line; paths become relative to its folder."""
    folder = os.path.realpath(path.parent)
    # By hand, since json.dumps puts all images on one line, or each value on a line of its own.
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


def _leaks(training: Iterable[Record]) -> list[str]:
    """A sentence for each group that is in more than one fold of the training section.

    A group may also be in the test section: official splits stay as they are, and `data_prep images` reports the leak.
    """
    folds: dict[str, set[int | None]] = {}
    for record in training:
        folds.setdefault(record["group"], set()).add(record["fold"])
    return [
        f"group {group} is in the folds {listed(sorted(map(str, numbers)))}; give it one"
        for group, numbers in folds.items()
        if len(numbers) > 1
    ]


def task_of_labels(labels: Sequence[Any], classes: int) -> Task:
    """The task of these labels: `MULTILABEL` for lists, else `BINARY` or `MULTICLASS` by the number of classes."""
    if any(isinstance(label, list) for label in labels):
        return Task.MULTILABEL
    return Task.BINARY if classes == 2 else Task.MULTICLASS


def _read_content(path: Path) -> dict[str, Any]:
    content = read_schema(path, "a datalist of images", "images")
    if "classes" not in content:
        raise InvalidTableError(f"{path}: expected a datalist of images with 'classes', but found one of studies")
    return content


def _names(path: Path, content: dict[str, Any], key: str) -> tuple[str, ...]:
    names = content[key]
    if not (isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)):
        raise InvalidTableError(f"{path}: expected {key} as a list of names, but found {names!r}")
    if len(set(names)) < len(names):
        raise InvalidTableError(f"{path}: expected {key} with different names, but found {names}")
    return tuple(names)


def _entries(path: Path, content: dict[str, Any], section: str) -> list[Any]:
    entries = content.get(section, [])
    if not isinstance(entries, list):
        raise InvalidTableError(f"{path}: expected a list of images under {section!r}")
    return entries


def _task(path: Path, content: dict[str, Any], classes: Sequence[str], entries: Sequence[Any]) -> Task:
    """The task that the file names, which the labels must agree with; if it names none, the one of the labels."""
    labels = [entry["label"] for entry in entries if isinstance(entry, dict) and entry.get("label") is not None]
    task = task_of_labels(labels, len(classes))
    name = content.get("task", task.value)
    if name not in {one.value for one in Task}:
        raise InvalidTableError(f"{path}: expected a task out of {[one.value for one in Task]}, but found {name!r}")
    if labels and (Task(name) is Task.MULTILABEL) != (task is Task.MULTILABEL):
        raise InvalidTableError(f"{path}: expected labels of the task {name!r}, but found those of {task.value!r}")
    if name == Task.BINARY.value and len(classes) != 2:
        raise InvalidTableError(f"{path}: expected two classes for the task 'binary', but found {len(classes)}")
    return Task(name)


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
    if entry.get("fold") is not None and not is_integer(entry["fold"]):
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
            and all(value is None or (is_integer(value) and value in {0, 1, UNKNOWN}) for value in label)
        )
    return is_integer(label) and UNKNOWN <= label < classes


def _missing_labels(training: Sequence[Record]) -> list[str]:
    lacking = [entry["image"][0] for entry in training if not _is_labelled(entry.get("label"))]
    return [f"expected a label for every image to train on, but {listed(lacking)} have none"] if lacking else []


def _is_labelled(label: Label | None) -> bool:
    values = label if isinstance(label, list) else [label]
    return any(value not in {None, UNKNOWN} for value in values)


def _uneven_file_counts(entries: Iterable[tuple[str, Record]], channels: Sequence[str]) -> list[str]:
    """A sentence for each image with another number of files than there are channels, or than the first image has."""
    counts = [(name, len(entry["image"])) for name, entry in entries]
    expected = len(channels) or counts[0][1]
    return [
        f"{name}: expected {counted(expected, 'file')}, one per channel, but found {n}"
        for name, n in counts
        if n != expected
    ]


def _record(entry: Record, folder: str, task: Task, classes: int) -> Record:
    # A datalist can hold a hundred thousand images; os.path is 10 times faster than a Path object per file.
    images = [os.path.normpath(os.path.join(folder, file)) for file in entry["image"]]  # noqa: PTH118
    label = entry.get("label")
    if task is Task.MULTILABEL:
        label = [UNKNOWN if value is None else value for value in (label or [None] * classes)]
    return {
        "image": images,
        "label": UNKNOWN if label is None else label,
        "group": str(entry.get("group", images[0])),  # an image without a group is a group of its own
        "fold": entry.get("fold"),
    }


def _entry(record: Record, folder: str) -> Record:
    """A record as it is written to the file."""
    files = [Path(os.path.relpath(Path(file).absolute(), folder)).as_posix() for file in record["image"]]
    return {"image": files, **{key: record[key] for key in ("label", "group", "fold") if record.get(key) is not None}}


def _repeated(records: Iterable[Record]) -> Iterator[str]:
    seen: set[tuple[str, ...]] = set()
    for record in records:
        files = tuple(record["image"])
        if files in seen:
            yield f"the image {listed(files)} is listed twice"
        seen.add(files)
