import json
from pathlib import Path

import pytest
import torch

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.images.network.model_description import (
    ModelDescription,
    check_described,
    read_description,
    write_description,
)


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    description = ModelDescription(
        task="multilabel", classes=("ä", "b"), backbone="test_vit", hidden=(4,), pixels=(32, 48), fit="crop", channels=2
    )
    write_description(tmp_path / "model.pt", description)
    assert read_description(tmp_path / "model.pt") == description
    assert description.form.pixels == (32, 48)
    assert description.network()(torch.rand(1, 2, 32, 48)).shape == (1, 2)


def test_weights_without_their_description_are_refused(tmp_path: Path) -> None:
    assert read_description(tmp_path / "model.pt") == ModelDescription()
    check_described(tmp_path / "model.pt")  # no weights at all: taking them says so
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(MissingInputError, match=r"expected model\.json beside"):
        check_described(tmp_path / "model.pt")
    for wrong in ("no json", "[]", json.dumps({"schema": "another"}), json.dumps({"schema": "x", "colour": 1})):
        (tmp_path / "model.json").write_text(wrong)
        with pytest.raises(InvalidTableError):
            read_description(tmp_path / "model.pt")


def test_classes_in_another_order_are_other_classes() -> None:
    description = ModelDescription(classes=("a", "b", "c"), task="multiclass")
    description.check(task="multiclass", classes=["a", "b", "c"], path="w.pt")
    with pytest.raises(InvalidTableError, match="b, a, c"):
        description.check(task="multiclass", classes=["b", "a", "c"], path="w.pt")
