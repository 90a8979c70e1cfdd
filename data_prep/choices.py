"""Choices and defaults that the command line offers; light, so that ``--help`` answers at once."""

from __future__ import annotations

from enum import Enum

MAX_BYTES = 4 << 30
"""Default of ``--max-bytes``: what one file may declare, unpack or decode to."""


class PhantomSize(str, Enum):
    """How large a phantom's images are.

    ``full`` has matrices of 384 and 512 pixels, as scanners write them; ``small`` has about a quarter of the voxels.
    """

    SMALL = "small"
    FULL = "full"


class Plane(str, Enum):
    """Planes of ``--only``; the values of `monai_spine.geometry.Plane`."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


class NameBy(str, Enum):
    """How output folders and files are named."""

    UID = "uid"
    FOLDER = "folder"


class VolumeFormat(str, Enum):
    """File formats of the volumes."""

    NII_GZ = "nii.gz"
    NII = "nii"


class Verify(str, Enum):
    """What is compared with the DICOM files after a volume is written."""

    GEOMETRY = "geometry"
    FULL = "full"


class YesNo(str, Enum):
    """Yes or no."""

    YES = "yes"
    NO = "no"
