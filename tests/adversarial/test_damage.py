"""Damage is never believed: a flipped bit is noticed, or it changes nothing that anybody reads."""

import random
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import timm
import torch

from monai_spine.bundle.shipped import BUNDLES
from monai_spine.crops.augmentation import Augmentation
from monai_spine.data.volume import read_volume
from monai_spine.errors import InvalidTableError, InvalidVolumeError, SpineError
from monai_spine.grading.grader import Grader
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.levels.locate import locate
from monai_spine.networks.backbone import Backbone
from monai_spine.prediction.run import predict
from monai_spine.transforms.level_crops import LevelCropsd
from monai_spine.weights import load_safely, save_atomically
from monai_spine.weights_checksum import Verified, check_weights
from tests.monai_spine.images.pictures import write_pictures
from tests.monai_spine.levels.test_locate import Oracle, sagittal
from tests.monai_spine.levels.test_locate import rows as point_rows
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle
from tests.monai_spine.prediction.parts import write_study as write_study_of_noise
from tests.monai_spine.training.test_run_state import killed, trained
from tests.monai_spine.transforms.test_level_crops import VIEWS, write_study


def flipped(path: Path, draw: random.Random) -> int:
    """Flip one bit of a file; which one."""
    content = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return bit


def believed(path: Path, read: Callable[[], bool], flips: int) -> list[int]:
    """Bits after whose flip ``read`` returns False: it read something else without noticing."""
    good, draw, bad = path.read_bytes(), random.Random(0), []
    for _ in range(flips):
        bit = flipped(path, draw)
        try:
            if not read():
                bad.append(bit)
        except SpineError:
            pass
        path.write_bytes(good)
    return bad


def test_no_flipped_bit_of_a_packed_volume_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 900, (12, 13, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 4, 1])), path)
    good = read_volume(path)

    def same() -> bool:
        volume = read_volume(path)
        return np.array_equal(volume.voxels, good.voxels) and np.array_equal(volume.affine, good.affine)

    assert believed(path, same, 300) == []


def test_a_packed_volume_that_unpacks_to_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    import gzip

    with gzip.open(path, "ab") as file:
        for _ in range(40):
            file.write(bytes(1 << 20))
    with pytest.raises(InvalidVolumeError, match="unpacks to more than"):
        read_volume(path)


@pytest.mark.parametrize("sealed", [True, False])
def test_no_flipped_bit_of_weights_is_believed(tmp_path: Path, sealed: bool) -> None:
    path = tmp_path / "model.pt"
    weights = torch.nn.Linear(30, 9).state_dict()
    save_atomically(weights, path) if sealed else torch.save(weights, path)
    assert check_weights(path) is (Verified.SHA256 if sealed else Verified.CRC32)

    def same() -> bool:
        content = load_safely(path)
        return set(content) == set(weights) and all(torch.equal(content[name], weights[name]) for name in weights)

    assert believed(path, same, 200) == []


