"""A bundle's preprocessing, for the study seen in a mirror: left and right of the patient exchanged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from monai.transforms import Compose

from monai_spine.crops.pose import NO_AUGMENTATION
from monai_spine.errors import InvalidOptionError
from monai_spine.transforms.lateral_flip import RandLateralFlipd
from monai_spine.transforms.level_crops import LevelCropsd
from monai_spine.transforms.study_grid import StudyGridd

MIRROR_ALONE = replace(NO_AUGMENTATION, mirror=1.0)


def mirrored(preprocessing: Callable[..., Any], bundle: str) -> Compose:
    """The same transforms, with the mirror of whichever of them puts the study into patient space.

    `LevelCropsd` mirrors by itself, as in training; after `StudyGridd`, whose first axis runs to the patient's right,
    `RandLateralFlipd` does.

    Raises
    ------
    InvalidOptionError
        If there is none of them, so that nobody knows which axis is the patient's left-right axis.
    """
    transforms: list[Any] = []
    for transform in Compose([preprocessing]).flatten().transforms:
        changed = copy.copy(transform)
        if isinstance(changed, LevelCropsd):
            changed.augmentation = MIRROR_ALONE
        transforms.append(changed)
        if isinstance(changed, StudyGridd):
            transforms.append(RandLateralFlipd(prob=1.0))
    if not any(isinstance(one, LevelCropsd | RandLateralFlipd) for one in transforms):
        raise InvalidOptionError(
            f"{bundle}: --tta needs LevelCropsd or StudyGridd in the bundle's preprocessing, which know the patient's "
            "left from right, but found neither"
        )
    return Compose(transforms)
