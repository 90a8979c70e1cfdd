"""How large a phantom's images are; apart from the rest so that the command line starts fast."""

from enum import Enum


class Size(str, Enum):
    """``full`` has matrices of 384 and 512 pixels as scanners write them, ``small`` about a quarter of the voxels."""

    SMALL = "small"
    FULL = "full"
