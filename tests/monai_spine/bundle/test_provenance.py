"""What outputs say of the weights behind them."""

from pathlib import Path

import pytest

from monai_spine.bundle.provenance import RESEARCH, provenance, trained_on
from monai_spine.errors import InvalidTableError

BUNDLES = Path(__file__).parents[3] / "bundles"


def test_phantom_weights_unknown_ones_and_others_are_told_apart() -> None:
    sentences = provenance({"a": "phantom", "b": None, "c": "1,975 studies", "d": "phantom"})
    assert sentences.startswith(RESEARCH)
    assert "The weights of a and d were trained on phantoms" in sentences
    assert "What the weights of b were trained on is not known." in sentences
    assert "The weights of c were trained on: 1,975 studies." in sentences
    assert provenance({}) == RESEARCH


def test_every_bundle_with_weights_in_the_repository_says_what_they_were_trained_on() -> None:
    for weights in BUNDLES.glob("*/models/model.pt"):
        assert trained_on(weights.parents[1]) == "phantom", weights


def test_a_bundle_without_metadata_says_nothing(tmp_path: Path) -> None:
    assert trained_on(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"trained_on": 3}', '{"trained_on": ""}'])
def test_metadata_of_another_form_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "configs" / "metadata.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InvalidTableError, match=r"metadata\.json"):
        trained_on(tmp_path)
