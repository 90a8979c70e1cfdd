"""Crops of disc levels in millimetres, in an anatomical frame, from volumes in any orientation."""

from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.located import points_of_findings, read_located_points
from monai_spine.crops.picture import contact_sheet
from monai_spine.crops.pose import NO_AUGMENTATION, Augmentation
from monai_spine.crops.view import DEFAULT_VIEWS, Between, View

__all__ = [
    "DEFAULT_VIEWS",
    "NO_AUGMENTATION",
    "Augmentation",
    "Between",
    "LevelFrame",
    "View",
    "contact_sheet",
    "level_frames",
    "points_of_findings",
    "read_located_points",
]
