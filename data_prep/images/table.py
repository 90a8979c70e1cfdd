"""A CSV with a row per image → samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.collection.csv_tables import raise_faults, read_csv
from data_prep.images.files import find_images
from data_prep.images.labels import LabelColumns, check_columns, read_labels
from data_prep.images.sample import SHOWN, ImageSet, Sample, Section
from monai_spine.errors import MissingInputError, listed


@dataclass(frozen=True)
class SplitLists:
    """Text files with an image's name a line; None where the split has no such list."""

    train: Path | None = None
    test: Path | None = None


def read_table(
    path: Path,
    labels: LabelColumns,
    *,
    image_column: str = "image",
    patient_column: str | None = None,
    image_dir: Path | None = None,
    lists: SplitLists | None = None,
    skip_missing: bool = False,
    apart: Path | None = None,
) -> ImageSet:
    """The images of a table, found and labelled.

    Parameters
    ----------
    image_dir
        Folder that the names in the table are relative to, the table's own if None. A name without a folder may lie
        anywhere below it.
    lists
        Images of the training list are trained on and those of the test list are for testing; those in neither are left
        out, or with a test list alone, trained on.
    skip_missing
        Leave out images that are not there, instead of an error that lists them.
    apart
        A folder below ``image_dir`` to skip.

    Raises
    ------
    MissingInputError
        If the table, a list, a column or an image is not there.
    InvalidTableError
        If an image is listed twice or in both lists, or a label is outside of the classes.
    """
    table = read_csv(path, "a table with a row per image")
    check_columns(table, [image_column, *([patient_column] if patient_column else [])], path)
    names = list(table[image_column])
    raise_faults(path, _name_faults(names))
    label_rows = read_labels(table, labels, path)
    root = (image_dir or path.parent).absolute()
    files = located(names, root, apart)
    sections = _sections(names, lists or SplitLists())
    patients = list(table[patient_column]) if patient_column else [""] * len(names)
    samples, missing, notes = [], list(sections.unknown), Counter[str]()
    for name, label, patient in zip(names, label_rows.rows, patients, strict=True):
        section, file = sections.of.get(name, sections.otherwise), files[name]
        if section is None:
            notes["images stand in neither list and were left out"] += 1
        elif label is None:
            notes["images are of a class that the mapping leaves out"] += 1
        elif file is None:
            missing.append(name)
        else:
            samples.append(Sample((file,), label, section, patient))
    check_missing(missing, path, root, skip_missing)
    counted = [f"{count} {what}" for what, count in notes.items()]
    return ImageSet(label_rows.classes, label_rows.task, samples, root, missing=missing, notes=counted)


def check_missing(missing: Sequence[str], where: Path, root: Path, skip: bool) -> None:
    """Raise an error that lists all missing images, unless they are to be skipped.

    Raises
    ------
    MissingInputError
        If there are any.
    """
    if missing and not skip:
        names = "".join(f"\n  {name}" for name in missing)
        raise MissingInputError(
            f"{where}: {len(missing)} images are not there (looked below {root}); restore them, name another "
            f"--image-dir, or leave them out with --skip-missing:{names}"
        )


def located(names: Iterable[str], root: Path, apart: Path | None = None) -> dict[str, Path | None]:
    """The file of each name: at its place below the root, else, for a name alone, anywhere below; None if nowhere.

    Raises
    ------
    InvalidTableError
        If several files have a name that is looked for.
    """
    files: dict[str, Path | None] = {name: root / name if (root / name).is_file() else None for name in names}
    lost = {name for name, file in files.items() if file is None and "/" not in name}
    if lost and root.is_dir():
        places: dict[str, list[Path]] = {}
        for file in find_images(root, apart).images:
            for name in {file.name, file.stem} & lost:
                places.setdefault(name, []).append(file)
        several = [f"{name}: {listed([str(f.relative_to(root)) for f in p])}" for name, p in places.items() if p[1:]]
        raise_faults(root, [f"several files are called {one}; give the folder in the table" for one in several])
        files |= {name: place[0] for name, place in places.items()}
    return files


@dataclass(frozen=True)
class _Sections:
    """Sections by name, of names in no list, and names of the lists that the table does not know."""

    of: Mapping[str, Section]
    otherwise: Section | None
    unknown: Sequence[str]


def _sections(names: Sequence[str], lists: SplitLists) -> _Sections:
    train, test = (_read_list(path) if path else [] for path in (lists.train, lists.test))
    both = sorted(set(train) & set(test))
    if lists.test is not None:
        raise_faults(lists.test, [f"{name} is in the training list, too" for name in both])
    known = set(names)
    unknown = [f"{name} (in a list, but not in the table)" for name in [*train, *test] if name not in known]
    of = dict.fromkeys(train, Section.TRAINING) | dict.fromkeys(test, Section.TEST)
    return _Sections(of, None if lists.train is not None else Section.TRAINING, unknown)


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingInputError(f"expected a list of images, a name a line, but there is no file {path}")
    return list(dict.fromkeys(filter(None, map(str.strip, path.read_text(encoding="utf-8-sig").splitlines()))))


def _name_faults(names: Sequence[str]) -> list[str]:
    empty = [f"row {n + 2}: no image" for n, name in enumerate(names) if not name]
    twice = [f"{name} is listed {count} times" for name, count in Counter(names).items() if name and count > 1]
    return [*empty, *twice][: 10 * SHOWN]
