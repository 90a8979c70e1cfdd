"""MONAI transforms for studies, one noun a file."""

from monai_spine.transforms.lateral_flip import RandLateralFlipd
from monai_spine.transforms.slice_channels import SliceChannelsd
from monai_spine.transforms.study_grid import StudyGridd

__all__ = ["RandLateralFlipd", "SliceChannelsd", "StudyGridd"]
