"""What both randomised datasets share: items by number, persons beyond the realistic, painting, and negatives.

Persons are bent, worn and stretched. Negatives are images without a lumbar spine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.phantom.curve import EXTENT, STEP, Field, SpineCurve
from data_prep.phantom.disease import Disease, draw_disease
from data_prep.phantom.painting import bones, canal, soft_tissue
from data_prep.phantom.painting.canvas import Canvas, Mask, Tissue
from data_prep.phantom.person import Anatomy, draw_person
from data_prep.phantom.quirks import Quirk, Variants, draw_variants
from data_prep.phantom.randomised.appearance import FOREIGN, Shape, smooth_field
from data_prep.phantom.signal import grain_factors, grain_table
from monai_spine.geometry import Array
from monai_spine.spine import Side

Labels = npt.NDArray[np.uint8]
T = TypeVar("T")

USUAL = 0.35
"""Share of persons that are drawn as for a cohort. Together with one normaliser per type of landmark in the loss, they
took the level localizer on T1 volumes of cohorts from 22 uncertain and 5 wrong levels to none of either."""
_VARIANTS = {
    Quirk.L6: 0.08,
    Quirk.SACRALISED_L5: 0.08,
    Quirk.SPONDYLOLISTHESIS: 0.15,
    Quirk.HAEMANGIOMA: 0.15,
    Quirk.FLOW_VOID: 0.15,
}
"""Shares of unusual findings, several times those among patients."""
SOFT_TISSUE = 0.93
"""Share of images with soft tissue around the spine; in the others the spine lies in air."""


def draw_anatomy(rng: np.random.Generator) -> tuple[Anatomy, bool]:
    """A person, and whether it is a usual one."""
    is_usual = bool(rng.random() < USUAL)
    person = (draw_usual if is_usual else draw_unusual)(rng)
    # Of patients' roots, many lie together behind the fluid, and a dark line parts the sac from fat.
    return replace(person, root_radius=float(rng.uniform(0.5, 1.3)), dura=float(rng.uniform(0.0, 1.0))), is_usual


def draw_usual(rng: np.random.Generator) -> Anatomy:
    """A person as in a phantom cohort, with more variants."""
    return draw_person(draw_disease(rng), rng, np.zeros(3), _variants(rng))


def draw_unusual(rng: np.random.Generator) -> Anatomy:
    """A person with more disease, in any posture, and with any hydration, conus and fat."""
    worse = _worse(draw_disease(rng), rng)
    usual = draw_person(worse, rng, np.zeros(3), _variants(rng))
    return replace(
        usual,
        curve=_bent(usual.curve, rng),
        discs=tuple(replace(disc, hydration=float(rng.uniform(0.0, 1.0))) for disc in usual.discs),
        conus=usual.conus + float(rng.uniform(-25.0, 25.0)),
        fat=float(rng.uniform(2.0, 50.0)),
        streaks=float(rng.uniform(0.0, 0.6)),
    )


def landmarks(anatomy: Anatomy) -> tuple[Array, Array]:
    """Points in RAS mm at every disc above the sacrum, from above; the last disc is the lumbosacral one.

    Returns
    -------
    The middles of the thecal sac, ``(discs, 3)``, and of the foramina, left then right, ``(discs, 2, 3)``.
    """
    mobile = [i for i, body in enumerate(anatomy.vertebrae) if not body.sacral]
    canal = [anatomy.canal.sac_middle(anatomy.canal.disc_heights[i]) for i in mobile]
    foramen = [[anatomy.foramen_below(i, side) for side in (Side.LEFT, Side.RIGHT)] for i in mobile]
    return anatomy.curve.to_world(np.array(canal)), anatomy.curve.to_world(np.array(foramen))


def _variants(rng: np.random.Generator) -> Variants:
    return draw_variants(frozenset(quirk for quirk, share in _VARIANTS.items() if rng.random() < share), rng)


def _worse(usual: Disease, rng: np.random.Generator) -> Disease:
    """More disease, and less correlated: every level may have every severity."""
    severity = usual.severity + rng.uniform(-0.5, 1.5) + rng.normal(0.0, 0.7, usual.severity.shape)
    return Disease(severity)


def _bent(curve: SpineCurve, rng: np.random.Generator) -> SpineCurve:
    """From flat back to deep lordosis, with scoliosis to about 20 mm and rotation to about 15 degrees; without slip."""
    heights = SpineCurve.heights()
    sway = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / rng.uniform(200, 500) + rng.random()))
    tilt = curve.tilt * rng.uniform(0.2, 1.35) + sway
    side = rng.normal(0.0, 8.0) * np.sin(2 * np.pi * (heights / rng.uniform(180, 450) + rng.random()))
    twist = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / (2 * EXTENT) + rng.random()))
    steepest = np.abs(np.gradient(tilt, STEP)).max() * 60.0  # a body 60 mm from the curve must not fold over itself
    return SpineCurve.from_tilt(curve.origin, tilt / max(1.0, steepest / 1.4), side, twist)


class RandomisedDataset(ABC):
    """A dataset whose items are made when they are asked for; item ``n`` of a seed and epoch is always the same.

    ``length`` is how many items an epoch has.
    """

    def __init__(self, *, length: int, seed: int = 0) -> None:
        self.length, self.seed = int(length), int(seed)
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Change the items to those of an epoch; every epoch has other items."""
        self.epoch = int(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record of an item.

        Raises
        ------
        IndexError
            If ``index`` is negative or not below the length.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"expected an index from 0 to {self.length - 1}, but given {index}")
        return self._item(np.random.default_rng([self.seed, self.epoch, index]))

    @abstractmethod
    def _item(self, rng: np.random.Generator) -> dict[str, Any]:
        """A new item, drawn with these random numbers."""


