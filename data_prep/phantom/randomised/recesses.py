"""A dataset of randomised axial slices around the lateral recesses: image, plane and true points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import Canvas
from data_prep.phantom.person import Anatomy
from data_prep.phantom.randomised import dataset
from data_prep.phantom.randomised.appearance import contrast, photographed
from data_prep.phantom.randomised.dataset import Labels, RandomisedDataset, drawn
from monai_spine.geometry import Array
from monai_spine.spine import Level, Side

FIELD = 62.0
"""Side of a slice in mm: what a crop of 48 mm needs when it is turned against the rows by up to 15 degrees."""
OFFSETS = np.array([(-0.33, 0.0, -0.33), (0.0, -0.33, 0.0), (0.33, 0.33, 0.33)])
"""Where the samples of a voxel lie, also within the thickness of the slice."""
POCKET = 9.0
"""A recess extends this far above and below its middle along the spine, in mm. Planes farther off do not show it."""
SEARCH = 24.0
"""How far along the spine a recess is searched for on the plane, in mm."""
GRAINY = 0.75
"""Share of images with the grain of tissues. The images of cohorts always have it."""


class Content(str, Enum):
    """What a slice shows."""

    RECESS = "recess"
    BETWEEN = "between"
    """The spine far from any disc: without points."""
    FLIPPED = "flipped"
    """A slice that is flipped front to back against its affine: without points."""
    NO_SPINE = "no_spine"


SHARES = {Content.RECESS: 0.86, Content.BETWEEN: 0.06, Content.FLIPPED: 0.03, Content.NO_SPINE: 0.05}


@dataclass(frozen=True)
class Plane:
    """Where a slice lies."""

    origin: Array
    """A point on it, RAS mm of the patient."""
    normal: Array
    """Its unit normal, upwards."""
    stretch: Array
    """From RAS mm of the patient to mm of the phantom, which was drawn at a usual size, ``(3,)`` factors."""


class RandomisedRecesses(RandomisedDataset):
    """Axial slices through the discs of spines in any contrast, posture and state.

    They train a network that finds the recesses in a slice when the canal is roughly known.

    An item is a record:

    ``image``
        float32 ``(columns, rows, 1)``: one slice of `FIELD` mm with pixels of .35 to 1.2 mm, its axes in any order and
        direction, turned by up to 15 degrees in its plane.
    ``affine``
        float64 ``(4, 4)``: from voxels to RAS mm.
    ``canal``, ``upwards``
        float64 ``(3,)``: RAS mm of the canal at the disc, and the spine's direction. Like those of a localizer they are
        some mm and degrees off.
    ``recess``
        float64 ``(2, 3)``: RAS mm of the left and the right lateral recess, where the spine's own direction pierces the
        plane; NaN where there is none.
    ``sac``
        float64 ``(3,)``: RAS mm of the middle of the thecal sac in the plane; NaN where there is none.
    ``content``
        See `Content`.

    Parameters
    ----------
    length, seed
        How many items an epoch has, and the seed of all items.
    """

    def _item(self, rng: np.random.Generator) -> dict[str, Any]:
        content = drawn(SHARES, rng)
        person, usual = dataset.draw_anatomy(rng)
        level = list(Level)[int(rng.integers(len(Level)))]
        plane = _plane(person, level, content, rng)
        middle = _in_patient(plane, person, person.canal_point(level))
        localised = middle + rng.normal(0.0, 2.0 if rng.random() < 0.85 else 4.5, 3)
        affine, size = _grid(plane, localised, rng)
        values = contrast(person, rng, usual=usual)
        if content is Content.NO_SPINE:
            image = values[_negative(size, rng)]
        else:
            phantom = np.diag([*plane.stretch, 1.0]) @ affine
            canvas = Canvas.blank(person.curve, phantom, (size, size, 1), OFFSETS)
            image = dataset.paint(person, values, canvas, rng, with_blobs=False, grainy=GRAINY)
        image = photographed(image, np.ones(image.shape, dtype=bool), rng)[0]
        recess, sac = _truth(person, level, plane, content)
        image, affine = _stored(image, affine, rng)
        return {
            "image": np.ascontiguousarray(image[..., None], dtype=np.float32),
            "affine": affine,
            "canal": localised,
            "upwards": _turned(_upwards(person, level, plane), np.radians(rng.normal(0.0, 5.0, 2))),
            "recess": recess,
            "sac": sac,
            "content": content.value,
        }


def _plane(person: Anatomy, level: Level, content: Content, rng: np.random.Generator) -> Plane:
    """A plane near the disc, tilted like those of a block of parallel slices; the person is stretched on all axes."""
    size = rng.uniform(0.8, 1.22) * np.exp(rng.normal(0.0, 0.07, 3))
    plane = Plane(np.zeros(3), np.array([0.0, 0.0, 1.0]), 1.0 / size)
    forwards = rng.normal(0.0, 9.0) if rng.random() < 0.7 else rng.uniform(-36.0, 36.0)
    tilt = np.radians([forwards, np.clip(rng.normal(0.0, 5.0), -15.0, 15.0)])
    normal = _turned(_upwards(person, level, plane), tilt)
    if content is Content.BETWEEN:
        off = rng.uniform(13.0, 19.0) * rng.choice([-1.0, 1.0])
    else:
        off = rng.uniform(-2.6, 2.6) if rng.random() < 0.7 else rng.uniform(-6.0, 6.0)
    recesses = [_in_patient(plane, person, person.recess_point(level, side)) for side in Side]
    return Plane(np.mean(recesses, axis=0) + off * normal, normal, plane.stretch)


def _in_patient(plane: Plane, person: Anatomy, points: Array) -> Array:
    """Spine coordinates ``(..., 3)`` to RAS mm of the patient."""
    return np.asarray(person.curve.to_world(points) / plane.stretch, dtype=np.float64)


def _upwards(person: Anatomy, level: Level, plane: Plane) -> Array:
    """Unit vector along the spine at a disc, in the patient."""
    middle = person.canal_point(level)
    above, below = (_in_patient(plane, person, middle + np.array([0.0, 0.0, s])) for s in (5.0, -5.0))
    return np.asarray((above - below) / np.linalg.norm(above - below), dtype=np.float64)


def _turned(direction: Array, angles: Array) -> Array:
    """A unit vector turned about the patient's right, then about the anterior axis, by angles in rad."""
    x, y, z = direction.tolist()
    (cx, cy), (sx, sy) = np.cos(angles).tolist(), np.sin(angles).tolist()
    y, z = cx * y - sx * z, sx * y + cx * z
    return np.array([cy * x + sy * z, y, -sy * x + cy * z])


