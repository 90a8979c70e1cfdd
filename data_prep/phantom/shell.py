"""Bone: marrow in a cortical shell."""

from __future__ import annotations

from data_prep.phantom.canvas import Field, Patch
from data_prep.phantom.tissue import Tissue

SHELL = 1.0
"""Cortical bone in mm."""
OUTSIDE = 9.0
"""A squared radius that is nowhere inside."""


def paint(patch: Patch, squared_radius: Field, least: float, shell: float = SHELL) -> None:
    """Paint where ``squared_radius`` is at most 1 as bone; ``least`` is the smallest radius in mm."""
    patch.paint(squared_radius <= 1.0, Tissue.CORTEX)
    patch.paint(squared_radius <= max(0.0, 1.0 - shell / least) ** 2, Tissue.MARROW)