def drawn(shares: Mapping[T, float], rng: np.random.Generator) -> T:
    """One of the keys, with the probability of its share."""
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def paint(
    person: Anatomy, values: Field, canvas: Canvas, rng: np.random.Generator, *, with_blobs: bool, grainy: float
) -> Field:
    """Paint a person.

    Parameters
    ----------
    values
        The grey value of every tissue, ``(256,)``.
    with_blobs
        Whether blobs may replace the surroundings of the spine.
    grainy
        The share of images that show the grain inside the tissues.

    Returns
    -------
    Grey values ``(slices, rows, columns)``, the mean over the samples of every voxel.
    """
    if rng.random() < SOFT_TISSUE:
        soft_tissue.paint(canvas.coarse(), person)
        canvas.spread_coarse()
    if with_blobs:
        _replace_surroundings(canvas, rng)
    bones.paint(canvas, person)
    canal.paint(canvas, person)
    tissue = canvas.whole.tissue
    samples = values[tissue].reshape(-1, canvas.samples, *tissue.shape[1:])
    image = samples.mean(axis=1, dtype=np.float32)
    if rng.random() < grainy:
        image *= grain_factors(canvas.one_sample(), person, grain_table(person, values))
    return image


def _replace_surroundings(canvas: Canvas, rng: np.random.Generator) -> None:
    """In half of the images, blobs in place of everything away from the spine."""
    if rng.random() > 0.5:
        return
    near = canvas.one_sample()
    blobs = shapes(near.tissue.shape, rng)
    front, back, side = rng.uniform(20.0, 45.0), rng.uniform(-75.0, -45.0), rng.uniform(30.0, 60.0)
    away: Mask = ((near.a > front) | (near.a < back) | (near.side > side)) & (near.tissue != Tissue.AIR)
    blobs[~away] = near.tissue[~away]
    near.tissue[:] = blobs
    canvas.spread_coarse()


def shapes(shape: Shape, rng: np.random.Generator) -> Labels:
    """A label map of smooth blobs: each covers the places where its random field is the largest of several."""
    largest: Field = np.full(shape, -np.inf, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    for number in range(int(rng.integers(3, 7))):
        bumps = (int(rng.integers(1, 4)), int(rng.integers(2, 14)), int(rng.integers(2, 14)))
        field = smooth_field(shape, bumps, rng)
        larger = field > largest
        largest[larger] = field[larger]
        labels[larger] = FOREIGN + number
    return labels


def body_part(shape: Shape, rng: np.random.Generator) -> Labels:
    """A label map like a head, a knee or a pelvis: nested and scattered ellipsoids in air, bones with a shell."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij"))
    warp = 0.12 * np.stack([smooth_field(shape, (2, 4, 4), rng) for _ in range(3)])
    place = grid + warp.astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    middle, size = rng.uniform(-0.3, 0.3, 3), rng.uniform(0.45, 1.1, 3)
    for shell, number in ((1.0, 0), (0.93, 1), (0.85, 2), (0.8, 3)):
        labels[_inside(place, middle, size * shell)] = FOREIGN + number
    if rng.random() < 0.5:  # folds of a brain, lobules of an organ
        folds = np.sin(rng.uniform(6, 22) * smooth_field(shape, (2, 6, 6), rng)) > 0
        labels[(labels == FOREIGN + 3) & folds] = FOREIGN + 4
    for number in range(int(rng.integers(2, 12))):
        centre, radius = middle + size * rng.uniform(-0.7, 0.7, 3), rng.uniform(0.05, 0.4, 3)
        labels[_inside(place, centre, radius)] = FOREIGN + 6 + number % 8
        labels[_inside(place, centre, radius * rng.uniform(0.6, 0.95))] = FOREIGN + 14 + number % 8
    return labels


def _inside(place: Field, middle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    offset = (place - middle[:, None, None, None].astype(np.float32)) / radius[:, None, None, None].astype(np.float32)
    return (offset * offset).sum(axis=0) < 1.0