def _grid(plane: Plane, around: Array, rng: np.random.Generator) -> tuple[Array, int]:
    """Affine of ``(column, row, slice)`` of a square around a point projected on the plane, and pixels along a side.

    Columns run to the right and rows forwards, but for a turn in the plane.
    """
    right = np.array([1.0, 0.0, 0.0]) - plane.normal[0] * plane.normal
    right /= np.linalg.norm(right)
    ahead = np.cross(plane.normal, right)
    angle = np.radians(np.clip(rng.normal(0.0, 4.0), -15.0, 15.0))
    columns, rows = np.cos(angle) * right + np.sin(angle) * ahead, np.cos(angle) * ahead - np.sin(angle) * right
    pixel, thickness = float(np.exp(rng.uniform(np.log(0.35), np.log(1.2)))), rng.uniform(2.0, 6.0)
    size = int(np.ceil(FIELD / pixel))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([columns * pixel, rows * pixel, plane.normal * thickness], axis=1)
    foot = around - ((around - plane.origin) @ plane.normal) * plane.normal
    affine[:3, 3] = foot - (affine[:3, 0] + affine[:3, 1]) * (size - 1) / 2
    return affine, size


def _negative(size: int, rng: np.random.Generator) -> Labels:
    """A label map ``(1, rows, columns)`` without a spine."""
    draw = dataset.body_part if rng.random() < 0.5 else dataset.shapes
    return draw((3, size, size), rng)[1:2]


def _truth(person: Anatomy, level: Level, plane: Plane, content: Content) -> tuple[Array, Array]:
    """The recesses and the middle of the sac on the plane, RAS mm."""
    if content is not Content.RECESS:
        return np.full((2, 3), np.nan), np.full(3, np.nan)
    recess = [_pierced(person, plane, person.recess_point(level, side)) for side in Side]
    sac, _ = _pierced(person, plane, person.canal_point(level))
    return np.stack([place if abs(off) <= POCKET else np.full(3, np.nan) for place, off in recess]), sac


def _pierced(person: Anatomy, plane: Plane, point: Array) -> tuple[Array, float]:
    """Where the line along the spine through a point in spine coordinates meets the plane, and how far off, in mm.

    NaN and infinity if they do not meet within `SEARCH`. A search, because Newton's method leaves the curve where a
    bent spine is nearly parallel to the plane.
    """
    off = np.linspace(-SEARCH, SEARCH, int(4 * SEARCH) + 1)
    places = _in_patient(plane, person, point + off[:, None] * np.array([0.0, 0.0, 1.0]))
    heights = (places - plane.origin) @ plane.normal
    before = np.flatnonzero(heights[:-1] * heights[1:] <= 0)
    if not len(before):
        return np.full(3, np.nan), float("inf")
    n = int(before[np.abs(off[before]).argmin()])
    part = float(heights[n] / (heights[n] - heights[n + 1])) if heights[n] != heights[n + 1] else 0.0
    return places[n] + part * (places[n + 1] - places[n]), float(off[n] + part * (off[n + 1] - off[n]))


def _stored(image: Field, affine: Array, rng: np.random.Generator) -> tuple[Field, Array]:
    """The slice with columns first, then each axis in a random direction and the axes in a random order."""
    voxels = image.T
    change = np.eye(4)
    for axis in (0, 1):
        if rng.random() < 0.5:
            voxels = np.flip(voxels, axis)
            turn = np.eye(4)
            turn[axis, axis], turn[axis, 3] = -1.0, image.shape[0] - 1
            change = change @ turn
    if rng.random() < 0.25:
        voxels = voxels.T
        change = change @ np.eye(4)[[1, 0, 2, 3]]
    return voxels, np.asarray(affine @ change, dtype=np.float64)
