"""A dataset of randomised sagittal volumes: image, landmarks and label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import Canvas, Mask, Patch, Tissue
from data_prep.phantom.person import Anatomy
from data_prep.phantom.randomised import dataset
from data_prep.phantom.randomised.appearance import contrast, field_of_view, photographed
from data_prep.phantom.randomised.dataset import Labels, RandomisedDataset, drawn
from data_prep.phantom.vertebrae import FIRST_SACRAL
from monai_spine.geometry import Array, to_voxel, to_world

OFFSETS = np.array([(-0.25, 0.25, -0.25), (0.25, -0.25, 0.25)])
"""Where the samples of a voxel lie. Two are the cheapest partial volume."""
GRAINY = 0.6
"""Share of images with the grain of tissues. The images of cohorts always have it."""
TOP_HIDDEN = 0.85
"""Share of images without the upper end of the phantom's spine, which no patient has."""


class Content(str, Enum):
    """What an image shows."""

    SPINE = "spine"
    FLIPPED = "flipped"
    """A spine in an image that is flipped front to back or upside down against its affine: without landmarks."""
    TINY = "tiny"
    """Vertebrae of half the size, like those of a neck: without landmarks."""
    BODY_PART = "body_part"
    SHAPES = "shapes"


SHARES = {
    Content.SPINE: 0.76,
    Content.FLIPPED: 0.07,
    Content.TINY: 0.05,
    Content.BODY_PART: 0.07,
    Content.SHAPES: 0.05,
}
_NEGATIVES = {Content.BODY_PART: dataset.body_part, Content.SHAPES: dataset.shapes}


class Region(IntEnum):
    """What a voxel of the label map belongs to."""

    BACKGROUND = 0
    BODY = 1
    DISC = 2
    CANAL = 3
    SACRUM = 4


_BONE = (Tissue.CORTEX, Tissue.MARROW, Tissue.VEIN)
_SAC = (Tissue.CSF, Tissue.FLOWING_CSF, Tissue.NERVE, Tissue.CORD)
_FLANK = 30.0
"""Bodies and discs lie within this distance from the midline, in mm."""


@dataclass(frozen=True)
class View:
    """Where an image lies."""

    affine: Array
    """From voxels ``(x, y, z)`` to RAS mm of the patient."""
    stretch: Array
    """From RAS mm of the patient to mm of the phantom, which was drawn at a usual size: ``(4, 4)``."""

    @property
    def phantom(self) -> Array:
        """From voxels to mm of the phantom."""
        return np.asarray(self.stretch @ self.affine, dtype=np.float64)


class RandomisedSpines(RandomisedDataset):
    """Sagittal volumes of spines in any contrast, posture, position and state.

    An item is a record:

    ``image``
        float32 ``(1, x, y, z)``: sagittal slices from left to right, columns from back to front, rows from below
        upwards; from 0 to 1 (`appearance.WINDOW`), 0 outside of the field of view.
    ``affine``
        float64 ``(4, 4)``: from voxels to RAS mm.
    ``canal``
        float64 ``(discs, 3)``: RAS mm of the middle of the thecal sac at every disc in view, from above.
    ``foramen``
        float64 ``(foramina, 3)``: RAS mm of the foramina in view, left and right of each disc, from above.
    ``lumbosacral``
        float64 ``(0 or 1, 3)``: the canal point at the disc above the sacrum, if it is in view.
    ``label``
        uint8 ``(1, x, y, z)``: `Region`.
    ``content``
        See `Content`. All but spines have no points and an empty label map.

    Parameters
    ----------
    length, seed
        How many items an epoch has, and the seed of all items.
    shape
        Voxels along x, y, z.
    step
        In-plane voxel size in mm. Slices are 3 to 5.5 mm apart, in 15 % of the images 1.5 to 3 mm.
    """

    def __init__(self, *, length: int, seed: int = 0, shape: Sequence[int] = (16, 144, 144), step: float = 2.0) -> None:
        super().__init__(length=length, seed=seed)
        self.step = float(step)
        x, y, z = (int(n) for n in shape)
        self.shape = (x, y, z)

    def _item(self, rng: np.random.Generator) -> dict[str, Any]:
        content = drawn(SHARES, rng)
        person, usual = dataset.draw_anatomy(rng)
        view = _view(person, self.shape, self.step, content, rng)
        if content in _NEGATIVES:
            tissue = _NEGATIVES[content](self.shape, rng)
            region = np.zeros(self.shape, dtype=np.uint8)
            image = contrast(person, rng, usual=False)[tissue]
        else:
            image, region = _painted(person, contrast(person, rng, usual=usual), view, self.shape, rng)
        in_view = field_of_view(self.shape, rng)
        if rng.random() < TOP_HIDDEN:
            _hide_top(in_view, person, view)
        image = photographed(image, in_view, rng)
        if content is Content.FLIPPED:
            image = np.flip(image, int(rng.integers(1, 3)))
        if content is not Content.SPINE:
            region = np.zeros_like(region)
        return {
            "image": np.ascontiguousarray(image[None], dtype=np.float32),
            "affine": view.affine,
            **_points(person, view, in_view, content),
            "label": np.ascontiguousarray((region * in_view)[None]),
            "content": content.value,
        }


