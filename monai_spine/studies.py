"""Studies found in a folder of NIfTI files: a sub-folder for each study.

Which series a volume shows is told, in this order, by its name (``sagittal_t1.nii.gz``, ``axial_t2_1.nii.gz``) or by
the sidecar that ``data_prep convert`` wrote beside it, together with the plane of its affine. What cannot be told is
left out, and said so.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.datalist import Record, read_datalist
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.geometry import plane_of
from monai_spine.series_typing import tell_series_type
from monai_spine.spine import MISSING, TARGETS, SeriesType
from monai_spine.volume import open_volume

logger = logging.getLogger(__name__)


def find_studies(path: str | Path, section: str = "test") -> list[Record]:
    """Records of all studies under a path.

    Parameters
    ----------
    path
        A ``datalist.json``, or a folder that holds a sub-folder of NIfTI files for each study.
    section
        Of a datalist.

    Raises
    ------
    MissingInputError
        If the path is not there, or no study is in it.
    InvalidTableError, InvalidVolumeError
        If a datalist breaks its format, or a volume's header cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return read_datalist(path, section)
    if not path.is_dir():
        raise MissingInputError(f"expected a folder of studies or a datalist, but there is nothing at {path}")
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and _nifti_files(folder))
    if not folders:
        raise MissingInputError(f"{path}: expected a sub-folder with NIfTI files for each study, but found none")
    records = [record for folder in folders if (record := _study(folder))]
    if not records:
        raise InvalidTableError(
            f"{path}: in none of {len(folders)} studies could a series be told apart; name the files "
            f"{', '.join(f'{kind.value}.nii.gz' for kind in SeriesType)}, or write a datalist"
        )
    return records


def series_type_of(path: Path) -> SeriesType | None:
    """The series type of a NIfTI file, or None where neither name nor sidecar tells."""
    plane = plane_of(np.asarray(open_volume(path).affine, dtype=np.float64))
    named = [kind for kind in SeriesType if path.name.lower().startswith(kind.value)]
    if named:
        return named[0]
    return tell_series_type(_sidecar(path), plane).kind


def _study(folder: Path) -> Record | None:
    series: dict[str, list[str]] = {kind.value: [] for kind in SeriesType}
    for file in _nifti_files(folder):
        kind = series_type_of(file)
        if kind is None:
            logger.warning("%s: left out, neither its name nor a sidecar tells its series type", file)
        else:
            series[kind.value].append(str(file))
    if not any(series.values()):
        return None
    label = np.full(len(TARGETS), MISSING, dtype=np.int64)
    return {"study_id": folder.name, "patient_id": folder.name, "fold": None, **series, "label": label, "points": {}}


def _nifti_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.name.endswith((".nii", ".nii.gz"))]
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
