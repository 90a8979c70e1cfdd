"""Studies in a folder of NIfTI files, with a sub-folder for each study.

An input of `locate`, `predict` and the bundles, beside ``datalist.json``. The series type of a volume comes from its
name, if that begins with a type (``sagittal_t1.nii.gz``, ``axial_t2_1.nii.gz``), or else from the words of its name and
of the sidecar beside it, together with the plane of its affine. A volume of unknown type is left out with a warning.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import (
    Record,
    entry_faults,
    has_series,
    read_content,
    read_datalist,
    record_of,
    volumes,
)
from monai_spine.data.nifti_file import PAIR_ADVICE, PAIR_SUFFIXES
from monai_spine.data.series_typing import PLANES, Confidence, SeriesVerdict, series_type_of
from monai_spine.data.sidecars import is_segmentation, read_header, read_sidecar, study_of
from monai_spine.data.slice_plane import known_plane, stated_plane
from monai_spine.data.volume import SUFFIXES, open_volume, slice_geometry
from monai_spine.data.volume_names import STUDY_FOLDER, common_folder, volume_name, volume_names
from monai_spine.errors import InvalidTableError, InvalidVolumeError, MissingInputError, counted, listed, reason_of
from monai_spine.files import text_of
from monai_spine.geometry import plane_of
from monai_spine.spine import MISSING, TARGETS, SeriesType

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NiftiStudy:
    """A study made of NIfTI files."""

    record: Record
    """In the form of `monai_spine.data.datalist`; it may have no volume at all."""
    left_out: dict[str, str]
    """Names of the files that are in no series type, and the reasons."""
    unreadable: frozenset[str] = frozenset()
    """Those of them whose header or sidecar cannot be read."""


def find_studies(path: str | Path, section: str = "test") -> list[Record]:
    """Records of all studies under a path.

    Parameters
    ----------
    path
        A ``datalist.json``, or a folder that holds a sub-folder of NIfTI files for each study.
    section
        Section of a datalist; without meaning for a folder.

    Raises
    ------
    MissingInputError
        If the path does not exist, or holds no study.
    InvalidTableError
        If a datalist breaks its format, or no study has a series.
    """
    path = Path(path)
    if path.is_file():
        return read_datalist(path, section)
    if not path.is_dir():
        raise MissingInputError(f"expected a folder of studies or a datalist, but there is nothing at {path}")
    studies = folder_studies(path)
    for study in studies:
        for name, reason in study.left_out.items():
            logger.warning("study %s: %s: left out, %s", study.record["study_id"], name, reason)
    # Only a set without any usable study is an error; single studies without a series are left out.
    records = [study.record for study in studies if has_series(study.record)]
    if not records:
        reasons = [f"{name}: {why}" for study in studies for name, why in study.left_out.items()]
        raise InvalidTableError(
            f"{path}: in none of {counted(len(studies), 'study')} could a series be told apart "
            f"({listed(reasons, '; ')}); name "
            f"the files {', '.join(f'{series_type.value}.nii.gz' for series_type in SeriesType)}, or write a datalist"
        )
    return records


def folder_studies(path: Path) -> list[NiftiStudy]:
    """All studies of a folder with a sub-folder for each, whatever is wrong with some of their files.

    Raises
    ------
    MissingInputError
        If the folder has no sub-folder with a NIfTI file.
    """
    folders = study_folders(path)
    if not folders:
        check_no_pairs(path)
        raise MissingInputError(f"{path}: expected a sub-folder with NIfTI files for each study, but found none")
    return [find_study(text_of(folder.name), nifti_files(folder)) for folder in folders]


def listed_studies(path: Path) -> list[NiftiStudy]:
    """All studies of a datalist, whatever is wrong with some of them: for each volume or entry that cannot be used,
    ``left_out`` has the reason. Studies without any volume are among them.

    Raises
    ------
    MissingInputError, InvalidTableError
        If it is no datalist, or has no study.
    """
    content = read_content(path)
    entries = [entry for section in ("training", "test") for entry in _section(path, content, section)]
    if not entries:
        raise InvalidTableError(f"{path}: expected studies under 'training' or 'test', but found none")
    return [_listed_study(entry, n, path.parent) for n, entry in enumerate(entries)]


def _section(path: Path, content: Mapping[str, Any], section: str) -> list[Any]:
    entries = content.get(section) or []
    if not isinstance(entries, list):
        raise InvalidTableError(f"{path}: expected {section!r} as a list, but found {type(entries).__name__}")
    return entries


def _listed_study(entry: Any, n: int, folder: Path) -> NiftiStudy:
    faults = entry_faults(entry, n)
    named = isinstance(entry, dict) and isinstance(entry.get("study_id"), str) and entry["study_id"]
    if faults:
        broken = {"study_id": entry["study_id"] if named else f"entry {n}"}
        return NiftiStudy(record_of(broken, folder), {"its entry in the datalist": "; ".join(faults)})
    record = record_of(entry, folder)
    names = volume_names(record)
    absent = {names[file]: "there is no such file" for file in volumes(record) if not Path(file).is_file()}
    kept = {one.value: [file for file in record[one.value] if names[file] not in absent] for one in SeriesType}
    return NiftiStudy({**record, **kept}, absent)


def find_study(study_id: str, files: Iterable[Path]) -> NiftiStudy:
    """Make a study of NIfTI files, sorted by series type.

    A file whose header or sidecar cannot be read is left out, with the reason: it does not end a run over many studies.
    """
    files = list(files)
    folder = common_folder(files)
    series: dict[str, list[str]] = {series_type.value: [] for series_type in SeriesType}
    left_out: dict[str, str] = {}
    unreadable = set()
    for file in files:
        name = volume_name(file, folder)
        try:
            verdict = series_verdict(file)
        except Exception as error:  # nibabel raises anything on damaged files; the study has others
            left_out[name] = reason_of(error).removeprefix(f"{file}: ").replace(f"{file.parent}/", "")
            unreadable.add(name)
            continue
        # Left out instead of guessed: a wrong series type would give wrong grades without any sign of it.
        if verdict.series_type is None:
            left_out[name] = verdict.reason
        else:
            series[verdict.series_type.value].append(str(file))
    used = [Path(file) for files_of_type in series.values() for file in files_of_type]
    if len(of := {study_of(file) for file in used} - {""}) > 1:
        reason = (
            f"volumes of {counted(len(of), 'study')} in one folder, by their sidecars; put each "
            f"study into its own folder"
        )
        names = [volume_name(file, folder) for file in used]
        left_out |= dict.fromkeys(names, reason)
        unreadable |= set(names)
        series = {series_type.value: [] for series_type in SeriesType}
    record: Record = {
        "study_id": study_id,
        "patient_id": study_id,
        "fold": None,
        **series,
        STUDY_FOLDER: folder,
        "label": np.full(len(TARGETS), MISSING, dtype=np.int64),
        "points": {},
    }
    return NiftiStudy(record, left_out, frozenset(unreadable))


def series_verdict(path: Path) -> SeriesVerdict:
    """The series type of a NIfTI file, by its name or else by its sidecar and plane.

    Raises `InvalidTableError` or `InvalidVolumeError` if its sidecar or its header cannot be read.
    """
    # The header is read in any case, so that a damaged file is refused here and not in the middle of a run.
    image = open_volume(path)
    if is_segmentation(path):
        return SeriesVerdict(None, Confidence.NONE, "its name says a segmentation, which is no series", other=True)
    by_name = next((series_type for series_type in SeriesType if path.name.lower().startswith(series_type.value)), None)
    if by_name is not None:
        plane = known_plane(image, read_sidecar(path))
        if plane not in (None, PLANES[by_name]):
            return SeriesVerdict(
                None, Confidence.NONE, f"its name says {by_name.title}, but its slices are {plane.value}"
            )
        return SeriesVerdict(by_name, Confidence.GIVEN, "its name says so")
    header = read_header(path)
    return series_type_of(header, plane_of(slice_geometry(image, stated_plane(header))[0]))


def study_folders(path: Path) -> list[Path]:
    """Sub-folders of a folder that hold NIfTI files, sorted."""
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and nifti_files(folder))


def is_nifti(path: Path) -> bool:
    """Whether a path is a file with the name of a NIfTI file, in upper or lower case."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def check_no_pairs(path: Path) -> None:
    """Refuse volumes in two files (``.hdr`` and ``.img``), which no command reads, and say what to do.

    Raises `InvalidVolumeError` if the path is such a file, or a folder that holds one.
    """
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    for file in files:
        if file.name.lower().endswith(PAIR_SUFFIXES):
            raise InvalidVolumeError(f"{file}: {PAIR_ADVICE}")


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files directly inside a folder, sorted. Hidden files, such as those half written, do not count."""
    files = [file for file in folder.iterdir() if is_nifti(file)]
    return sorted(file for file in files if not file.name.startswith("."))
