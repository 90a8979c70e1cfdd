"""Networks, one a file."""

from monai_spine.networks.image_classifier import ImageClassifier
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.networks.slice_unet import SliceUNet
from monai_spine.networks.unet_classifier import UNetClassifier
from monai_spine.networks.volume_unet import VolumeUNet

__all__ = ["ImageClassifier", "LevelGrader", "SliceUNet", "UNetClassifier", "VolumeUNet"]
