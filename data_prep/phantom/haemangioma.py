"""Painting a haemangioma: fat and vessels between few, thick trabeculae."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy
from data_prep.phantom.canvas import Canvas, squared
from data_prep.phantom.tissue import Tissue

TRABECULAE = 3.4
"""Distance of the trabeculae, which run upright and show as dots in axial images, in mm."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """The person's haemangioma, if there is one: inside the marrow of its body, as far as it goes."""
    found = anatomy.variants.haemangioma
    if found is None:
        return
    body = anatomy.vertebrae[FIRST_SACRAL - 1 - found.above_sacrum]
    r, a, s = np.array(found.place) * [body.width / 2, body.depth / 2, body.height / 2] + [0.0, 0.0, body.s]
    reach = found.radius
    patch = canvas.box((r - reach, r + reach), (a - reach, a + reach), (s - reach, s + reach))
    if patch is None:
        return
    ball = squared(patch.r - r, reach) + squared(patch.a - a, reach) + squared(patch.s - s, reach) <= 1.0
    inside = ball & (patch.tissue == Tissue.MARROW)
    turn = np.float32(2.0 * np.pi / TRABECULAE)
    beams = np.cos(turn * patch.r) * np.cos(turn * (patch.a + np.float32(0.3) * patch.r)) > 0.72
    patch.paint(inside, Tissue.HAEMANGIOMA)
    patch.paint(inside & beams, Tissue.CORTEX)
