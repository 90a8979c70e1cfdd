"""A phantom study as NIfTI volumes, without the way through DICOM."""

from pathlib import Path

import nibabel as nib
import numpy as np

from data_prep.choices import PhantomSize
from data_prep.phantom.acquire import acquire
from data_prep.phantom.disease import draw_disease
from data_prep.phantom.person import Anatomy, draw_person
from data_prep.phantom.plan import Scan, plan_axial, plan_sagittal
from monai_spine.spine import Level, SeriesType


def write_phantom(folder: Path, seed: int) -> tuple[Anatomy, dict[SeriesType, Scan]]:
    """Write ``sagittal_t2.nii.gz`` and ``axial_t2.nii.gz``; the person, and how they were scanned."""
    rng = np.random.default_rng(seed)
    person = draw_person(draw_disease(rng), rng, np.zeros(3))
    scans = {
        SeriesType.SAGITTAL_T2: plan_sagittal(person, SeriesType.SAGITTAL_T2, PhantomSize.SMALL, 1.5, rng),
        SeriesType.AXIAL_T2: plan_axial(person, (Level.L3_L4, Level.L5_S1), PhantomSize.SMALL, 1.5, rng),
    }
    folder.mkdir(parents=True)
    for kind, scan in scans.items():
        voxels = acquire(person, scan, rng).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(voxels, scan.affine), folder / f"{kind.value}.nii.gz")
    return person, scans
