"""Persons with a known disease, and the tissues at places of them."""

import numpy as np

from data_prep.phantom.acquire import label_map
from data_prep.phantom.disease import Disease
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.person import draw_person
from data_prep.phantom.quirks import NORMAL, Haemangioma, Slip, Transition, Variants
from monai_spine.spine import FINDINGS, Level

STEP = 0.25
"""Pixel size of `plane` in mm."""
SAC = [Tissue.CSF, Tissue.NERVE, Tissue.CORD, Tissue.FLOWING_CSF]
UNUSUAL = {
    "l6": Variants(Transition.L6),
    "sacralised": Variants(Transition.SACRALISED_L5),
    "slip": Variants(slip=Slip(Level.L4_L5, 9.0)),
    "haemangioma": Variants(haemangioma=Haemangioma(2, (0.1, 0.0, 0.0), 8.0)),
    "pulsating": Variants(pulsating=True),
}


def person(severity=0.5, seed=0, variants=NORMAL):
    """Someone with the same severity everywhere."""
    severities = np.full(len(FINDINGS), float(severity))
    same = Disease(severities)
    return draw_person(same, np.random.default_rng(seed), np.array([5.0, -10.0, 20.0]), variants)


def plane(someone, centre, axes, size):
    """Label map of a plane through ``centre`` (spine coordinates) along two of its local axes, ``STEP`` apart."""
    middle = someone.curve.to_world(centre)
    ahead = [someone.curve.to_world(centre + np.eye(3)[axis] * 0.1) - middle for axis in axes]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = (STEP * step / np.linalg.norm(step) for step in ahead)
    affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
    affine[:3, 3] = middle - affine[:3, :2] @ ((np.array(size) - 1) / 2)
    return label_map(someone, affine, (*size, 1))[0]


def sagittal(someone):
    """Label map of the sagittal plane through the canal: columns to the front, rows upwards, .5 mm apart."""
    affine, size = np.zeros((4, 4)), (161, 321)
    affine[1, 0] = affine[2, 1] = 0.5
    affine[0, 2] = affine[3, 3] = 1.0
    affine[:3, 3] = someone.curve.to_world(np.array([0.0, -15.0, -20.0])) - affine[:3, :2] @ ((np.array(size) - 1) / 2)
    return label_map(someone, affine, (*size, 1))[0]


def tissue_at(someone, place):
    """The tissue at a place in spine coordinates."""
    affine = np.diag([0.2, 0.2, 0.2, 1.0])
    affine[:3, 3] = someone.curve.to_world(np.array(place)) - 0.6
    return label_map(someone, affine, (7, 7, 7))[3, 3, 3]
