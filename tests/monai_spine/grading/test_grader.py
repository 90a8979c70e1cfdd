"""A grader's bundle as one object."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_spine.bundle.model_description import read_description, write_description
from monai_spine.errors import InvalidOptionError, InvalidTableError, InvalidVolumeError, MissingInputError
from monai_spine.grading.grader import Grader, check_all_graded, mean_grades
from monai_spine.grading.grader_bundle import weight_files
from monai_spine.prediction.models import open_models, with_presets
from monai_spine.scoring.prevalence import WEIGHTS, natural_prevalence
from monai_spine.spine import FLIPPED, Group
from monai_spine.tables.calibration import Calibration, Scaling
from tests.monai_spine.prediction.parts import (
    BUNDLES,
    mirror_study,
    points_of_spine,
    record_of,
    write_bundle,
    write_study,
)

KINDS = ["lumbar_25d_grader", "lumbar_unet_classifier"]
SWAP = list(FLIPPED)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("studies") / "s1")


@pytest.fixture(scope="module")
def record(study: Path) -> dict:
    return record_of(study, points_of_spine())


@pytest.fixture(scope="module", params=KINDS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "one", kind=request.param)


def test_a_bundle_gives_25_distributions_and_their_natural_ones(bundle: Path, record: dict) -> None:
    grades = Grader.from_bundle(bundle)(record)
    assert grades.weighted.shape == grades.natural.shape == (25, 3)
    assert grades.weighted.sum(axis=1) == pytest.approx(1)
    assert grades.natural == pytest.approx(natural_prevalence(grades.weighted))
    assert np.ptp(grades.weighted, axis=0).max() > 1e-3


def test_test_time_flipping_is_the_mean_with_the_flipped_study_sides_swapped_back(
    bundle: Path, study: Path, record: dict, tmp_path: Path
) -> None:
    world = {name: (-x, y, z) for name, (x, y, z) in record["points"].items()}
    swapped = {name: world[_other_side(name)] for name in world}
    other = record_of(mirror_study(study, tmp_path / "mirrored"), swapped)
    plain = Grader.from_bundle(bundle)
    expected = (plain(record).weighted + plain(other).weighted[SWAP]) / 2
    both = Grader.from_bundle(bundle, tta=["flip"])
    assert both(record).weighted == pytest.approx(expected, abs=2e-5)
    assert np.abs(expected - plain(record).weighted).max() > 1e-4
    assert both.digest != plain.digest


def _other_side(name: str) -> str:
    side = name.partition("_")[0]
    return name.replace(side, {"left": "right", "right": "left"}.get(side, side), 1)


def test_models_are_averaged_as_probabilities(record: dict, tmp_path: Path) -> None:
    graders = [Grader.from_bundle(write_bundle(tmp_path / kind, kind=kind)) for kind in KINDS]
    one, other = (grader(record) for grader in graders)
    mean = mean_grades(graders, record)
    assert mean.weighted == pytest.approx((one.weighted + other.weighted) / 2)
    assert mean.natural == pytest.approx((one.natural + other.natural) / 2)


def test_all_folds_of_a_bundle_are_averaged(record: dict, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "folds", "fold_0.pt", "fold_1.pt", "fold_10.pt")
    (bundle / "models" / "latest.pt").write_bytes(b"a run's state is no weights")
    each = [Grader.from_bundle(bundle, file)(record).weighted for file in weight_files(bundle)]
    assert len(each) == 3
    assert Grader.from_bundle(bundle)(record).weighted == pytest.approx(np.mean(each, axis=0))


def test_a_calibration_beside_the_weights_makes_the_natural_probabilities(record: dict, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one")
    before = Grader.from_bundle(bundle)
    scaling = Scaling(np.array([1.5, 1.2, 0.7]), np.array([0.2, -0.1, -0.1]))
    calibration = Calibration(WEIGHTS, dict.fromkeys(Group, "vector"), dict.fromkeys(Group, scaling))
    calibration.write(bundle / "models" / "calibration.json")
    after = Grader.from_bundle(bundle)
    assert after(record).weighted == pytest.approx(before(record).weighted)
    assert after(record).natural == pytest.approx(calibration.apply(before(record).weighted))
    assert not np.allclose(after(record).natural, before(record).natural, atol=1e-3)
    assert after.about["calibrated"]
    assert after.digest != before.digest


def test_absent_weights_are_an_error_that_names_the_file_and_the_command(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one")
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(MissingInputError, match=r"models/model\.pt; train them: python -m monai\.bundle run training"):
        Grader.from_bundle(bundle)


def test_weights_may_lie_elsewhere_and_are_then_of_unknown_training(tmp_path: Path, record: dict) -> None:
    bundle, other = write_bundle(tmp_path / "one"), write_bundle(tmp_path / "two", seed=5)
    own, moved = Grader.from_bundle(bundle), Grader.from_bundle(bundle, other / "models")
    assert (own.trained_on, moved.trained_on) == ("phantom", None)
    assert not np.allclose(own(record).weighted, moved(record).weighted, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"postprocessing": None}, "has no postprocessing"),
        ({"network_def": {"_target_": "monai_spine.nothing.LevelGrader"}}, "inference.json"),
    ],
)
def test_a_configuration_of_something_else_is_named(tmp_path: Path, change: dict, message: str) -> None:
    bundle = write_bundle(tmp_path / "one")
    path = bundle / "configs" / "inference.json"
    content = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(InvalidTableError, match=message):
        Grader.from_bundle(bundle)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"nowhere/configs/inference\.json; name its folder with --model"):
        Grader.from_bundle(tmp_path / "nowhere")


def test_a_localizer_is_no_grader() -> None:
    with pytest.raises(InvalidTableError, match="lumbar_level_localizer: expected a grader"):
        Grader.from_bundle(BUNDLES / "lumbar_level_localizer")


def test_an_unreadable_volume_is_said_in_our_words_not_in_those_of_the_transform(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s")
    (folder / "axial_t2.nii.gz").write_bytes(b"rubbish")
    grader = Grader.from_bundle(write_bundle(tmp_path / "one"))
    with pytest.raises(InvalidVolumeError, match=r"axial_t2\.nii\.gz: expected a NIfTI volume"):
        grader(record_of(folder, points_of_spine()))


def test_a_network_of_another_shape_is_no_grader(tmp_path: Path, record: dict) -> None:
    bundle = write_bundle(tmp_path / "one")
    grader = Grader.from_bundle(bundle)
    grader.networks[:] = [torch.nn.Flatten()]
    with pytest.raises(InvalidTableError, match=r"one: expected logits of the shape \(1, 25, 3\)"):
        grader(record)


def test_preprocessing_that_does_not_know_left_from_right_cannot_be_flipped(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one")
    path = bundle / "configs" / "inference.json"
    identity = {"_target_": "Compose", "transforms": [{"_target_": "Identity"}]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "preprocessing": identity}))
    with pytest.raises(InvalidOptionError, match="one: --tta flip needs LevelCropsd or StudyGridd"):
        Grader.from_bundle(bundle, tta=["flip"])


def test_weights_are_named_for_every_bundle_or_for_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="once for each of 2 --model, but found it 1 times"):
        open_models([tmp_path, tmp_path], [tmp_path])


def write_preset(bundle: Path, name: str, **content: object) -> None:
    (bundle / "configs" / "presets").mkdir(exist_ok=True)
    (bundle / "configs" / "presets" / f"{name}.json").write_text(json.dumps(content))


def test_a_preset_that_does_not_fit_the_weights_is_refused(tmp_path: Path, record: dict) -> None:
    bundle = write_bundle(tmp_path / "one")
    write_preset(bundle, "wide", **{"network_def#features": 24})
    with pytest.raises(
        InvalidOptionError, match=r"model\.pt was trained with network_def#features = 16, but 24 is asked for"
    ):
        Grader.from_bundle(bundle, presets=["wide"])
    write_preset(bundle, "same", **{"network_def#features": 16}, learning_rate=1.0)
    grader = Grader.from_bundle(bundle, presets=["same"])
    assert grader.name == "one+same"
    assert grader(record).weighted == pytest.approx(Grader.from_bundle(bundle)(record).weighted)
    with pytest.raises(MissingInputError, match=r"sam\.json \(a preset .*\); did you mean 'same'"):
        Grader.from_bundle(bundle, presets=["sam"])


def describe_as(bundle: Path, **settings: object) -> None:
    """Give the weights of a bundle the description of a training with other settings."""
    weights = bundle / "models" / "model.pt"
    description = read_description(weights)
    write_description(weights, replace(description, settings={**description.settings, **settings}))


def test_weights_bring_their_settings_along(tmp_path: Path, record: dict) -> None:
    """Whatever the configuration says: trained with 32 pixels, they are used with 32."""
    bundle = write_bundle(tmp_path / "one")
    expected = Grader.from_bundle(bundle)(record).weighted
    path = bundle / "configs" / "inference.json"
    content = {**json.loads(path.read_text()), "pixels": [64, 64]}
    content["network_def"]["features"] = 32
    path.write_text(json.dumps(content))
    assert Grader.from_bundle(bundle)(record).weighted == pytest.approx(expected)
    describe_as(bundle, pixels=[64, 64])
    assert not np.allclose(Grader.from_bundle(bundle)(record).weighted, expected, atol=1e-4)


def test_weights_without_their_description_are_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one")
    (bundle / "models" / "model.json").unlink()
    with pytest.raises(MissingInputError, match=r"expected model\.json beside .*model\.pt"):
        Grader.from_bundle(bundle)


def test_folds_of_different_settings_are_not_averaged(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one", "fold_0.pt", "fold_1.pt")
    description = read_description(bundle / "models" / "fold_1.pt")
    other = {**description.settings, "pixels": [48, 48]}
    write_description(bundle / "models" / "fold_1.pt", replace(description, settings=other))
    with pytest.raises(InvalidOptionError, match=r"fold_1\.pt was trained with another pixels than .*fold_0\.pt"):
        Grader.from_bundle(bundle)


def test_a_file_may_bring_the_parts_that_a_training_added(tmp_path: Path, record: dict) -> None:
    bundle = write_bundle(tmp_path / "one")
    describe_as(bundle, **{"stacking#transforms#3#_target_": "Identityd", "stacking#transforms#3#keys": "image"})
    with pytest.raises(InvalidOptionError, match=r"stacking#transforms#3#_target_ = 'Identityd', which this"):
        Grader.from_bundle(bundle)
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"+stacking#transforms": [{"_target_": "Identityd", "keys": "image"}]}))
    folder, presets = with_presets(Path(f"{bundle}+{own}"))
    grader = Grader.from_bundle(folder, presets=presets)
    assert grader.name == "one+own"
    assert grader(record).weighted.shape == (25, 3)


def test_what_weights_were_trained_on_travels_with_them(tmp_path: Path) -> None:
    bundle, other = write_bundle(tmp_path / "one"), write_bundle(tmp_path / "two")
    description = read_description(other / "models" / "model.pt")
    write_description(other / "models" / "model.pt", replace(description, trained_on="RSNA 2024"))
    assert Grader.from_bundle(bundle).trained_on == "phantom"  # of the metadata
    assert Grader.from_bundle(other).trained_on == "RSNA 2024"
    assert Grader.from_bundle(bundle, other / "models").trained_on == "RSNA 2024"


def test_a_bundles_name_may_carry_presets(tmp_path: Path) -> None:
    assert with_presets(Path("bundles/a+b+c")) == (Path("bundles/a"), ["b", "c"])
    assert with_presets(Path("bundles/a")) == (Path("bundles/a"), [])
    (tmp_path / "x+y").mkdir()
    assert with_presets(tmp_path / "x+y") == (tmp_path / "x+y", [])
    assert with_presets(tmp_path / "x+y+mine/own.json+z") == (tmp_path / "x+y", ["mine/own.json", "z"])


def test_a_model_of_one_condition_has_a_say_in_that_one_alone(tmp_path: Path, record: dict) -> None:
    bundle = write_bundle(tmp_path / "one")
    describe_as(bundle, conditions=["spinal_canal_stenosis"])
    whole, canal = (Grader.from_bundle(one) for one in (write_bundle(tmp_path / "two", seed=4), bundle))
    mean = mean_grades([whole, canal], record).weighted
    assert mean[5:] == pytest.approx(whole(record).weighted[5:])
    assert mean[:5] == pytest.approx((whole(record).weighted[:5] + canal(record).weighted[:5]) / 2)
    check_all_graded([whole, canal])
    with pytest.raises(InvalidOptionError, match=r"one did not learn to grade left_neural"):
        check_all_graded([canal])
