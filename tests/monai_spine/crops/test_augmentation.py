import numpy as np
import pytest

from monai_spine.crops.augmentation import Augmentation
from monai_spine.errors import InvalidOptionError

LIMITS = {"rotation": 12.0, "tilt": 3.0, "scale": 0.12, "shift_mm": 2.0, "slice_shift_mm": 1.0, "jitter_mm": 1.0}


def test_one_knob_stretches_every_limit_but_the_points_error_and_the_flip() -> None:
    usual, strong = Augmentation(**LIMITS), Augmentation(**LIMITS, strength=2.5)
    assert (strong.rotation, strong.scale) == pytest.approx((30.0, 0.3))
    for name in ("rotation", "tilt", "scale", "shift_mm", "slice_shift_mm"):
        assert getattr(strong, name) == pytest.approx(2.5 * getattr(usual, name))
    assert (strong.jitter_mm, strong.mirror) == (usual.jitter_mm, usual.mirror)


def test_poses_are_drawn_within_the_stretched_limits() -> None:
    strong, random = Augmentation(**LIMITS, strength=2.0), np.random.RandomState(0)
    drawn = [strong.draw(random, (0.0, 0.0, 0.0)) for _ in range(500)]
    assert 22 < max(abs(pose.rotation) for pose in drawn) <= 24
    assert 1.2 < max(pose.scale for pose in drawn) <= 1.24


def test_strength_0_leaves_the_points_error_and_the_flip_alone() -> None:
    none = Augmentation(**LIMITS, strength=0.0)
    pose = none.draw(np.random.RandomState(0), (0.0, 0.0, 0.0))
    assert (pose.rotation, pose.scale, pose.shift) == (0.0, 1.0, (0.0, 0.0, 0.0))
    assert none.mirror == 0.5


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="strength"):
        Augmentation(strength=-1.0)
