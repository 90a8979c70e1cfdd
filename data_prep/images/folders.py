"""Image files below folders and patterns of their names; a folder per class, in folders per split if any → samples."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.images.sample import ImageSet, Sample, Section, mapped, ordered_classes, read_mapping, task_of
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, counted, listed
from monai_spine.images.data.pixels import EXTENSIONS

DICOM_EXTENSIONS = (".dcm", ".dicom", ".ima")
FIELDS = ("sample", "channel", "patient")
_TOKEN = re.compile(r"\{(\w+)\}|(\*)|([^{}*]+)|([{}])")
SPLIT_NAMES = {
    Section.TRAINING: ("train", "training"),
    Section.VALIDATION: ("val", "valid", "validation"),
    Section.TEST: ("test", "testing"),
}
"""What folders of a split are called, in lower case."""


def find_images(folder: Path, excluded: Path | None = None) -> tuple[list[Path], int]:
    """All images below a folder, sorted by path, and how many other files there are.

    Hidden files and folders, and the folder ``excluded``, are skipped.
    """
    files = sorted(_walk(folder, excluded))
    images = [path for path in files if is_image(path)]
    return images, len(files) - len(images)


def visible_folders(folder: Path, excluded: Path | None = None) -> list[Path]:
    """Sub-folders that are not hidden, sorted by name.

    Raises `MissingInputError` if there is no such folder.
    """
    if not folder.is_dir():
        raise MissingInputError(f"expected a folder of images, but there is no folder {folder}")
    folders = [path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name)]
    return sorted(path for path in folders if excluded is None or path.resolve() != excluded.resolve())


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image; whether it can be read is not checked."""
    name = path.name.lower()
    return name.endswith(EXTENSIONS) or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file has an extension of DICOM, or no extension and the first bytes of DICOM."""
    if path.name.lower().endswith(DICOM_EXTENSIONS):
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # a UID as a name ends in digits
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _walk(folder: Path, excluded: Path | None) -> Iterator[Path]:
    excluded_path = None if excluded is None else os.path.realpath(excluded)
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not _hidden(name) and os.path.realpath(os.path.join(where, name)) != excluded_path  # noqa: PTH118
        ]
        yield from (Path(where, name) for name in names if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


class NamePattern:
    """A pattern of file names such as ``{sample}_{channel}.png``; ``{field}`` stands for a field, ``*`` for anything.

    Parameters
    ----------
    pattern
        With ``/`` in it, it must fit the end of a path; else the file's name.
    required
        Fields that must be in it.
    channels
        What ``{channel}`` may be; other fields take as little as they can, the ``{sample}`` as much.

    Raises
    ------
    InvalidOptionError
        If it has unknown fields, one twice, or lacks a required one.
    """

    def __init__(self, pattern: str, required: Sequence[str], channels: Sequence[str] = ()) -> None:
        self.pattern = pattern
        tokens = _TOKEN.findall(pattern)
        fields = [token[0] for token in tokens if token[0]]
        wrong = [name for name in fields if name not in FIELDS] or [token[3] for token in tokens if token[3]]
        lacking = [name for name in required if name not in fields]
        if wrong or lacking or len(set(fields)) < len(fields):
            expected = " and ".join(f"{{{name}}}" for name in required)
            raise InvalidOptionError(
                f"expected a pattern with {expected}, each once, such as '{{sample}}_{{channel}}.png', "
                f"but given {pattern!r}"
            )
        expressions = {
            "channel": "|".join(map(re.escape, sorted(channels, key=len, reverse=True))),
            "sample": r"[^/]+",
            "patient": r"[^/]+?",
        }
        parts = [
            f"(?P<{name}>{expressions[name]})" if name else r"[^/]*" if star else re.escape(text)
            for name, star, text, _ in tokens
        ]
        self._expression = re.compile("(?:.*/)?" + "".join(parts), re.IGNORECASE)

    def match(self, path: Path) -> dict[str, str] | None:
        """The fields of a path; None if it does not fit."""
        match = self._expression.fullmatch(path.as_posix())
        return match.groupdict() if match else None


def read_folders(
    folder: Path,
    *,
    mapping: Path | None = None,
    test_dir: str | None = None,
    classes: Sequence[str] = (),
    patient_pattern: str | None = None,
    excluded: Path | None = None,
) -> ImageSet:
    """All images of class folders, each with its folder as its class.

    Parameters
    ----------
    folder
        Holds a folder per class, or folders of the names in `SPLIT_NAMES` that do.
    mapping
        A table that merges classes; see `data_prep.images.table.read_mapping`.
    test_dir
        Name of the folder of test images, where it is another one.
    classes
        All classes there may be, in the order of their numbers.
    patient_pattern
        How a file's name holds the patient, such as ``{patient}_*.png``.
    excluded
        A folder to skip: where the datalist goes.

    Raises
    ------
    MissingInputError
        If a folder or the mapping is not there.
    InvalidTableError
        If there are fewer than two classes, two that differ in case, one without images or outside of ``classes``.
    InvalidOptionError
        If the pattern has no ``{patient}``.
    """
    folder = folder.absolute()
    name_of = NamePattern(patient_pattern, ["patient"]) if patient_pattern else None
    parts = split_folders(folder, test_dir, excluded)
    places = [(section, where) for section, tops in parts.items() for where in tops]
    names = {where.name for _, where in places}
    class_of = {name: name for name in names} if mapping is None else mapped(names, read_mapping(mapping), folder)
    order = ordered_classes((name for name in class_of.values() if name), classes, folder)
    samples, others, empty = [], 0, []
    for section, where in places:
        if class_of[where.name]:
            images, unused = find_images(where, excluded)
            others += unused
            empty += [] if images else [where.relative_to(folder).as_posix()]
            number = order.index(class_of[where.name])
            samples += [Sample((file,), number, section, _patient(file, name_of)) for file in images]
    if empty:
        raise InvalidTableError(
            f"{folder}: expected images in every class folder, but found none in {listed(empty, shown=20)}; "
            "remove the folder, or leave it out with --mapping"
        )
    notes = [f"{counted(others, 'file')} not taken for images"] if others else []
    return ImageSet(order, task_of(order), samples, folder, notes=notes)


def split_folders(folder: Path, test_dir: str | None, excluded: Path | None) -> dict[Section, list[Path]]:
    """Class folders by section.

    Raises `MissingInputError` if the folder or its ``test_dir`` is not there.
    Raises `InvalidTableError` if folders of a split and folders of classes stand side by side, or two folders are of
    one section.
    """
    tops = visible_folders(folder, excluded)
    section_of = {top: _section(top, test_dir, excluded) for top in tops}
    if test_dir is not None and not any(top.name == test_dir for top in tops):
        present = listed([top.name for top in tops]) or "no folders"
        raise MissingInputError(f"{folder}: expected a folder {test_dir!r} of test images, but found {present}")
    folders: dict[Section, Path] = {}
    for top, section in section_of.items():
        if section is not None and section in folders:
            raise InvalidTableError(
                f"{folder}: expected one folder of {section.value} images, but found {folders[section].name!r} and "
                f"{top.name!r}; merge or rename them"
            )
        if section is not None:
            folders[section] = top
    plain = [top for top, section in section_of.items() if section is None]
    if Section.TRAINING in folders and plain:
        raise InvalidTableError(
            f"{folder}: expected either classes or {folders[Section.TRAINING].name!r} and other parts of a split, but "
            f"found both: {listed([top.name for top in plain])}; move these elsewhere"
        )
    parts = {section: visible_folders(top, excluded) for section, top in folders.items()}
    return parts if Section.TRAINING in folders else {Section.TRAINING: plain, **parts}


def _section(top: Path, test_dir: str | None, excluded: Path | None) -> Section | None:
    """Which part of a split a folder is; one without folders in it is a class, whatever its name."""
    if test_dir is not None and top.name == test_dir:
        return Section.TEST
    if not visible_folders(top, excluded):
        return None
    sections = (section for section, names in SPLIT_NAMES.items() if top.name.lower() in names)
    section = next(sections, None)
    return None if section is Section.TEST and test_dir is not None else section


def _patient(file: Path, pattern: NamePattern | None) -> str:
    if pattern is None:
        return ""
    fields = pattern.match(file)
    if fields is None:
        raise InvalidTableError(f"{file}: expected a name like {pattern.pattern!r}, which holds the patient")
    return fields["patient"]
