"""A row's NIfTI file: checked, and written anew with its voxels and its affine only."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy

from data_prep.dicom import nifti, sidecar
from data_prep.dicom.job import CONVERTER, Settings
from data_prep.dicom.refusals import Reason, Refused
from data_prep.study_table.series_rows import SeriesReport, Status, final_verdict, with_verdict
from data_prep.study_table.table import SeriesRow
from monai_spine.data.series_typing import PLANES, Confidence, SeriesVerdict, series_type_of
from monai_spine.data.sidecars import is_segmentation, read_header, stem_of
from monai_spine.data.slice_plane import stated_plane
from monai_spine.data.volume import affine_of, not_grey, open_unpacked, open_volume, slices_last, stored_voxels
from monai_spine.errors import InvalidTableError, InvalidVolumeError, NoAffineError, TwoAffinesError, counted
from monai_spine.geometry import Array, Plane, plane_of, shear, spacing
from monai_spine.spine import SeriesType

SIDE_MM = (60.0, 1200.0)
"""Extent of an image of a spine, in its slices; outside of it the file's units cannot be millimetres."""
STEP_MM = (0.2, 20.0)
"""Distance of neighbouring slices, likewise."""
_SEGMENTATION = SeriesVerdict(None, Confidence.NONE, "its name says a segmentation, which is no series", other=True)
SHEAR = 1e-3
"""Cosine between two axes beyond which the axes are not at right angles."""


@dataclass(frozen=True)
class _StoredVolume:
    """An open file, its axes in the order in which they are to be stored, and the affine (RAS mm) in that order."""

    image: nib.Nifti1Image
    axes: tuple[int, int, int]

    @property
    def affine(self) -> Array:
        return np.asarray(self.image.affine, dtype=np.float64)[:, [*self.axes, 3]]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(self.image.shape[axis]) for axis in self.axes)

    @property
    def plane(self) -> Plane:
        return plane_of(self.affine)


def copy_row(study: str, row: SeriesRow, settings: Settings, name: Callable[[SeriesType], str]) -> SeriesReport:
    """Check a NIfTI file, find its series type, and write it under the study's own name."""
    report = SeriesReport(study, row.number)
    try:
        header = _header(row.path)
        volume = _read(row.path, PLANES[row.series_type] if row.series_type else stated_plane(header))
        report = replace(report, plane=volume.plane.value, slices=str(volume.shape[2]))
        verdict = _SEGMENTATION if is_segmentation(row.path) else series_type_of(header, volume.plane)
        report = with_verdict(report, final_verdict(row.series_type, verdict, volume.plane))
        if report.status is not Status.USED:
            return report
        target = f"{study}/{name(SeriesType(report.series_type))}.{settings.extension}"
        _write(volume, row.path, Path(settings.out) / target, settings.resume)
    except (Refused, InvalidVolumeError) as refusal:
        reason = _without_path(refusal, row.path)
        return replace(report, status=Status.REFUSED, series_type="", confidence="none", reason=reason)
    return replace(report, nifti=target)


def _without_path(refusal: Exception, path: Path) -> str:
    """What is wrong, without the path, which may hold a patient's name."""
    if isinstance(refusal, Refused):
        return f"{refusal.reason.value}: {refusal.detail}"
    text = str(refusal).removeprefix(f"{path}: ")
    if isinstance(refusal, NoAffineError | TwoAffinesError):
        return f"{Reason.NO_GEOMETRY.value}: {text}"
    return f"{Reason.UNREADABLE.value}: {text.replace(str(path), path.name)}"


def _read(path: Path, stated: Plane | None) -> _StoredVolume:
    """The open file, its slices last; ``stated`` is the plane that user, sidecar or words give it.

    Raises `Refused` or `InvalidVolumeError` if it is no volume in space.
    """
    image = open_volume(path)
    affine = affine_of(image)
    if not np.isfinite(affine).all():
        raise Refused(Reason.NO_GEOMETRY, "the affine holds numbers that are not finite")
    if values := not_grey(image):
        raise Refused(Reason.COLOUR, f"expected one number per voxel, but found {values}")
    cosine = shear(affine)
    if cosine > SHEAR:
        raise Refused(Reason.SHEARED, f"axes that are not at right angles, cosine {cosine:.3f}")
    volume = _StoredVolume(image, slices_last(image, stated))
    _check_size(volume.affine, volume.shape)
    return volume


def _check_size(affine: Array, shape: tuple[int, ...]) -> None:
    step = spacing(affine)
    sides = step[:2] * shape[:2]
    if shape[2] < 3:
        raise Refused(Reason.TOO_FEW_SLICES, f"{counted(shape[2], 'slice')}, at least 3 needed")
    if not (SIDE_MM[0] <= sides.min() and sides.max() <= SIDE_MM[1] and STEP_MM[0] <= step[2] <= STEP_MM[1]):
        size = f"{sides[0]:.4g} x {sides[1]:.4g} mm, slices {step[2]:.4g} mm apart"
        raise Refused(Reason.NO_GEOMETRY, f"{size}: not the size of a spine image; is its unit the millimetre?")


def _header(path: Path) -> dict[str, Any]:
    """Values by DICOM keyword from the file's name and its sidecar; a damaged sidecar counts as none."""
    try:
        return read_header(path)
    except InvalidTableError:
        return {"SeriesDescription": stem_of(path)}


def _write(volume: _StoredVolume, source: Path, target: Path, resume: bool) -> None:
    """Write voxels as stored, their scaling and the affine; descriptions, extensions and names are left behind."""
    affine = volume.affine
    digest = hashlib.blake2b(
        f"{nifti.file_checksum(source)[0]:08x} {affine.tolist()}".encode(), digest_size=16
    ).hexdigest()
    if resume and sidecar.is_finished(target, digest):
        return
    voxels, slope, inter = _voxels(source)
    ordered = np.transpose(voxels, volume.axes)
    head = nifti.header(ordered.shape, ordered.dtype, affine, slope, inter)
    pieces = nifti.encode(head, ordered.transpose(2, 1, 0), target.name.endswith(".gz"))
    checksum = nifti.write(target, pieces)
    record = {
        "Schema": sidecar.SCHEMA,
        "Converter": CONVERTER,
        "Plane": volume.plane.value,
        "SliceStep": round(float(spacing(affine)[2]), 6),
        "FileCRC32": f"{checksum:08x}",
        "SourceDigest": digest,
    }
    nifti.write(nifti.sidecar_path(target), [(json.dumps(record, indent=2, sort_keys=True) + "\n").encode()])


def _voxels(path: Path) -> tuple[npt.NDArray[np.generic], float, float]:
    """Stored values in the machine's byte order, slope and intercept.

    Raises `Refused` if they are not finite, or all the same.
    """
    try:
        image = open_unpacked(path)
        stored = stored_voxels(image, path)
    except InvalidVolumeError as error:
        raise Refused(Reason.TRUNCATED, "the voxels cannot be read; the file is damaged or cut short") from error
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise Refused(Reason.UNSUPPORTED, "voxels that are infinite or not a number")
    if stored.size == 0 or stored.min() == stored.max():
        raise Refused(Reason.UNSUPPORTED, "all voxels are the same")
    proxy = cast(ArrayProxy, image.dataobj)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False), float(proxy.slope), float(proxy.inter)
