"""MONAI transforms for studies, one noun a file."""

from monai_spine.transforms.landmark_maps import LandmarkMapsd
from monai_spine.transforms.lateral_flip import RandLateralFlipd
from monai_spine.transforms.level_crops import LevelCropsd
from monai_spine.transforms.level_stack import LevelStackd
from monai_spine.transforms.sagittal_grid import SagittalGridd
from monai_spine.transforms.sagittal_view import RandSagittalViewd, SagittalViewd
from monai_spine.transforms.slice_channels import SliceChannelsd
from monai_spine.transforms.study_grid import StudyGridd

__all__ = [
    "LandmarkMapsd",
    "LevelCropsd",
    "LevelStackd",
    "RandLateralFlipd",
    "RandSagittalViewd",
    "SagittalGridd",
    "SagittalViewd",
    "SliceChannelsd",
    "StudyGridd",
]
