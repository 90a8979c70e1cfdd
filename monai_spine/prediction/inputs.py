"""From what a user names to candidates: DICOM, folders of NIfTI studies, NIfTI files of one study, datalists."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_spine.data.datalist import read_content, read_datalist
from monai_spine.data.studies import SUFFIXES, FoundStudy, find_study, nifti_files, study_folders
from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.files import safe_name
from monai_spine.prediction.candidate import Candidate
from monai_spine.prediction.dicom import Converted

VOLUMES = "volumes"
"""Folder of the output for volumes made of DICOM."""


@dataclass(frozen=True)
class Inputs:
    """The studies that were named, sorted by id, and how many DICOM files, scouts aside, are in no volume."""

    candidates: tuple[Candidate, ...]
    refused_files: int = 0


def find_inputs(paths: Sequence[Path], out: Path, convert: Callable[[Path, Path], Converted]) -> Inputs:
    """All studies of the inputs.

    Parameters
    ----------
    paths
        Each a datalist (``.json``), a folder of NIfTI studies, a folder of one, or else DICOM: a folder, a file, a
        DICOMDIR or a zip. NIfTI files that are named themselves are one study.
    out
        The output folder; DICOM is converted into its ``volumes``.
    convert
        Converts a DICOM input into a folder.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError, SpineError
        If an input is not there or of no such kind, or two studies have one name.
    """
    for path in paths:
        if not path.exists():
            raise MissingInputError(f"expected DICOM, NIfTI or a datalist, but there is no {path}")
    files = [path for path in paths if _is_nifti(path)]
    dicom = [path for path in paths if _is_dicom(path)]
    candidates = [_candidate(find_study(_name_of(files), files, leave_out_bad=True))] if files else []
    refused = 0
    for path in paths:
        if path in dicom:
            converted = convert(path, _volumes(out, path, len(dicom)))
            candidates += converted.candidates
            refused += converted.refused_files
        elif path not in files:
            candidates += _of_nifti(path)
    _check_names([candidate.study_id for candidate in candidates])
    return Inputs(tuple(sorted(candidates, key=lambda one: one.study_id)), refused)


def _of_nifti(path: Path) -> list[Candidate]:
    if path.is_file():
        content = read_content(path)
        sections = [name for name in ("training", "test") if content.get(name)] or ["test"]
        return [
            Candidate(record) for section in sections for record in read_datalist(path, section, without_series=True)
        ]
    folders = [path] if nifti_files(path) else study_folders(path)
    return [
        _candidate(find_study(folder.resolve().name, nifti_files(folder), leave_out_bad=True)) for folder in folders
    ]


def _candidate(found: FoundStudy) -> Candidate:
    bad = {name: why for name, why in found.left_out.items() if name in found.unreadable}
    return Candidate(found.record, {name: why for name, why in found.left_out.items() if name not in bad}, bad)


def _is_nifti(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES)


def _is_dicom(path: Path) -> bool:
    if path.is_file():
        return not (path.suffix == ".json" or _is_nifti(path))
    return not nifti_files(path) and not study_folders(path)


def _name_of(files: Sequence[Path]) -> str:
    """A study's id: the name of its only file, or of the folder that its files have in common."""
    if len(files) == 1:
        return files[0].name.removesuffix(".gz").removesuffix(".nii")
    return Path(os.path.commonpath([file.resolve() for file in files])).name or "study"


def _volumes(out: Path, source: Path, inputs: int) -> Path:
    """One folder for a single DICOM input; of several each has its own, named after its path."""
    if inputs == 1:
        return out / VOLUMES
    return out / VOLUMES / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]


def _check_names(names: Sequence[str]) -> None:
    written = [safe_name(name) for name in names]
    twice = sorted({name for name in written if written.count(name) > 1})
    if twice:
        raise InvalidOptionError(
            f"two studies would both be written as {twice[0]}; grade them into separate folders, or put their files "
            "into one"
        )
    if VOLUMES in written:
        raise InvalidOptionError(f"a study must not be called {VOLUMES!r}, which is a folder of the output; rename it")
