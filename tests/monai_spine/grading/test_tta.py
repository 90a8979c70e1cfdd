from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer

from monai_spine.crops.augmentation import FixedPose
from monai_spine.crops.view import DEFAULT_VIEWS
from monai_spine.errors import InvalidOptionError
from monai_spine.grading.grader import Grader
from monai_spine.grading.tta import PosedCropsd, PosedInferer, parse_tta, posed, poses
from monai_spine.transforms.level_crops import LevelCropsd
from tests.monai_spine.prediction.parts import points_of_spine, record_of, write_bundle, write_study

ALL = ("flip", "rotations", "scales")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return record_of(write_study(tmp_path_factory.mktemp("studies") / "s1"), points_of_spine())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "one", kind="lumbar_25d_grader")


def test_every_pose_is_graded_as_it_is_and_flipped() -> None:
    assert poses(()) == [FixedPose()]
    assert poses(("flip",)) == [FixedPose(), FixedPose(flipped=True)]
    every = poses(ALL)
    assert len(every) == 10
    assert sum(pose.flipped for pose in every) == 5
    assert np.mean([pose.rotation for pose in every]) == 0
    assert np.mean(np.log([pose.scale for pose in every])) == pytest.approx(0)


def test_a_scaled_crop_is_that_of_a_view_which_shows_more(record: dict) -> None:
    view = DEFAULT_VIEWS[0]
    crops = posed(LevelCropsd(views=[view]), FixedPose(scale=1.25))(record)
    height, width = view.size_mm
    larger = LevelCropsd(views=[replace(view, size_mm=(1.25 * height, 1.25 * width))])(record)
    assert torch.allclose(crops[view.name], larger[view.name], atol=1e-4)


def test_a_turned_crop_turned_back_is_nearly_the_crop(record: dict) -> None:
    view = DEFAULT_VIEWS[0]
    plain = LevelCropsd(views=[view])(record)[view.name]
    there = [posed(LevelCropsd(views=[view]), FixedPose(rotation=angle))(record)[view.name] for angle in (90.0, -90.0)]
    turned = [torch.rot90(one, k, (2, 3)) for one, k in zip(there, (1, -1), strict=True)]
    either = [torch.rot90(one, -k, (2, 3)) for one, k in zip(there, (1, -1), strict=True)]
    right = turned if (turned[0] - plain).abs().mean() < (either[0] - plain).abs().mean() else either
    for one in right:  # the same hand for both angles
        assert (one - plain).abs().mean() < 0.02


def test_the_grade_is_the_mean_over_all_poses(record: dict, bundle: Path) -> None:
    grader = Grader.from_bundle(bundle, tta=["rotations", "scales"])
    each = []
    for pose in grader.poses:
        one = Grader.from_bundle(bundle, tta=["rotations", "scales"])
        one.poses = [pose]
        each.append(one(record).weighted)
    assert len(each) == 5
    assert grader(record).weighted == pytest.approx(np.mean(each, axis=0))
    assert np.abs(each[1] - each[0]).max() > 1e-5
    assert grader.about["tta"] == ["rotations", "scales"]


def test_an_evaluation_averages_as_predict_does(record: dict, bundle: Path) -> None:
    grader = Grader.from_bundle(bundle, tta=ALL)
    tta = ",".join(ALL)
    item = PosedCropsd(preprocessing=grader.model.parts["preprocessing"], tta=tta)(record)
    assert item["image"].shape[0] == 10
    with torch.no_grad():
        rows = PosedInferer(inferer=SimpleInferer(), tta=tta)(item["image"][None], grader.networks[0])
    assert rows.softmax(dim=-1)[0].numpy() == pytest.approx(grader(record).weighted, abs=1e-5)


def test_without_names_nothing_changes(record: dict, bundle: Path) -> None:
    grader = Grader.from_bundle(bundle)
    item = PosedCropsd(preprocessing=grader.model.parts["preprocessing"])(record)
    assert np.array_equal(item["image"][0], grader.image(record))


def test_unknown_names_are_refused_and_a_grid_can_only_be_flipped(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="out of flip, rotations, scales"):
        parse_tta("flip,turn")
    assert parse_tta(" flip, flip,scales") == ("flip", "scales")
    with pytest.raises(InvalidOptionError, match="rotations and scales needs LevelCropsd"):
        Grader.from_bundle(write_bundle(tmp_path / "unet", kind="lumbar_unet_classifier"), tta=["rotations"])


def test_words_that_the_command_line_made_a_tuple_of_are_names_too() -> None:
    assert parse_tta(("flip", "rotations")) == parse_tta(["flip", "rotations"]) == parse_tta("flip,rotations")
    with pytest.raises(InvalidOptionError, match="but found 'flip,turn'"):
        parse_tta(("flip", "turn"))
    with pytest.raises(InvalidOptionError, match="but found 'True'"):
        parse_tta(True)  # --tta without a word