def _view(
    person: Anatomy, shape: tuple[int, int, int], step: float, content: Content, rng: np.random.Generator
) -> View:
    """Any part of the spine, turned by up to about 30 degrees, the person stretched along all axes."""
    size = rng.uniform(0.8, 1.22) * np.exp(rng.normal(0.0, 0.07, 3))
    if content is Content.TINY:
        size = size * rng.uniform(0.38, 0.5)
    height = rng.uniform(-40.0, 30.0) if rng.random() < 0.7 else rng.uniform(-130.0, 130.0)
    middle = person.curve.to_world(np.array([rng.normal(0.0, 9.0), rng.uniform(-45.0, 25.0), height]))
    between = rng.uniform(3.0, 5.5) if rng.random() < 0.85 else rng.uniform(1.5, 3.0)
    turn = _rotation(np.radians(np.clip(rng.normal(0.0, [11.0, 5.0, 6.0]), -32.0, 32.0)))
    affine = np.eye(4)
    affine[:3, :3] = turn * [between, step, step]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    stretch = np.diag([*(1.0 / size), 1.0])
    stretch[:3, 3] = middle
    place = np.eye(4)
    place[:3, 3] = rng.normal(0.0, [10.0, 30.0, 60.0])
    return View(place @ affine, stretch @ np.linalg.inv(place))


def _rotation(angles: Array) -> Array:
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
    canvas = Canvas.blank(person.curve, affine, (shape[2], shape[1], shape[0]), OFFSETS)
    image = dataset.paint(person, values, canvas, rng, with_blobs=True, grainy=GRAINY)
    return image, regions_of(person, canvas.one_sample())


def regions_of(person: Anatomy, patch: Patch) -> Labels:
    """Regions of painted samples: bodies and discs in front of the posterior wall, the thecal sac, the sacrum."""
    wall = person.canal.wall[person.canal.rows(patch.s)]
    first = person.vertebrae[FIRST_SACRAL]
    sacral = patch.s < first.s + first.height / 2 + 0.5
    front = (patch.a > wall - 1.0) & (patch.side < _FLANK)
    bone = np.isin(patch.tissue, _BONE)
    regions = np.zeros(patch.tissue.shape, dtype=np.uint8)
    regions[bone & front & ~sacral] = Region.BODY
    regions[bone & sacral & (patch.side < 60.0)] = Region.SACRUM
    nucleus = (patch.tissue >= Tissue.NUCLEUS) & (patch.tissue < Tissue.NUCLEUS + len(person.discs))
    disc = (patch.tissue == Tissue.ANNULUS) | nucleus
    regions[disc & front & ~(sacral & (patch.s < first.s))] = Region.DISC
    inside = (patch.side < 10.0) & (patch.a < wall) & (patch.a > wall - 19.0)
    regions[np.isin(patch.tissue, _SAC) & inside] = Region.CANAL
    return regions


def _hide_top(in_view: Mask, person: Anatomy, view: View) -> None:
    """Take the rows above the uppermost body out of view."""
    first = person.vertebrae[0]
    top = person.curve.to_world(np.array([0.0, 0.0, first.s + first.height / 2 - 6.0]))
    row = int(np.ceil(to_voxel(view.phantom, top)[2]))
    in_view[:, :, max(0, row) :] = False


def _points(person: Anatomy, view: View, in_view: Mask, content: Content) -> dict[str, Array]:
    """The landmarks in view, in RAS mm."""
    if content is not Content.SPINE:
        return {name: np.zeros((0, 3)) for name in ("canal", "foramen", "lumbosacral")}
    canal, foramen = dataset.landmarks(person)
    groups = {"canal": canal, "foramen": foramen.reshape(-1, 3), "lumbosacral": canal[-1:]}
    to_patient: Array = np.linalg.inv(view.stretch).astype(np.float64)
    placed = {name: to_world(to_patient, points) for name, points in groups.items()}
    return {name: points[_are_in_view(to_voxel(view.affine, points), in_view)] for name, points in placed.items()}


def _are_in_view(voxels: Array, in_view: Mask) -> Mask:
    """Which points ``(n, 3)`` lie on voxels in view."""
    nearest = np.rint(voxels).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < in_view.shape)).all(axis=1)
    clipped = np.clip(nearest, 0, np.array(in_view.shape) - 1)
    return np.asarray(inside & in_view[tuple(clipped.T)], dtype=np.bool_)
