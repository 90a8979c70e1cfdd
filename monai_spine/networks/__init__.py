"""Networks that grade studies, one a file."""

from monai_spine.networks.unet_classifier import UNetClassifier

__all__ = ["UNetClassifier"]