def test_every_bit_of_sealed_weights_counts(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_atomically({"a": torch.zeros(3)}, path)
    good = path.read_bytes()
    for place in range(len(good) - 100, len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(InvalidTableError):
            load_safely(path)


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*/models/*.pt")), ids=lambda path: path.parts[-3])
def test_all_weights_of_the_package_have_a_checksum(path: Path) -> None:
    # If new weights lack it: python -c "from monai_spine.weights_checksum import seal; …; seal(Path('…/model.pt'))"
    assert check_weights(path) is Verified.SHA256


def test_weights_whose_checksum_is_not_compared_are_said_to_be_so(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    weights = bundle / "models/model.pt"
    save_atomically(torch.load(weights), weights)
    assert Grader.from_bundle(bundle).about["verified"] == "sha256"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InvalidTableError, match=r"model\.pt: its SHA-256 is not the one that it was saved with"):
        Grader.from_bundle(bundle)
    assert Grader.from_bundle(bundle, verify=False).about["verified"] == "no"


def test_points_found_with_weights_whose_checksum_was_not_compared_are_said_to_be_so(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "patient.nii.gz")
    oracle = Oracle().know(volume)
    assert "checksums" not in locate([volume], tmp_path / "checked", oracle, quiet=True).line()
    summary = locate([volume], tmp_path / "out", oracle, quiet=True, verified=False)
    assert "the checksums of the weights were not compared" in summary.line()
    assert {row["flag"] for row in point_rows(tmp_path / "out")} == {"unverified_weights"}
    for name in ("points.json", "points.mrk.json"):
        assert "unverified_weights" in (tmp_path / "out/patient" / name).read_text()
        assert "unverified_weights" not in (tmp_path / "checked/patient" / name).read_text()


def test_weights_of_an_age_without_checksums_are_refused_unless_the_user_wants_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    weights = bundle / "models/model.pt"
    torch.save(torch.load(weights), weights, _use_new_zipfile_serialization=False)
    assert check_weights(weights) is Verified.NO
    with pytest.raises(InvalidTableError, match=r"model\.pt: a file of PyTorch before 1\.6 has no checksum"):
        Grader.from_bundle(bundle)
    assert Grader.from_bundle(bundle, verify=False).about["verified"] == "no"
    # Published backbones of that age are taken, with a warning.
    torch.save(timm.create_model("test_resnet").state_dict(), weights, _use_new_zipfile_serialization=False)
    Backbone("test_resnet", in_channels=3, pixels=(64, 64)).start_from(str(weights))
    assert "has no checksum" in caplog.text


def test_a_damaged_crop_cache_is_made_anew_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = write_study(tmp_path / "study")
    cut = LevelCropsd(views=VIEWS, augmentation=Augmentation(), cache_dir=tmp_path / "cache")
    whole = cut.set_random_state(5)(study)
    (path,) = (file for file in (tmp_path / "cache").rglob("*") if file.is_file())
    good, draw, noticed = path.read_bytes(), random.Random(0), 0
    for _ in range(25):
        flipped(path, draw)
        caplog.clear()
        again = cut.set_random_state(5)(study)
        assert all(torch.equal(again[view.name], whole[view.name]) for view in VIEWS)
        assert path.read_bytes() == good
        noticed += "cannot be read and is made anew" in caplog.text
    assert noticed == 25


def test_a_damaged_image_store_is_repaired_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records, form = write_pictures(tmp_path, 5), ImageForm(channels=1, pixels=(12, 16))
    positions = np.arange(5)
    whole = ImageStore(records, form, folder=tmp_path / "cache").read(positions)
    (path,) = (tmp_path / "cache").iterdir()
    good, draw = path.read_bytes(), random.Random(0)
    for _ in range(60):
        bit = flipped(path, draw)
        caplog.clear()
        assert np.array_equal(ImageStore(records, form, folder=tmp_path / "cache").read(positions), whole)
        # Blanks that fill up the header of the array are nobody's; states of files are only compared.
        assert "damaged" in caplog.text or bit < 8 * 128 or bit >= 8 * (len(good) - 5 * 40)
        path.write_bytes(good)
    flipped_pixel = bytearray(good)
    flipped_pixel[-240] ^= 4
    path.write_bytes(flipped_pixel)
    ImageStore(records, form, folder=tmp_path / "cache").read(positions)
    assert path.read_bytes() == good


def test_a_run_whose_last_state_is_damaged_goes_on_from_the_epoch_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path, stop_in=4)
    flipped(tmp_path / "latest.pt", random.Random(1))
    assert trained(tmp_path, 4, resume=True) == [3, 4]
    assert "goes on from the epoch before" in caplog.text


def test_a_study_whose_results_were_damaged_is_graded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = write_study_of_noise(tmp_path / "in" / "s1")
    given, out = inputs(study), tmp_path / "out"
    opened = models(oracle(study), Grader.from_bundle(write_bundle(tmp_path / "bundle")))
    assert predict(given, out, opened, quiet=True).kept == 0
    assert predict(given, out, opened, quiet=True).kept == 1
    tables = [(out / name).read_bytes() for name in ("predictions.csv", "findings.csv", "points.csv")]
    for name in ("findings.json", "points.json", "outcome.json"):
        path = out / "s1" / name
        content = path.read_text()
        place = content.index("0.")  # a digit of a number, so that it is still JSON
        path.write_text(content[:place] + "9." + content[place + 2 :])
        caplog.clear()
        assert predict(given, out, opened, quiet=True).kept == 0
        assert "so the study is done again" in caplog.text
        assert [(out / name).read_bytes() for name in ("predictions.csv", "findings.csv", "points.csv")] == tables
