"""Painting the pelvis: the wings of the sacrum, and the iliac bones."""

from __future__ import annotations

import numpy as np

from data_prep.phantom import shell
from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy
from data_prep.phantom.canvas import Canvas, Field, Patch, squared
from data_prep.phantom.shell import OUTSIDE


def paint_sacrum(canvas: Canvas, anatomy: Anatomy) -> None:
    """The lateral masses of the sacrum."""
    top = _top(anatomy)
    patch = canvas.box((-54, 54), (-34, 2), (top - 75, top))
    if patch is None:
        return
    slope = np.maximum(patch.side - 20.0, 0) * 0.25
    wing = squared(squared(patch.r, 53.0), 1.0) + squared(patch.a + 16.0, 17.0)
    shell.paint(patch, np.where(top - patch.s > slope, wing, OUTSIDE), 17.0)


def paint_ilia(canvas: Canvas, anatomy: Anatomy) -> None:
    """The iliac bones beside it."""
    top = _top(anatomy)
    for near, far in ((-110.0, -30.0), (30.0, 110.0)):
        patch = canvas.box((near, far), (-52, 24), (top - 75, top + 32))
        if patch is not None:
            _ilium(patch, top)


def _top(anatomy: Anatomy) -> float:
    """Height of the upper end of the sacrum."""
    first = anatomy.vertebrae[FIRST_SACRAL]
    return first.s + first.height / 2 + 2.0


def _ilium(patch: Patch, top: float) -> None:
    """An iliac blade, running outwards and forwards, farther from the midline higher up."""
    above: Field = np.clip(patch.s - top, -50, 30).astype(np.float32, copy=False)
    beside: Field = patch.side - patch.a * 0.44 - above * 0.35 - 70.8
    depth = squared(squared(patch.a + 14.0, 36.0), 1.0)
    blade = squared(squared(beside, 6.5), 1.0) + depth * depth
    shell.paint(patch, np.where(patch.s < top + 32, blade, OUTSIDE), 6.5)
