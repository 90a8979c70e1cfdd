"""Test-time augmentation: a study is graded several times, in other poses, and the probabilities are averaged.

A pose is a part of the crop's geometry: the crops are cut out of the volumes again, turned or scaled, instead of their
pixels being turned. A network then sees no corners without image, and each pixel is interpolated once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, MapTransform

from monai_spine.crops.augmentation import FixedPose
from monai_spine.errors import InvalidOptionError
from monai_spine.grading.poses import parse_tta, poses
from monai_spine.spine import FLIPPED
from monai_spine.transforms.level_crops import LevelCropsd
from monai_spine.transforms.study_grid import RandLateralFlipd, StudyGridd


def posed(preprocessing: Callable[..., Any], pose: FixedPose, bundle: str = "the bundle") -> Callable[..., Any]:
    """A bundle's preprocessing for the study in a pose.

    `LevelCropsd` cuts in it. After `StudyGridd`, whose first axis runs to the patient's right, `RandLateralFlipd` is
    added for the flip; a grid cannot be turned or scaled.

    Raises `InvalidOptionError` if the preprocessing cannot do it.
    """
    if pose == FixedPose():
        return preprocessing
    transforms: list[Any] = []
    only_flipped = pose == FixedPose(flipped=True)
    able = False
    for transform in Compose([preprocessing]).flatten().transforms:
        # A copy: the preprocessing of the study as it is must stay as it is.
        changed = copy.copy(transform)
        if isinstance(changed, LevelCropsd):
            changed.augmentation, able = pose, True
            if not only_flipped:
                changed.cache = None  # it keeps what crops without a pose need, and these reach further
        transforms.append(changed)
        if isinstance(changed, StudyGridd) and only_flipped:
            transforms.append(RandLateralFlipd(prob=1.0))
            able = True
    if not able:
        needed = "LevelCropsd or StudyGridd" if only_flipped else "LevelCropsd"
        raise InvalidOptionError(
            f"{bundle}: --tta {'flip' if only_flipped else 'rotations and scales'} needs {needed} in the bundle's "
            "preprocessing, which knows the patient's left from right, but found neither"
        )
    return Compose(transforms)


class PosedCropsd(MapTransform):
    """A study's ``image`` in every pose of test-time augmentation, ``(poses, …)``, for an evaluation.

    Parameters
    ----------
    preprocessing
        From a record to a dictionary with ``image``.
    tta
        As ``--tta`` of ``monai-spine predict``; an empty text for the study as it is alone.
    """

    def __init__(self, *, preprocessing: Callable[..., Any], tta: str | Sequence[str] = "") -> None:
        super().__init__(keys=["image"])
        self.preprocessings = [posed(preprocessing, pose) for pose in poses(parse_tta(tta))]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item of the study as it is, with the images of all poses."""
        first, *others = (preprocessing(dict(data)) for preprocessing in self.preprocessings)
        return {**first, "image": torch.stack([first["image"], *(one["image"] for one in others)])}


class PosedInferer:
    """Runs a network on the images of `PosedCropsd`: logarithms of the mean probabilities, ``(batch, 25, 3)``.

    Parameters
    ----------
    inferer
        Runs the network on ``(batch, …)``.
    tta
        That of the images.
    """

    def __init__(self, *, inferer: Callable[..., torch.Tensor], tta: str | Sequence[str] = "") -> None:
        self.inferer = inferer
        self.flipped = [pose.flipped for pose in poses(parse_tta(tta))]

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """``inputs``: ``(batch, poses, …)``."""
        rows = []
        for n, flipped in enumerate(self.flipped):
            probabilities = self.inferer(inputs[:, n], network, *args, **kwargs).float().softmax(dim=-1)
            # In the flipped study, left findings are those of the patient's right side: exchange them back.
            rows.append(probabilities[:, list(FLIPPED)] if flipped else probabilities)
        return torch.stack(rows).mean(dim=0).clamp_min(torch.finfo(torch.float32).tiny).log()
