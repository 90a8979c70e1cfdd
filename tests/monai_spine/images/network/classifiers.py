"""Small classifiers, for tests."""

import torch

from monai_spine.images.network.classifier import ImageClassifier

TINY = ("test_resnet", "test_vit", "test_convnext", "test_efficientnet")


def classifier(backbone: str = "test_resnet", **settings) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(backbone=backbone, **{"pixels": (32, 32), "classes": 3, **settings})
