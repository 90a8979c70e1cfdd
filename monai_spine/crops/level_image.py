"""The image that a grader of levels gets of a study: the crops of all views, without MONAI's transforms.

`monai_spine.transforms.level_crops` makes the same image, step by step, for training and for bundles. This way serves
`predict` with converted networks: it does not import MONAI, which takes four seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.crops.augmentation import AS_IT_IS, FixedPose
from monai_spine.crops.bilinear import Floats
from monai_spine.crops.pose import Pose
from monai_spine.crops.study import STUDY_IMAGES, Crops, StudyCrops, StudyImages, open_study
from monai_spine.crops.view import ABSENT, View
from monai_spine.spine import Level, SeriesType


@dataclass(frozen=True)
class LevelImage:
    """Makes the image of a study."""

    views: tuple[View, ...]
    """In the order in which their slices follow one another."""

    def __call__(self, record: Mapping[Any, Any], pose: FixedPose = AS_IT_IS) -> Floats:
        """Float32 ``(5, slices of all views, rows, columns)``; every pixel of a slice that no stack shows is `ABSENT`.

        ``pose`` turns, scales or flips all crops.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If a volume cannot be used.
        """
        images = _images_of(record)
        study = self.study({**record, STUDY_IMAGES: images})
        return np.concatenate([with_absent(*self._crops(study, view, images, pose)) for view in self.views], axis=1)

    def study(self, record: Mapping[Any, Any]) -> StudyCrops:
        """Frames and sources of a record without its crops."""
        images, points = _images_of(record), record.get("points", {})

        def make() -> StudyCrops:
            return StudyCrops.of(open_study(record, self._series_types, images.open), points, self.views)

        # Both the image and its evidence need it, which takes 25 ms.
        return images.study((self.views, self._series_types, tuple(map(repr, sorted(points.items())))), make)

    def _crops(self, study: StudyCrops, view: View, images: StudyImages, pose: FixedPose) -> Crops:
        poses = dict.fromkeys(Level, Pose(rotation=pose.rotation, scale=pose.scale))
        # The key of `LevelCropsd`, so that several graders of a study share their crops.
        key = (view, tuple(poses.items()), pose.flipped, self._series_types)
        return images.crops(key, lambda: study.sample(view, poses, flipped=pose.flipped))

    @property
    def _series_types(self) -> tuple[SeriesType, ...]:
        return tuple(one for one in SeriesType if any(one in view.series for view in self.views))


def with_absent(crops: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """Crops ``(5, slices, rows, columns)`` from 0 to 1, with `ABSENT` where their mask ``(5, slices)`` is False."""
    return np.where(mask[:, :, None, None], crops.clip(0.0, 1.0), np.float32(ABSENT))


def _images_of(record: Mapping[Any, Any]) -> StudyImages:
    images: StudyImages | None = record.get(STUDY_IMAGES)
    return StudyImages() if images is None else images
