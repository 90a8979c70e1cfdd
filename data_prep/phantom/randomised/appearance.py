"""What an image looks like: grey values of the tissues, and what scanners and patients do to an image.

Grey values follow physics with everything jittered, or chance. Images are float32 ``(x, y, z)``: slices from left to
right, columns from back to front, rows from below upwards.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import Mask, Tissue
from data_prep.phantom.person import Anatomy
from data_prep.phantom.signal import Relaxation, Sequence, relaxations, signal_table, stir
from monai_spine.data.volume import WINDOW

Shape = tuple[int, ...]

BY_CHANCE = 0.45
"""Share of images of unusual persons whose grey values follow no physics."""
NUMBERS = 256
FOREIGN = 200
"""Numbers from here on in a label map are structures that belong to no anatomy."""


def contrast(person: Anatomy, rng: np.random.Generator, *, usual: bool) -> Field:
    """Grey value of every number in a label map, ``(256,)``, the brightest at 1; of usual persons always by physics."""
    by_chance = rng.random() < (0.0 if usual else BY_CHANCE)
    values = _by_chance(len(person.discs), rng) if by_chance else _by_physics(person, rng)
    values[FOREIGN:] = rng.uniform(0.0, 0.8, NUMBERS - FOREIGN) * values.max()
    return (values / max(float(values.max()), 1e-6)).astype(np.float32)


def _by_chance(discs: int, rng: np.random.Generator) -> Field:
    """A random grey value for every tissue; often the discs are alike."""
    values = rng.uniform(0.0, 1.0, NUMBERS)
    values[Tissue.AIR] = 0.0 if rng.random() < 0.8 else rng.uniform(0.0, 0.3)
    if rng.random() < 0.7:  # in every sequence these tissues are nearly the same
        values[Tissue.NERVE] = values[Tissue.CORD] = rng.uniform()
        values[Tissue.SKIN] = values[Tissue.MUSCLE]
    if rng.random() < 0.6:
        values[Tissue.NUCLEUS : Tissue.NUCLEUS + discs] = rng.uniform() + rng.normal(0.0, 0.08, discs)
    return np.clip(values, 0.0, 1.2).astype(np.float32)


def _by_physics(person: Anatomy, rng: np.random.Generator) -> Field:
    """The spin-echo signal of every tissue, with random timing and jittered relaxation."""
    sequence, field = _sequence(rng)
    tissues = {number: _jittered(relaxation, rng) for number, relaxation in relaxations(person).items()}
    darker = float(rng.uniform(0.45, 1.1))  # roots and cord of patients are darker than their T2 makes them
    for number in (Tissue.NERVE, Tissue.CORD):
        tissues[number] = replace(tissues[number], t2=tissues[number].t2 * darker)
    return signal_table(tissues, sequence, field)


def _sequence(rng: np.random.Generator) -> tuple[Sequence, float]:
    """T1, T2, proton density or STIR, with timing from more than the usual range, and a field from 0.5 to 3 T."""
    field = float(rng.uniform(0.5, 3.0))
    weighting = rng.choice(4, p=[0.35, 0.45, 0.05, 0.15])
    if weighting == 0:
        return Sequence(float(rng.uniform(350, 900)), float(rng.uniform(7, 25))), field
    if weighting == 1:
        return Sequence(float(rng.uniform(2000, 6000)), float(rng.uniform(60, 160))), field
    if weighting == 2:
        return Sequence(float(rng.uniform(1500, 4000)), float(rng.uniform(10, 40))), field
    nulled = stir(field)
    return replace(
        nulled, echo=float(rng.uniform(25, 90)), inversion=(nulled.inversion or 0) * float(rng.uniform(0.85, 1.15))
    ), field


def _jittered(tissue: Relaxation, rng: np.random.Generator) -> Relaxation:
    density, t1, t2 = np.exp(rng.normal(0.0, [0.08, 0.15, 0.2]))
    return replace(tissue, density=tissue.density * density, t1=tissue.t1 * t1, t2=tissue.t2 * t2)


def smooth_field(shape: Shape, bumps: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """Smooth random numbers of about unit deviation, with about ``bumps`` bumps along the axes."""
    values = rng.standard_normal([n + 1 for n in bumps], dtype=np.float32)
    for axis, (size, n) in enumerate(zip(shape, bumps, strict=True)):
        values = np.moveaxis(np.tensordot(_linear(size, n), values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def _linear(size: int, bumps: int) -> Field:
    """Matrix ``(size, bumps + 1)`` of linear interpolation from one end to the other."""
    places = np.linspace(0.0, bumps, size)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(bumps + 1))).astype(np.float32)


def photographed(image: Field, in_view: Mask, rng: np.random.Generator) -> Field:
    """The image as a scanner leaves it, from 0 to 1, and 0 out of view."""
    image = image * _grain(image.shape, rng)
    image = _without_metal(image, rng)
    image = image * _bias(image.shape, rng)
    image = _ghosted(image, rng)
    if len(image) > 1:  # a single slice cannot be shifted against its neighbours
        image = _shifted_slices(image, rng)
    image = _blurred(image, rng)
    image = _noisy(image, rng)
    return _exposed(image, in_view, rng)


def _bias(shape: Shape, rng: np.random.Generator) -> Field:
    """Sensitivity of a surface coil at the back, with waves and, in half of the images, a saturation band in front."""
    y = np.linspace(0.0, 1.0, shape[1], dtype=np.float32)[:, None]
    coil = np.exp(-y * np.float32(rng.uniform(0.0, 2.2)))
    if rng.random() < 0.5:
        coil = coil * (0.1 + 0.9 / (1.0 + np.exp((y - np.float32(rng.uniform(0.55, 0.9))) / np.float32(0.03))))
    bumps = (2, int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    waves = np.exp(np.float32(rng.uniform(0.0, 0.35)) * smooth_field(shape, bumps, rng))
    return (waves * coil).astype(np.float32)


def _grain(shape: Shape, rng: np.random.Generator) -> Field:
    """Grain with a size of a few voxels, as tissue has it; noise differs from voxel to voxel."""
    bumps = (shape[0], shape[1] // int(rng.integers(2, 7)), shape[2] // int(rng.integers(2, 7)))
    return 1.0 + np.float32(rng.uniform(0.0, 0.12)) * smooth_field(shape, bumps, rng)


def _blurred(image: Field, rng: np.random.Generator) -> Field:
    """In-plane blur; in a fifth of the images up to that of 3 mm pixels."""
    width = rng.uniform(0.15, 0.7) if rng.random() < 0.8 else rng.uniform(0.7, 1.3)
    return np.asarray(gaussian_filter(image, (0.0, width, width * rng.uniform(0.7, 1.3)), truncate=3.0))


def _ghosted(image: Field, rng: np.random.Generator) -> Field:
    """In a quarter of the images, faint copies of it on both sides along one direction."""
    if rng.random() >= 0.25:
        return image
    axis, shift = int(rng.integers(1, 3)), int(rng.integers(8, 60))
    faint = np.float32(rng.uniform(0.02, 0.15))
    return image + faint * (np.roll(image, shift, axis) + np.roll(image, -shift, axis))


def _shifted_slices(image: Field, rng: np.random.Generator) -> Field:
    """In 15 % of the images, slices shifted by up to two voxels."""
    if rng.random() >= 0.15:
        return image
    shifts = rng.integers(-2, 3, (len(image), 2))
    return np.stack([np.roll(s, shift, (0, 1)) for s, shift in zip(image, shifts.tolist(), strict=True)])


def _noisy(image: Field, rng: np.random.Generator) -> Field:
    """Rician noise, from nearly none to a twelfth of the brightest tissue."""
    deviation = np.float32(np.exp(rng.uniform(np.log(0.004), np.log(0.08))))
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32)
    noise *= deviation
    return np.hypot(image + noise[0], noise[1])


def _without_metal(image: Field, rng: np.random.Generator) -> Field:
    """In 6 % of the images, metal implants: no signal around them and too much beside them."""
    if rng.random() > 0.06:
        return image
    x, y, z = np.ogrid[[slice(n) for n in image.shape]]
    for _ in range(int(rng.integers(1, 5))):
        cx, cy, cz = (rng.uniform(0.2, 0.8, 3) * image.shape).tolist()
        radius = rng.uniform(3.0, 10.0)
        distance = np.sqrt((3.0 * (x - cx)) ** 2 + (y - cy) ** 2 + (1.4 * (z - cz)) ** 2).astype(np.float32)
        image = np.where(distance < radius, np.float32(0.0), image)
        image = np.where((distance >= radius) & (distance < radius + 1.5), np.float32(1.2), image)
    return image


def field_of_view(shape: Shape, rng: np.random.Generator) -> Mask:
    """The voxels inside the field of view, which in 45 % of the images is a part of the grid."""
    mask = np.ones(shape, dtype=bool)
    if rng.random() < 0.45:
        for axis, least in enumerate((0.55, 0.4, 0.4)):
            lost = int(shape[axis] * (1.0 - rng.uniform(least, 1.0)))
            low = int(rng.integers(0, lost + 1))
            planes = np.moveaxis(mask, axis, 0)
            planes[:low] = False
            planes[shape[axis] - (lost - low) :] = False
    return mask


def _exposed(image: Field, mask: Mask, rng: np.random.Generator) -> Field:
    """Grey values from 0 to 1 (see `WINDOW`) with a random gamma, in 7 % inverted; 0 outside of the mask."""
    values = image[:, ::3, ::3][mask[:, ::3, ::3]]
    low, high = np.percentile(values, WINDOW).tolist() if values.size else (0.0, 1.0)
    scaled: Field = np.clip((image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0.0, 1.0)
    curved = scaled ** np.float32(np.exp(rng.normal(0.0, 0.25)))
    return (np.float32(1.0) - curved if rng.random() < 0.07 else curved) * mask
