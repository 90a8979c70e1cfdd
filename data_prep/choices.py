"""Choices and defaults that the command line offers; light, so that ``--help`` answers at once."""

from enum import Enum

MAX_BYTES = 4 << 30
"""Default of ``--max-bytes``: what one file may declare, unpack or decode to."""


class PhantomSize(str, Enum):
    """How large a phantom's images are.

    ``full`` has matrices of 384 and 512 pixels, as scanners write them; ``small`` has about a quarter of the voxels.
    """

    SMALL = "small"
    FULL = "full"
