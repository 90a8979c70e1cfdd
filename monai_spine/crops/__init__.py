"""Crops of disc levels in millimetres, in an anatomical frame, from volumes in any orientation."""

from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.pose import NO_AUGMENTATION, Augmentation
from monai_spine.crops.view import DEFAULT_VIEWS, Between, View

__all__ = ["DEFAULT_VIEWS", "NO_AUGMENTATION", "Augmentation", "Between", "LevelFrame", "View", "level_frames"]
