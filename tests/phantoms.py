"""A phantom study as NIfTI volumes, without the way through DICOM."""

from pathlib import Path

import nibabel as nib
import numpy as np

from data_prep.phantom import anatomy, disease
from data_prep.phantom.acquisition import acquire
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.scan import Scan, plan_axial, plan_sagittal
from data_prep.phantom.size import Size
from monai_spine.spine import Level, SeriesType


def write_phantom(folder: Path, seed: int) -> tuple[Anatomy, dict[SeriesType, Scan]]:
    """Write ``sagittal_t2.nii.gz`` and ``axial_t2.nii.gz``; the person, and how they were scanned."""
    rng = np.random.default_rng(seed)
    person = anatomy.draw(disease.draw(rng), rng, np.zeros(3))
    scans = {
        SeriesType.SAGITTAL_T2: plan_sagittal(person, SeriesType.SAGITTAL_T2, Size.SMALL, 1.5, rng),
        SeriesType.AXIAL_T2: plan_axial(person, (Level.L3_L4, Level.L5_S1), Size.SMALL, 1.5, rng),
    }
    folder.mkdir(parents=True)
    for kind, scan in scans.items():
        voxels = acquire(person, scan, rng).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(voxels, scan.affine), folder / f"{kind.value}.nii.gz")
    return person, scans
