"""A dataset of axial slices around the lateral recesses: image, plane and truth on the fly, each from its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from data_prep.phantom import bones, canal, soft_tissue, texture
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Canvas, Field
from data_prep.phantom.randomised import contrast, damage, spines, strangers
from monai_spine.geometry import Array
from monai_spine.spine import Level, Side

FIELD = 62.0
"""Side of a slice in mm: what a crop of 48 mm needs when it is turned against the rows by up to 15 degrees."""
SAMPLES = np.array([(-0.33, 0.0, -0.33), (0.0, -0.33, 0.0), (0.33, 0.33, 0.33)])
"""Where in a voxel its samples lie, the thickness of the slice included."""
POCKET = 9.0
"""A recess reaches this far above and below its middle along the spine, mm; a plane beyond does not show it."""

_USUAL = 0.35
"""Share of persons drawn as for a cohort, in contrasts that follow physics; the others are like nobody."""
_GRAINY = 0.75
"""Share of images with the grain of tissues; the cohorts' have it always."""


class Kind(str, Enum):
    """What a slice shows."""

    RECESS = "recess"
    BETWEEN = "between"
    """The spine far from any disc: no recess is to be found."""
    MIRRORED = "mirrored"
    """A slice turned front to back against its affine: nothing is to be found."""
    STRANGER = "stranger"


SHARES = {Kind.RECESS: 0.86, Kind.BETWEEN: 0.06, Kind.MIRRORED: 0.03, Kind.STRANGER: 0.05}


@dataclass(frozen=True)
class Plane:
    """Where a slice lies.

    Attributes
    ----------
    origin, normal
        A point on it, RAS mm of the patient, and its unit normal, upwards.
    stretch
        From RAS mm of the patient to mm of the phantom, which was drawn at a usual size, ``(3,)`` factors.
    """

    origin: Array
    normal: Array
    stretch: Array


class RandomisedRecesses:
    """Axial slices through the discs of spines in any contrast, posture and state, made when they are asked for.

    The sibling of `RandomisedSpines` for a network that finds the recesses in a slice once the canal is known roughly.
    Item ``n`` of a seed is always the same.

    An item is a record:

    ``image``
        float32 ``(columns, rows, 1)``: one slice of `FIELD` mm, its pixels .35 to 1.2 mm, its axes in any order and
        direction, turned by up to 15 degrees in its plane.
    ``affine``
        float64 ``(4, 4)``: from voxels to RAS mm.
    ``canal``, ``upwards``
        float64 ``(3,)``: RAS mm of the canal at the disc, and the spine's direction, as a localizer would give them:
        some mm and degrees off.
    ``recess``
        float64 ``(2, 3)``: RAS mm of the left and the right lateral recess where the spine's own direction pierces the
        plane; NaN where there is none.
    ``sac``
        float64 ``(3,)``: RAS mm of the thecal sac's middle in the plane; NaN where there is none.
    ``kind``
        See `Kind`.

    Parameters
    ----------
    length
        How many items an epoch has.
    seed
        Of the whole; `set_epoch` moves on to other items.
    """

    def __init__(self, *, length: int, seed: int = 0) -> None:
        self.length, self.seed = int(length), int(seed)
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Make the items those of an epoch, which no other epoch has."""
        self.epoch = int(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record of an item.

        Raises
        ------
        IndexError
            If ``index`` is not below the length.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"expected an index from 0 to {self.length - 1}, but given {index}")
        rng = np.random.default_rng([self.seed, self.epoch, index])
        kind = Kind(rng.choice([kind.value for kind in SHARES], p=list(SHARES.values())))
        usual = bool(rng.random() < _USUAL)
        person = spines.usual(rng) if usual else spines.draw(rng)
        level = list(Level)[int(rng.integers(len(Level)))]
        plane = _plane(person, level, kind, rng)
        middle = _in_patient(plane, person, canal.canal_point(person, level))
        said = middle + rng.normal(0.0, 2.0 if rng.random() < 0.85 else 4.5, 3)
        affine, size = _grid(plane, said, rng)
        values = contrast.table(person, rng, by_chance=0.0) if usual else contrast.table(person, rng)
        if kind is Kind.STRANGER:
            image = values[_stranger(size, rng)]
        else:
            image = _painted(person, values, plane, affine, size, rng)
        image = _photographed(image, rng)
        recess, sac = _truth(person, level, plane, kind)
        image, affine = _stored(image, affine, rng)
        return {
            "image": np.ascontiguousarray(image[..., None], dtype=np.float32),
            "affine": affine,
            "canal": said,
            "upwards": _turned(_upwards(person, level, plane), np.radians(rng.normal(0.0, 5.0, 2))),
            "recess": recess,
            "sac": sac,
            "kind": kind.value,
        }


def _plane(person: Anatomy, level: Level, kind: Kind, rng: np.random.Generator) -> Plane:
    """A plane near the disc, tilted as those of a block of parallel slices are; the person stretched along all axes."""
    size = rng.uniform(0.8, 1.22) * np.exp(rng.normal(0.0, 0.07, 3))
    plane = Plane(np.zeros(3), np.array([0.0, 0.0, 1.0]), 1.0 / size)
    forwards = rng.normal(0.0, 9.0) if rng.random() < 0.7 else rng.uniform(-36.0, 36.0)
    tilt = np.radians([forwards, np.clip(rng.normal(0.0, 5.0), -15.0, 15.0)])
    normal = _turned(_upwards(person, level, plane), tilt)
    if kind is Kind.BETWEEN:
        off = rng.uniform(13.0, 19.0) * rng.choice([-1.0, 1.0])
    else:
        off = rng.uniform(-2.6, 2.6) if rng.random() < 0.7 else rng.uniform(-6.0, 6.0)
    recesses = [_in_patient(plane, person, canal.recess_point(person, level, side)) for side in Side]
    return Plane(np.mean(recesses, axis=0) + off * normal, normal, plane.stretch)


def _in_patient(plane: Plane, person: Anatomy, points: Array) -> Array:
    """Spine coordinates ``(..., 3)`` to RAS mm of the patient."""
    return np.asarray(person.curve.to_world(points) / plane.stretch, dtype=np.float64)


def _upwards(person: Anatomy, level: Level, plane: Plane) -> Array:
    """Unit vector along the spine at a disc, in the patient."""
    middle = canal.canal_point(person, level)
    above, below = (_in_patient(plane, person, middle + np.array([0.0, 0.0, s])) for s in (5.0, -5.0))
    return np.asarray((above - below) / np.linalg.norm(above - below), dtype=np.float64)


def _turned(direction: Array, angles: Array) -> Array:
    """A unit vector turned about the patient's right, then about the anterior axis, by angles in rad."""
    x, y, z = direction.tolist()
    (cx, cy), (sx, sy) = np.cos(angles).tolist(), np.sin(angles).tolist()
    y, z = cx * y - sx * z, sx * y + cx * z
    return np.array([cy * x + sy * z, y, -sy * x + cy * z])


