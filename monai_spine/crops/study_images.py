"""The images of one study for all that need them while it is graded: each volume is read and each crop is cut once.

It travels in the study's record under `STUDY_IMAGES`, from the check of the volumes to the last grader.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

from monai_spine.crops.stack import StackCache

STUDY_IMAGES = "study_images"
"""Key of a record."""
_MOST_BYTES = 1024 * 2**20
"""Memory for unpacked volumes. A study of 90 slices of 640 × 640 pixels takes 74 MB; beyond the limit, volumes are read
again."""

Crops = tuple[torch.Tensor, torch.Tensor]
"""The crops of a view and their mask; see `monai_spine.crops.study.StudyCrops.sample`."""


class StudyImages(StackCache):
    """The opened volumes and the crops of one study. Drop it after the study: crops are kept as long as it is."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        super().__init__(most_bytes)
        self._crops: dict[Hashable, Crops] = {}

    def crops(self, key: Hashable, cut: Callable[[], Crops]) -> Crops:
        """The crops that ``cut`` makes: copies, if they were made for this key before.

        ``key`` must differ between crops that may differ.
        """
        if key not in self._crops:
            self._crops[key] = cut()
        crops, mask = self._crops[key]
        # Later transforms may change their crops in place.
        return crops.clone(), mask.clone()
