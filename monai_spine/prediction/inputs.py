"""Inputs of ``predict``: DICOM, folders of NIfTI studies, the NIfTI files of one study, or datalists."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from monai_spine.csv_cells import plain
from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import (
    FoundStudy,
    check_no_pairs,
    find_study,
    is_nifti,
    listed_studies,
    nifti_files,
    study_folders,
)
from monai_spine.data.volume_names import STUDY_FOLDER, volume_name
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.files import safe_name, text_of
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.source_frame import SourceFrame

VOLUMES = "volumes"
"""Folder of the output for volumes made from DICOM."""

_HARMLESS = frozenset({"LOCALIZER", "TOO_FEW_SLICES"})
"""Reasons of the converter for stacks that nobody grades: scouts."""


@dataclass(frozen=True)
class Inputs:
    """All studies, sorted by id, and how many DICOM files are in no volume; scouts are not counted."""

    studies: tuple[PendingStudy, ...]
    refused_files: int = 0


@dataclass(frozen=True)
class Conversion:
    """How DICOM is converted; see `data_prep.dicom.convert.convert`."""

    name_by: str = "uid"
    workers: int = 1
    resume: bool = True
    quiet: bool = False

    def __call__(self, source: Path, out: Path) -> Converted:
        """Convert a DICOM file, folder, DICOMDIR or zip into a folder; with ``resume``, keep earlier volumes.

        Raises
        ------
        SpineError
            If the source has no DICOM image, or the folder holds the volumes of another input.
        """
        from data_prep.dicom.convert import convert

        name_by = "folder" if self.name_by == "folder" else "uid"
        try:
            convert(source, out, name_by=name_by, workers=self.workers, resume=self.resume, quiet=self.quiet)  # type: ignore[arg-type]
        except SpineError as error:
            # The folder of this table is removed when the input is refused, so the message has its content.
            if not (out / "files.csv").is_file():
                raise
            reasons = Counter(row["reason"] for row in _rows(out / "files.csv"))
            counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common() if reason)
            message = str(error).partition("; see ")[0]
            raise MissingInputError(f"{source}: {message} ({counts or 'it has no files'})") from error
        return read_converted(out, source)


@dataclass(frozen=True)
class Converted:
    """The studies of a DICOM input, and how many of its files are in no volume; scouts are not counted."""

    studies: tuple[PendingStudy, ...]
    refused_files: int


def read_converted(out: Path, source: Path) -> Converted:
    """Read the tables ``manifest.csv`` and ``files.csv`` of the conversion of ``source`` into ``out``."""
    stacks: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _rows(out / "manifest.csv"):
        stacks[row["study"]].append(row)
    refused = 0
    frames: dict[str, dict[tuple[str, int], SourceFrame]] = defaultdict(dict)
    unused = []
    for row in _rows(out / "files.csv"):
        refused += row["status"] == "refused" and row["reason"] not in _HARMLESS
        if row["k"] and not row["t"]:  # volumes over time are not graded
            folder, _, name = row["nifti"].rpartition("/")
            frames[folder][name, int(row["k"])] = SourceFrame(source, row["path"], row["frame"])
        elif row["status"] == "refused":
            unused.append(SourceFrame(source, row["path"], row["frame"]))
    studies = [_converted_study(out, study, rows, frames) for study, rows in sorted(stacks.items())]
    return Converted(tuple(one if one.frames else replace(one, unused=tuple(unused)) for one in studies), refused)


def find_inputs(paths: Sequence[Path], out: Path, convert: Callable[[Path, Path], Converted]) -> Inputs:
    """All studies of the inputs.

    Parameters
    ----------
    paths
        Each is a datalist (``.json``), a folder of NIfTI studies, a folder of one study, or else DICOM: a folder, a
        file, a DICOMDIR or a zip. All NIfTI files that are paths themselves are one study.
    out
        The output folder. DICOM is converted into its ``volumes``.
    convert
        Converts a DICOM input into a folder, such as a `Conversion`.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError, SpineError
        If an input does not exist or is something else, or if two studies have one name.
    """
    for path in paths:
        if not path.exists():
            raise MissingInputError(f"expected DICOM, NIfTI or a datalist, but there is no {path}")
    files = [path for path in paths if is_nifti(path)]
    for path in paths:
        if _is_dicom(path):
            check_no_pairs(path)
    dicom = [path for path in paths if _is_dicom(path)]
    studies = [_nifti_study(find_study(_name_of(files), files))] if files else []
    refused = 0
    for path in paths:
        if path in dicom:
            converted = convert(path, _volumes(out, path, len(dicom)))
            studies += [replace(one, folder=_relative(one.record[STUDY_FOLDER], out)) for one in converted.studies]
            refused += converted.refused_files
        elif path not in files:
            studies += _nifti_studies(path)
    # Names are checked as they are written: two ids may become one folder.
    _check_names([study.study_id for study in studies])
    return Inputs(tuple(sorted(studies, key=lambda study: study.study_id)), refused)


def check_no_dicom(paths: Sequence[Path]) -> None:
    """Refuse DICOM, whose studies are known only after the conversion, which every part would repeat.

    Raises
    ------
    InvalidOptionError
        If a path is neither NIfTI nor a datalist.
    """
    for path in paths:
        if path.exists() and _is_dicom(path):
            raise InvalidOptionError(
                f"{path} is DICOM, which every part would convert again; convert it once, with data_prep convert, and "
                "grade parts of the NIfTI studies"
            )


def _nifti_studies(path: Path) -> list[PendingStudy]:
    if path.is_file():
        return [
            PendingStudy(one.record, bad=one.left_out, folder=_relative(one.record[STUDY_FOLDER], path.parent))
            for one in listed_studies(path)
        ]
    folders = [path] if nifti_files(path) else study_folders(path)
    return [_nifti_study(find_study(text_of(folder.resolve().name), nifti_files(folder)), path) for folder in folders]


def _nifti_study(found: FoundStudy, root: Path | None = None) -> PendingStudy:
    bad = {name: why for name, why in found.left_out.items() if name in found.unreadable}
    left_out = {name: why for name, why in found.left_out.items() if name not in bad}
    folder = "." if root is None else _relative(found.record[STUDY_FOLDER], root)
    return PendingStudy(found.record, left_out, bad, folder=folder)


def _relative(folder: str, root: Path) -> str:
    """The folder of a study's volumes relative to the input or output; ``.`` if that does not hold it."""
    top = root.absolute()
    # Folders above are this machine's, and outputs must not hold them.
    return Path(folder).relative_to(top).as_posix() if folder and Path(folder).is_relative_to(top) else "."


