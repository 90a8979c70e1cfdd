import pytest
import torch

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, Condition, Level
from monai_spine.transforms.level_stack import LevelStackd


def view(name: str, pixels: int = 8, slices: int = 2) -> View:
    return View(name=name, plane="sagittal", series=["sagittal_t2"], pixels=(pixels, pixels), slices=slices)


def test_views_stand_one_behind_the_other_and_absent_slices_are_marked() -> None:
    record = {"study_id": "s", "a": torch.rand(5, 2, 8, 8), "b": torch.rand(5, 3, 8, 8)}
    record["a_mask"] = torch.ones(5, 2, dtype=torch.bool)
    record["b_mask"] = torch.ones(5, 3, dtype=torch.bool)
    record["b_mask"][4, 1] = False
    image = LevelStackd(views=[view("a"), view("b", slices=3)])(record)["image"]
    assert image.shape == (5, 5, 8, 8)
    assert torch.equal(image[:, :2], record["a"])
    assert (image[4, 3] == ABSENT).all()
    assert (image == ABSENT).sum() == 64


def test_labels_go_to_the_order_of_findings() -> None:
    table = torch.arange(25).view(5, 5)  # levels x conditions
    record = {"a": torch.rand(5, 2, 8, 8), "a_mask": torch.ones(5, 2, dtype=torch.bool), "label": table}
    label = LevelStackd(views=[view("a")])(record)["label"]
    for n, finding in enumerate(FINDINGS):
        assert label[n] == table[list(Level).index(finding.level), list(Condition).index(finding.condition)]


def test_labels_of_other_conditions_are_left_out() -> None:
    record = {"a": torch.rand(5, 2, 8, 8), "a_mask": torch.ones(5, 2, dtype=torch.bool), "label": torch.ones(5, 5)}
    names = ["left_subarticular_stenosis", "spinal_canal_stenosis"]
    label = LevelStackd(views=[view("a")], conditions=names)(record)["label"]
    kept = {FINDINGS[n].condition.value for n in torch.nonzero(label == 1)[:, 0].tolist()}
    assert kept == set(names)
    assert (record["label"] == 1).all()
    with pytest.raises(InvalidOptionError, match="spinal_canal_stenosis"):
        LevelStackd(views=[view("a")], conditions=["stenosis"])


def test_views_of_two_sizes_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="one size"):
        LevelStackd(views=[view("a"), view("b", pixels=16)])
