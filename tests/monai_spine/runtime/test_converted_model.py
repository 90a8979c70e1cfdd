"""Converted models on disk."""

import logging
from pathlib import Path

import pytest

from monai_spine.runtime.choice import Runtime, RuntimeChoice
from monai_spine.runtime.converted_model import FOLDER, ConvertedModel

FILES = {"model.xml": b"<net/>", "model.bin": bytes(range(256)) * 8}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "models/model.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def model_of(weights: Path, runtime: Runtime = Runtime.OPENVINO, **settings: object) -> ConvertedModel:
    return ConvertedModel(weights, [weights], RuntimeChoice(runtime), settings)


def never() -> dict[str, bytes]:
    raise AssertionError("converted again")


def test_a_model_is_converted_once_and_found_beside_the_weights(weights: Path) -> None:
    assert model_of(weights).files(lambda: FILES) == FILES
    assert [path.parent for path in weights.parent.rglob("*.zip")] == [weights.parent / FOLDER]
    assert model_of(weights).files(never) == FILES


def test_other_weights_settings_and_runtimes_are_other_models(weights: Path) -> None:
    models = [model_of(weights), model_of(weights, Runtime.ONNX), model_of(weights, shape=[1])]
    names = {one.stem for one in models}
    weights.write_bytes(b"other weights")
    assert len(names | {model_of(weights).stem}) == 4


def test_weights_that_moved_keep_their_model(weights: Path) -> None:
    before = model_of(weights).identity
    moved = weights.parent.rename(weights.parents[1] / "moved") / weights.name
    assert model_of(moved).identity == before


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_file_is_made_anew_with_a_warning(
    weights: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    model_of(weights).files(lambda: FILES)
    (path,) = weights.parent.rglob("*.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"\x40\x41\x42")] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": bytes(content)[:500], "empty": b"", "text": b"text"}[damage])
    with caplog.at_level(logging.WARNING):
        assert model_of(weights).files(lambda: FILES) == FILES
    assert "is damaged" in caplog.text
    assert model_of(weights).files(never) == FILES


def test_a_file_of_other_weights_under_this_name_is_not_used(weights: Path) -> None:
    model_of(weights).files(lambda: FILES)
    (path,) = weights.parent.rglob("*.zip")
    weights.write_bytes(b"other weights")
    other = model_of(weights)
    path.rename(path.with_name(f"{other.stem}.zip"))
    assert other.files(lambda: {"model.xml": b"other"}) == {"model.xml": b"other"}


def test_where_the_folder_cannot_be_written_the_user_s_cache_is_used(weights: Path, tmp_path: Path) -> None:
    (weights.parent / FOLDER).write_text("a file in the folder's place")
    model_of(weights).files(lambda: FILES)
    assert len(list((tmp_path / "cache/monai_spine" / FOLDER).glob("*.zip"))) == 1
    assert model_of(weights).files(never) == FILES


def test_where_nothing_can_be_written_the_model_is_used_all_the_same(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (weights.parent / FOLDER).write_text("a file in the folder's place")
    (tmp_path / "cache").write_text("and here")
    with caplog.at_level(logging.WARNING):
        assert model_of(weights).files(lambda: FILES) == FILES
    assert "cannot be kept for the next run" in caplog.text


def test_no_half_written_file_stays_behind(weights: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        model_of(weights).write("x.zip", interrupted)
    assert list((weights.parent / FOLDER).iterdir()) == []


def interrupted(path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt
