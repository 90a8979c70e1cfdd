"""A dataset of randomised spines: image, landmarks and label map on the fly, each from its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from data_prep.phantom import bones, canal, soft_tissue, texture
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Canvas, Field, Mask
from data_prep.phantom.randomised import contrast, damage, regions, spines, strangers
from data_prep.phantom.randomised.regions import Labels
from monai_spine.geometry import Array, to_voxel, to_world

SAMPLES = np.array([(-0.25, 0.25, -0.25), (0.25, -0.25, 0.25)])
"""Where in a voxel its samples lie: partial volume at the price of a glance."""


_USUAL = 0.35
"""Share of persons drawn as for a cohort, in contrasts that follow physics; the others are like nobody."""
_GRAINY = 0.6
"""Share of images with the grain of tissues; the cohorts' have it always."""
_UNENDING = 0.85
"""Share of images that do not show where the phantom's spine ends above: nobody's does."""


class Kind(str, Enum):
    """What an image shows."""

    SPINE = "spine"
    MIRRORED = "mirrored"
    """A spine whose image is turned front to back or upside down against its affine: nothing is to be found."""
    TINY = "tiny"
    """Vertebrae of half the size, as a neck's: nothing is to be found."""
    BODY_PART = "body_part"
    SHAPES = "shapes"


SHARES = {Kind.SPINE: 0.76, Kind.MIRRORED: 0.07, Kind.TINY: 0.05, Kind.BODY_PART: 0.07, Kind.SHAPES: 0.05}


@dataclass(frozen=True)
class View:
    """Where an image lies.

    Attributes
    ----------
    affine
        From voxels ``(x, y, z)`` to RAS mm of the patient.
    stretch
        From RAS mm of the patient to mm of the phantom, which was drawn at a usual size: ``(4, 4)``.
    """

    affine: Array
    stretch: Array

    @property
    def phantom(self) -> Array:
        """From voxels to mm of the phantom."""
        return np.asarray(self.stretch @ self.affine, dtype=np.float64)


class RandomisedSpines:
    """Sagittal volumes of spines in any contrast, posture, position and state, made when they are asked for.

    Domain randomisation (Billot et al. 2023, doi:10.1016/j.media.2023.102789): whatever differs between scanners and
    patients is drawn more widely than it occurs. Item ``n`` of a seed is always the same.

    An item is a record:

    ``image``
        float32 ``(1, x, y, z)``: sagittal slices from left to right, columns from back to front, rows from below
        upwards; from 0 to 1 (`damage.WINDOW`), 0 outside of the field of view.
    ``affine``
        float64 ``(4, 4)``: from voxels to RAS mm.
    ``canal``
        float64 ``(discs, 3)``: RAS mm of the thecal sac's middle at every disc in view, from above.
    ``foramen``
        float64 ``(foramina, 3)``: RAS mm of the foramina in view, left and right of each disc, from above.
    ``lumbosacral``
        float64 ``(0 or 1, 3)``: the canal point at the disc above the sacrum, if it is in view.
    ``label``
        uint8 ``(1, x, y, z)``: `regions.Region`.
    ``kind``
        See `Kind`; all but spines have no points and an empty label map.

    Parameters
    ----------
    length
        How many items an epoch has.
    seed
        Of the whole; `set_epoch` moves on to other items.
    shape
        Voxels along x, y, z.
    step
        In-plane voxel size in mm; slices are 3 to 5.5 mm apart, at times closer.
    """

    def __init__(self, *, length: int, seed: int = 0, shape: Sequence[int] = (16, 144, 144), step: float = 2.0) -> None:
        self.length, self.seed, self.step = int(length), int(seed), float(step)
        x, y, z = (int(n) for n in shape)
        self.shape = (x, y, z)
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
        view = _view(person, self.shape, self.step, kind, rng)
        if kind in (Kind.BODY_PART, Kind.SHAPES):
            tissue = (strangers.body_part if kind is Kind.BODY_PART else strangers.shapes)(self.shape, rng)
            region = np.zeros(self.shape, dtype=np.uint8)
            image = contrast.table(person, rng)[tissue]
        else:
            values = contrast.table(person, rng, by_chance=0.0) if usual else contrast.table(person, rng)
            image, region = _painted(person, values, view, self.shape, rng)
        seen = damage.seen(self.shape, rng)
        if rng.random() < _UNENDING:
            _hide_above(seen, person, view)
        image = _photographed(image, seen, rng)
        if kind is Kind.MIRRORED:
            image = np.flip(image, int(rng.integers(1, 3)))
        if kind is not Kind.SPINE:
            region = np.zeros_like(region)
        points = _points(person, view, seen, kind)
        return {
            "image": np.ascontiguousarray(image[None], dtype=np.float32),
            "affine": view.affine,
            **points,
            "label": np.ascontiguousarray((region * seen)[None]),
            "kind": kind.value,
        }


