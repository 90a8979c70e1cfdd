"""What folders, tables and channels of images have in common: samples with a label, a section and perhaps a patient."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from data_prep.collection.csv_tables import raise_faults, read_csv
from monai_spine.errors import InvalidTableError, listed
from monai_spine.images.data.datalist import Task

SHOWN = 20
"""Names that a message lists; the rest is counted."""


class Section(str, Enum):
    """The part of a split to which a sample belongs."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Sample:
    """One image to classify."""

    files: tuple[Path, ...]
    """Its file, or a grey file per channel."""
    label: int | tuple[int, ...]
    """Number of its class, or for several labels 1, 0 or -1 (unknown) per class."""
    section: Section = Section.TRAINING
    patient: str = ""
    """Empty if unknown."""

    def is_of(self, number: int) -> bool:
        """Whether it is of the class of a number."""
        return self.label[number] == 1 if isinstance(self.label, tuple) else self.label == number


@dataclass(frozen=True)
class ImageSet:
    """Samples with their classes."""

    classes: tuple[str, ...]
    task: Task
    samples: list[Sample]
    root: Path
    """Folder that the images lie in; messages name them relative to it."""
    channels: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)
    """Images that were named, but do not exist, and are left out at the user's request (``--skip-missing``)."""
    notes: list[str] = field(default_factory=list)
    """What else was left out, a sentence each."""

    def name(self, sample: Sample) -> str:
        """The name of a sample in messages: its first file, relative to the root where it lies inside."""
        file = sample.files[0]
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else file.as_posix()


def task_of(classes: Sequence[str]) -> Task:
    """The task of one class an image."""
    return Task.BINARY if len(classes) == 2 else Task.MULTICLASS


def ordered_classes(names: Iterable[str], wanted: Sequence[str], where: Path) -> tuple[str, ...]:
    """The classes in the order that was given, else in that of the alphabet.

    Raises `InvalidTableError` if two differ in case or blanks alone, one is not among those given, or there are fewer
    than two.
    """
    names = sorted(set(names))
    doubles = [same for same in _same_but_for_case(names) if len(same) > 1]
    if doubles:
        pairs = [" and ".join(map(repr, same)) for same in doubles]
        raise InvalidTableError(
            f"{where}: expected class names that differ by more than case, but found {listed(pairs, '; ', SHOWN)}; "
            "rename one, or merge them with --mapping"
        )
    others = [name for name in names if wanted and name not in wanted]
    if others:
        raise InvalidTableError(
            f"{where}: expected classes out of {listed(list(wanted), shown=SHOWN)}, "
            f"but found {listed(others, shown=SHOWN)}; add them to --classes, or merge them with --mapping"
        )
    classes = tuple(wanted or names)
    if len(classes) < 2:
        raise InvalidTableError(f"{where}: expected at least two classes, but found {listed(names) or 'none'}")
    return classes


def read_mapping(path: Path) -> dict[str, str]:
    """Class by name: the first column holds the names, the second their classes; an empty class leaves a name out.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if it has fewer than two columns, or a name twice.
    """
    table = read_csv(path, "a mapping with two columns: name, class")
    if table.shape[1] < 2:
        raise InvalidTableError(f"{path}: expected two columns, a name and its class, but found {list(table.columns)}")
    names, classes = table.iloc[:, 0], table.iloc[:, 1]
    repeated = sorted(set(names[names.duplicated()]))
    raise_faults(path, [f"{name!r} is listed twice" for name in repeated])
    return dict(zip(names, classes, strict=True))


def mapped(names: Iterable[str], mapping: dict[str, str], where: Path) -> dict[str, str]:
    """The class of each name.

    Raises `InvalidTableError` if the mapping does not know a name; the message lists them all.
    """
    names = list(names)
    unknown = sorted({name for name in names if name not in mapping})
    if unknown:
        raise InvalidTableError(
            f"{where}: expected every class in the mapping, but {listed(unknown, shown=SHOWN)} are not there; "
            "add them, with an empty class to leave them out"
        )
    return {name: mapping[name] for name in names}


def check_counts(image_set: ImageSet, samples: Sequence[Sample]) -> None:
    """Make sure that every class has two images to train and validate on; not checked where images have several labels.

    Raises `InvalidTableError` if one has none or one; the message names them all.
    """
    if image_set.task is Task.MULTILABEL:
        return
    counts = Counter(sample.label for sample in samples if sample.section is not Section.TEST)
    few = [f"{name!r} has {counts[n] or 'none'}" for n, name in enumerate(image_set.classes) if counts[n] < 2]
    if few:
        raise InvalidTableError(
            f"{image_set.root}: expected at least two readable images of each class outside of the test images, but "
            f"{listed(few, shown=SHOWN)}; add images, remove the class, or merge it with --mapping"
        )


def _same_but_for_case(names: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    return list(groups.values())