def _converted_study(
    out: Path, study: str, rows: list[dict[str, str]], frames: Mapping[str, Mapping[tuple[str, int], SourceFrame]]
) -> PendingStudy:
    own = {row["nifti"].rpartition("/")[0] for row in rows}  # the folder of the study's volumes
    files = sorted(out / row["nifti"] for row in rows if row["status"] == "converted")
    found = find_study(study, files)
    left_out, bad = dict(found.left_out), dict[str, str]()
    for row in rows:
        if row["status"] == "refused":
            name = f"{row['series_uid'] or 'series'}, stack {row['stack']}"
            reason = ": ".join(filter(None, (row["reason"], row["detail"])))
            (left_out if row["reason"] in _HARMLESS else bad)[name] = reason
    # An unreadable volume might have been needed; a scout never is.
    bad |= {name: left_out.pop(name) for name in found.unreadable}
    top = found.record[STUDY_FOLDER]
    slices = {
        (volume_name(out / folder / name, top), k): frame
        for folder in own
        for (name, k), frame in frames.get(folder, {}).items()
    }
    return PendingStudy(found.record, left_out, bad, slices)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as table:
        return [{key: plain(cell) for key, cell in row.items()} for row in csv.DictReader(table)]


def _is_dicom(path: Path) -> bool:
    if path.is_file():
        return not (path.suffix == ".json" or is_nifti(path))
    return not nifti_files(path) and not study_folders(path)


def _name_of(files: Sequence[Path]) -> str:
    """A study's id: the name of its only file, or of the folder that holds all of its files."""
    if len(files) == 1:
        return text_of(stem_of(files[0]))
    return text_of(Path(os.path.commonpath([file.resolve() for file in files])).name) or "study"


def _volumes(out: Path, source: Path, inputs: int) -> Path:
    """The folder for the volumes of a DICOM input; of several inputs each has its own, named after its path."""
    if inputs == 1:
        return out / VOLUMES
    return out / VOLUMES / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]


def _check_names(names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(map(safe_name, names)).items() if count > 1)
    if twice:
        raise InvalidOptionError(
            f"two studies would both be written as {twice[0]}; grade them into separate folders, or put their files "
            "into one folder"
        )
