import numpy as np
import torch

from monai_spine.spine import FINDINGS, Side
from monai_spine.transforms.lateral_flip import RandLateralFlipd, flipped


def study(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.normal(size=(6, 4, 3, 5)))
    return {"study_id": "1", "image": image, "label": rng.integers(0, 3, 25)}


def test_flipping_twice_changes_nothing() -> None:
    given = study()
    twice = flipped(flipped(given))
    assert torch.equal(twice["image"], given["image"])
    assert np.array_equal(twice["label"], given["label"])


def test_a_left_finding_becomes_the_right_one_of_its_level() -> None:
    given = study()
    given["label"][:] = 0
    left = next(n for n, f in enumerate(FINDINGS) if f.condition.side is Side.LEFT)
    given["label"][left] = 2
    label = flipped(given)["label"]
    assert label[FINDINGS.index(FINDINGS[left].flipped)] == 2
    assert label.sum() == 2


def test_the_image_is_reversed_along_the_left_right_axis_alone() -> None:
    given = study()
    assert torch.equal(flipped(given)["image"], given["image"][:, [3, 2, 1, 0]])


def test_probability_0_never_flips_and_1_always_does() -> None:
    given = study()
    assert torch.equal(RandLateralFlipd(prob=0.0)(given)["image"], given["image"])
    assert torch.equal(RandLateralFlipd(prob=1.0)(given)["image"], flipped(given)["image"])


def test_half_of_the_studies_are_flipped_and_the_seed_decides_which() -> None:
    given = study()

    def draws(seed: int) -> list[bool]:
        transform = RandLateralFlipd(prob=0.5).set_random_state(seed)
        return [not torch.equal(transform(given)["image"], given["image"]) for _ in range(200)]

    assert draws(1) == draws(1) != draws(2)
    assert 60 < sum(draws(1)) < 140
