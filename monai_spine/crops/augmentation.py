"""The augmentation of crops: limits of the poses that are drawn in training, and how often a study is flipped."""

from dataclasses import dataclass, fields

import numpy as np

from monai_spine.crops.pose import Pose
from monai_spine.errors import InvalidOptionError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of the random changes. A pose is drawn for each level and view, the jitter per level, the flip per study.

    Raises `InvalidOptionError` if a limit is negative, or ``mirror`` is above 1.
    """

    rotation: float = 15.0
    """Degrees in the plane, in both directions."""
    tilt: float = 5.0
    """Degrees out of the plane, in both directions, about each of two axes."""
    scale: float = 0.15
    """Planes show between ``1 / (1 + scale)`` and ``1 + scale`` times the millimetres of the view."""
    shift_mm: float = 3.0
    """Millimetres in the plane, in both directions."""
    slice_shift_mm: float = 1.0
    """Millimetres across the planes, in both directions."""
    jitter_mm: float = 1.5
    """Standard deviation in mm of the points' error along each axis; errors are cut at two deviations."""
    mirror: float = 0.5
    """Probability of a flip, which exchanges left and right."""
    strength: float = 1.0
    """Factor of all limits but the points' error and the flip: one knob for stronger or weaker augmentation."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0:  # written so that NaN fails too
                raise InvalidOptionError(f"augmentation: expected {field.name} of at least 0")
        if self.mirror > 1:
            raise InvalidOptionError(f"augmentation: expected mirror from 0 to 1, but found {self.mirror}")
        # Multiplied here, so that all who ask for limits, such as the cache of crops, see those that are drawn from.
        for name in ("rotation", "tilt", "scale", "shift_mm", "slice_shift_mm"):
            object.__setattr__(self, name, getattr(self, name) * self.strength)
        object.__setattr__(self, "strength", 1.0)

    def draw_flip(self, random: np.random.RandomState) -> bool:
        """Whether to exchange left and right."""
        return bool(random.random() < self.mirror)

    def draw_jitter(self, random: np.random.RandomState) -> tuple[float, float, float]:
        """The error in mm of a level's points."""
        # Cut at two deviations, so that the part of a volume that the cache keeps stays small.
        x, y, z = np.clip(random.normal(size=3), -2.0, 2.0) * self.jitter_mm
        return float(x), float(y), float(z)

    def draw(self, random: np.random.RandomState, jitter: tuple[float, float, float]) -> Pose:
        """The pose of one crop."""
        turn, about_columns, about_rows, stretch, x, y, across = random.uniform(-1.0, 1.0, 7)
        return Pose(
            rotation=turn * self.rotation,
            tilt=(about_columns * self.tilt, about_rows * self.tilt),
            scale=float((1.0 + self.scale) ** stretch),  # the exponent is uniform: as often larger as smaller
            shift=(x * self.shift_mm, y * self.shift_mm, across * self.slice_shift_mm),
            jitter=jitter,
        )


NO_AUGMENTATION = Augmentation(
    rotation=0.0, tilt=0.0, scale=0.0, shift_mm=0.0, slice_shift_mm=0.0, jitter_mm=0.0, mirror=0.0
)


@dataclass(frozen=True, kw_only=True)
class FixedPose:
    """In the place of an `Augmentation`: one pose for all crops of a study, for test-time augmentation."""

    rotation: float = 0.0
    """Degrees in the plane."""
    scale: float = 1.0
    """Factor by which a plane shows more millimetres."""
    flipped: bool = False

    def draw_flip(self, random: np.random.RandomState) -> bool:  # noqa: ARG002 - as `Augmentation`
        """Whether to exchange left and right: nothing is drawn."""
        return self.flipped

    def draw_jitter(self, random: np.random.RandomState) -> tuple[float, float, float]:  # noqa: ARG002
        """No error of the points."""
        return 0.0, 0.0, 0.0

    def draw(self, random: np.random.RandomState, jitter: tuple[float, float, float]) -> Pose:  # noqa: ARG002
        """The pose."""
        return Pose(rotation=self.rotation, scale=self.scale)


AS_IT_IS = FixedPose()
"""No change."""
