"""Volumes whose voxels are known functions of their place in the patient, and spines to cut them at."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from monai_spine.crops.stack import Stack
from monai_spine.geometry import Array, grid_affine, to_world
from monai_spine.spine import FINDINGS, Group, Level, Side

GRADIENT = np.array([0.0021, -0.0013, 0.0017])
"""Grey value per mm along right, anterior, superior, so that a volume stays between 0 and 1."""
SAGITTAL_STEP, AXIAL_STEP = (4.0, 1.0, 1.2), (0.9, 0.8, 4.5)
IDENTITY = np.array([[0, 1], [1, 1], [2, 1]])


def field(world: Array) -> Array:
    """A linear function of RAS mm."""
    return np.asarray(0.5 + world @ GRADIENT, dtype=np.float64)


def leaning(degrees: float, seed: int) -> Array:
    """A rotation by so many degrees about an axis that the seed decides on."""
    axis = np.random.default_rng(seed).normal(size=3)
    return np.asarray(Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(degrees)).as_matrix())


def box_affine(size: tuple[int, int, int], step: tuple[float, float, float], turn: Array | None = None) -> Array:
    """An affine whose volume's middle lies at the origin of the world."""
    affine = grid_affine(np.zeros(3), size, step)
    if turn is not None:
        affine[:3] = turn @ affine[:3]
    return affine


def stack_of(voxels: np.ndarray, affine: Array) -> Stack:
    """A stack in memory whose numbers are taken as they are."""
    shape = voxels.shape
    return Stack(voxels, affine, (0.0, 1.0), (shape[0], shape[1], shape[2]), (0, 0, 0), IDENTITY, "world")


def field_stack(size: tuple[int, int, int], step: tuple[float, float, float], turn: Array | None = None) -> Stack:
    """The linear field as a volume."""
    affine = box_affine(size, step, turn)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    return stack_of(field(to_world(affine, index)).astype(np.float32), affine)


def spine_points(pitch: float = 32.0) -> dict[str, Array]:
    """All 25 points of a straight, upright spine: the canal on the z axis, L3/L4 at the origin."""
    points = {}
    for finding in FINDINGS:
        up = (list(Level).index(Level.L3_L4) - list(Level).index(finding.level)) * pitch
        sideways = {Side.RIGHT: 1.0, Side.LEFT: -1.0, None: 0.0}[finding.condition.side]
        offset = {
            Group.SPINAL: np.zeros(3),
            Group.FORAMINAL: np.array([18.0 * sideways, 3.0, 6.0]),
            Group.SUBARTICULAR: np.array([9.5 * sideways, 2.0, -2.0]),
        }[finding.condition.group]
        points[finding.name] = offset + np.array([0.0, 0.0, up])
    return points


def moved(points: dict[str, Array], turn: Array, shift: Array) -> dict[str, Array]:
    """The same spine turned about the origin, then shifted."""
    return {name: turn @ point + shift for name, point in points.items()}