def _grid(plane: Plane, around: Array, rng: np.random.Generator) -> tuple[Array, int]:
    """Affine of ``(column, row, slice)`` of a square around a point's foot, and its pixels along a side.

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


def _painted(  # noqa: PLR0917 - a person, a look, a place
    person: Anatomy, values: Field, plane: Plane, affine: Array, size: int, rng: np.random.Generator
) -> Field:
    """Grey values ``(1, rows, columns)``; ``values`` are those of the tissues."""
    phantom = np.diag([*plane.stretch, 1.0]) @ affine
    canvas = Canvas.blank(person.curve, phantom, (size, size, 1), SAMPLES)
    if rng.random() < 0.93:
        soft_tissue.paint(canvas.coarse(), person)
        canvas.spread_coarse()
    bones.paint(canvas, person)
    canal.paint(canvas, person)
    image = values[canvas.whole.tissue].mean(axis=0, dtype=np.float32, keepdims=True)
    if rng.random() < _GRAINY:
        image *= texture.at(canvas.one_sample(), person, texture.factors(person, values))
    return image


def _stranger(size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of a label map ``(1, rows, columns)`` without a spine."""
    draw = strangers.body_part if rng.random() < 0.5 else strangers.shapes
    return draw((3, size, size), rng)[1:2]


def _photographed(image: Field, rng: np.random.Generator) -> Field:
    """The slice ``(rows, columns)`` as a scanner leaves it."""
    _, rows, columns = image.shape
    shape = (1, rows, columns)
    image = image * damage.texture(shape, rng)
    image = damage.without_metal(image, rng)
    image = image * damage.bias(shape, rng)
    image = damage.ghosted(image, rng)
    image = damage.blurred(image, rng)
    image = damage.noisy(image, rng)
    return damage.exposed(image, np.ones(shape, dtype=bool), rng)[0]


def _truth(person: Anatomy, level: Level, plane: Plane, kind: Kind) -> tuple[Array, Array]:
    """The recesses and the sac's middle on the plane, RAS mm."""
    if kind is not Kind.RECESS:
        return np.full((2, 3), np.nan), np.full(3, np.nan)
    recess = [_pierced(person, plane, canal.recess_point(person, level, side)) for side in Side]
    sac, _ = _pierced(person, plane, canal.canal_point(person, level))
    return np.stack([place if abs(off) <= POCKET else np.full(3, np.nan) for place, off in recess]), sac


def _pierced(person: Anatomy, plane: Plane, point: Array) -> tuple[Array, float]:
    """Where the line along the spine through a point in spine coordinates meets the plane, and how far off it is, mm.

    Newton's method; the spine hardly bends over so short a way.
    """
    along = np.array([0.0, 0.0, 1.0])
    s = 0.0
    for _ in range(4):
        places = _in_patient(plane, person, point + np.outer([s, s + 0.5], along))
        height, next_height = ((places - plane.origin) @ plane.normal).tolist()
        s -= 0.5 * height / (next_height - height)
    return _in_patient(plane, person, point + s * along), s


def _stored(image: Field, affine: Array, rng: np.random.Generator) -> tuple[Field, Array]:
    """The slice with columns first, each axis in either direction, the axes in either order."""
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