def _view(person: Anatomy, shape: tuple[int, int, int], step: float, kind: Kind, rng: np.random.Generator) -> View:
    """Any part of the spine, turned up to about 30 degrees, the person stretched along all axes."""
    size = rng.uniform(0.8, 1.22) * np.exp(rng.normal(0.0, 0.07, 3))
    if kind is Kind.TINY:
        size = size * rng.uniform(0.38, 0.5)
    height = rng.uniform(-40.0, 30.0) if rng.random() < 0.7 else rng.uniform(-130.0, 130.0)
    middle = person.curve.to_world(np.array([rng.normal(0.0, 9.0), rng.uniform(-45.0, 25.0), height]))
    between = rng.uniform(3.0, 5.5) if rng.random() < 0.85 else rng.uniform(1.5, 3.0)
    turn = _turn(np.radians(np.clip(rng.normal(0.0, [11.0, 5.0, 6.0]), -32.0, 32.0)))
    affine = np.eye(4)
    affine[:3, :3] = turn * [between, step, step]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    stretch = np.diag([*(1.0 / size), 1.0])
    stretch[:3, 3] = middle
    where = np.eye(4)
    where[:3, 3] = rng.normal(0.0, [10.0, 30.0, 60.0])
    return View(where @ affine, stretch @ np.linalg.inv(where))


def _turn(angles: Array) -> Array:
    """Rotation by angles in rad about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        matrix = one @ matrix
    return matrix


def _painted(
    person: Anatomy, values: Field, view: View, shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Field, Labels]:
    """Grey values and regions, ``(x, y, z)``; ``values`` are those of the tissues."""
    affine = np.array(view.phantom)
    affine[:, :3] = affine[:, [2, 1, 0]]  # the canvas stores slices first
    canvas = Canvas.blank(person.curve, affine, (shape[2], shape[1], shape[0]), SAMPLES)
    if rng.random() < 0.93:
        soft_tissue.paint(canvas.coarse(), person)
        canvas.spread_coarse()
    _replace_surroundings(canvas, shape, rng)
    bones.paint(canvas, person)
    canal.paint(canvas, person)
    samples = values[canvas.whole.tissue].reshape(shape[0], len(SAMPLES), shape[1], shape[2])
    image = samples.mean(axis=1, dtype=np.float32)
    middle = canvas.one_sample()
    if rng.random() < _GRAINY:
        image *= texture.at(middle, person, texture.factors(person, values))
    return image, regions.of_tissues(person, middle)


def _replace_surroundings(canvas: Canvas, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """At times, blobs in place of what lies away from the spine."""
    if rng.random() > 0.5:
        return
    blobs = strangers.shapes(shape, rng)
    near = canvas.one_sample()
    front, back, side = rng.uniform(20.0, 45.0), rng.uniform(-75.0, -45.0), rng.uniform(30.0, 60.0)
    away = ((near.a > front) | (near.a < back) | (near.side > side)) & (near.tissue != 0)
    blobs[~away] = near.tissue[~away]
    near.tissue[:] = blobs
    canvas.spread_coarse()


def _photographed(image: Field, seen: Mask, rng: np.random.Generator) -> Field:
    image = image * damage.texture(_shape(image), rng)
    image = damage.without_metal(image, rng)
    image = image * damage.bias(_shape(image), rng)
    image = damage.moved(image, rng)
    image = damage.blurred(image, rng)
    image = damage.noisy(image, rng)
    return damage.exposed(image, seen, rng)


def _hide_above(seen: Mask, person: Anatomy, view: View) -> None:
    """Take the rows above the uppermost body out of view."""
    first = person.vertebrae[0]
    top = person.curve.to_world(np.array([0.0, 0.0, first.s + first.height / 2 - 6.0]))
    row = int(np.ceil(to_voxel(view.phantom, top)[2]))
    seen[:, :, max(0, row) :] = False


def _shape(image: Field) -> tuple[int, int, int]:
    x, y, z = image.shape
    return x, y, z


def _points(person: Anatomy, view: View, seen: Mask, kind: Kind) -> dict[str, Array]:
    """Landmarks in RAS mm, those in view."""
    if kind is not Kind.SPINE:
        return {name: np.zeros((0, 3)) for name in ("canal", "foramen", "lumbosacral")}
    marks = spines.landmarks(person)
    groups = {"canal": marks.canal, "foramen": marks.foramen.reshape(-1, 3), "lumbosacral": marks.canal[-1:]}
    back: Array = np.linalg.inv(view.stretch).astype(np.float64)
    placed = {name: to_world(back, points) for name, points in groups.items()}
    return {name: points[_in_view(to_voxel(view.affine, points), seen)] for name, points in placed.items()}


def _in_view(voxels: Array, seen: Mask) -> Mask:
    """Which points ``(n, 3)`` lie on voxels that are seen."""
    nearest = np.rint(voxels).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < seen.shape)).all(axis=1)
    clipped = np.clip(nearest, 0, np.array(seen.shape) - 1)
    return np.asarray(inside & seen[tuple(clipped.T)], dtype=np.bool_)
