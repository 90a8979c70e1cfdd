from pathlib import Path

import pytest
import torch

from monai_spine.bundle.model_description import ModelDescription, write_description
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.images.network.model_description import ClassifierDescription, check_described, read_classifier


def test_weights_without_their_description_are_refused(tmp_path: Path) -> None:
    assert read_classifier(tmp_path / "model.pt") == ClassifierDescription()
    check_described(tmp_path / "model.pt")  # no weights at all: taking them says so
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(MissingInputError, match=r"expected model\.json beside"):
        check_described(tmp_path / "model.pt")


def test_the_description_of_another_bundle_is_refused(tmp_path: Path) -> None:
    write_description(tmp_path / "model.pt", ModelDescription(settings={"views": 3}))
    with pytest.raises(InvalidTableError, match="expected settings of an image classifier, but found views"):
        read_classifier(tmp_path / "model.pt")


def test_a_described_classifier_can_be_built(tmp_path: Path) -> None:
    settings = {"task": "multilabel", "classes": ["ä", "b"], "backbone": "test_vit", "hidden": [4], "channels": 2}
    write_description(tmp_path / "model.pt", ModelDescription(settings={**settings, "pixels": [32, 48]}))
    description = read_classifier(tmp_path / "model.pt")
    assert description == ClassifierDescription(
        task="multilabel", classes=("ä", "b"), backbone="test_vit", hidden=(4,), pixels=(32, 48), channels=2
    )
    assert description.form.pixels == (32, 48)
    assert description.network()(torch.rand(1, 2, 32, 48)).shape == (1, 2)


def test_classes_in_another_order_are_other_classes() -> None:
    description = ClassifierDescription(classes=("a", "b", "c"), task="multiclass")
    description.check(task="multiclass", classes=["a", "b", "c"], path="w.pt")
    with pytest.raises(InvalidTableError, match="b, a, c"):
        description.check(task="multiclass", classes=["b", "a", "c"], path="w.pt")
