"""Studies in a folder of NIfTI files, with a sub-folder for each study.

An input of `locate`, `predict` and the bundles, beside ``datalist.json``. The series type of a volume comes from its
name (``sagittal_t1.nii.gz``, ``axial_t2_1.nii.gz``) or else from the sidecar that ``data_prep convert`` wrote beside
it, together with the plane of its affine. A volume of unknown type is left out with a warning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record, has_series, read_datalist
from monai_spine.data.series_typing import Confidence, SeriesVerdict, series_type_of
from monai_spine.data.volume import affine_of, open_volume
from monai_spine.errors import InvalidTableError, MissingInputError, SpineError
from monai_spine.geometry import plane_of
from monai_spine.spine import MISSING, TARGETS, SeriesType

logger = logging.getLogger(__name__)

SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class FoundStudy:
    """A study made of NIfTI files.

    Attributes
    ----------
    record
        In the form of `monai_spine.data.datalist`; it may have no volume at all.
    left_out
        Names of the files that are in no series type, and the reasons.
    unreadable
        Those of them whose header or sidecar cannot be read.
    """

    record: Record
    left_out: dict[str, str]
    unreadable: frozenset[str] = frozenset()


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
    InvalidTableError, InvalidVolumeError
        If a datalist breaks its format, or a volume's header cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return read_datalist(path, section)
    if not path.is_dir():
        raise MissingInputError(f"expected a folder of studies or a datalist, but there is nothing at {path}")
    folders = study_folders(path)
    if not folders:
        raise MissingInputError(f"{path}: expected a sub-folder with NIfTI files for each study, but found none")
    studies = [find_study(folder.name, nifti_files(folder)) for folder in folders]
    for folder, study in zip(folders, studies, strict=True):
        for name, reason in study.left_out.items():
            logger.warning("%s: left out, %s", folder / name, reason)
    # Only a set without any usable study is an error; single studies without a series are left out.
    records = [study.record for study in studies if has_series(study.record)]
    if not records:
        raise InvalidTableError(
            f"{path}: in none of {len(folders)} studies could a series be told apart; name the files "
            f"{', '.join(f'{series_type.value}.nii.gz' for series_type in SeriesType)}, or write a datalist"
        )
    return records


def find_study(study_id: str, files: Iterable[Path], *, leave_out_bad: bool = False) -> FoundStudy:
    """Make a study of NIfTI files, sorted by series type.

    Parameters
    ----------
    leave_out_bad
        Whether to leave out a file whose header or sidecar cannot be read, with the reason, instead of raising.

    Raises
    ------
    InvalidTableError, InvalidVolumeError
        If a header or sidecar cannot be read.
    """
    series: dict[str, list[str]] = {series_type.value: [] for series_type in SeriesType}
    left_out: dict[str, str] = {}
    unreadable = set()
    for file in files:
        try:
            verdict = series_verdict(file)
        except SpineError as error:
            if not leave_out_bad:
                raise
            left_out[file.name] = str(error).removeprefix(f"{file}: ").replace(str(file), file.name)
            unreadable.add(file.name)
            continue
        # Left out instead of guessed: a wrong series type would give wrong grades without any sign of it.
        if verdict.series_type is None:
            left_out[file.name] = verdict.reason
        else:
            series[verdict.series_type.value].append(str(file))
    record: Record = {
        "study_id": study_id,
        "patient_id": study_id,
        "fold": None,
        **series,
        "label": np.full(len(TARGETS), MISSING, dtype=np.int64),
        "points": {},
    }
    return FoundStudy(record, left_out, frozenset(unreadable))


def series_verdict(path: Path) -> SeriesVerdict:
    """The series type of a NIfTI file, by its name or else by its sidecar and plane.

    Raises
    ------
    InvalidTableError, InvalidVolumeError
        If its sidecar or its header cannot be read.
    """
    # The header is read in any case, so that a damaged file is refused here and not in the middle of a run.
    plane = plane_of(affine_of(open_volume(path)))
    by_name = next((series_type for series_type in SeriesType if path.name.lower().startswith(series_type.value)), None)
    if by_name is not None:
        return SeriesVerdict(by_name, Confidence.GIVEN, "its name says so")
    return series_type_of(_sidecar(path), plane)


def study_folders(path: Path) -> list[Path]:
    """Sub-folders of a folder that hold NIfTI files, sorted."""
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and nifti_files(folder))


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files directly inside a folder, sorted. Hidden files, such as those half written, do not count."""
    files = [file for file in folder.iterdir() if file.name.endswith(SUFFIXES) and file.is_file()]
    return sorted(file for file in files if not file.name.startswith("."))


def _sidecar(path: Path) -> dict[str, Any]:
    sidecar = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    if not sidecar.is_file():
        return {}
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InvalidTableError(f"{sidecar} is not JSON: {err}") from err
    return content if isinstance(content, dict) else {}
