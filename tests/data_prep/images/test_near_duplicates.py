import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from data_prep.folds import connected
from data_prep.images.near_duplicates import near_duplicates, views, without_border

SIDE = 160


def head(seed: int, depth: float = 0.0) -> np.ndarray:
    """A bright oval with structure on black; pictures of one seed at neighbouring depths are neighbouring slices."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    volume = gaussian_filter(rng.normal(size=(4, SIDE, SIDE)), (0, 6, 6)) * 40
    weights = [np.cos(depth), np.sin(depth), np.cos(2 * depth), np.sin(2 * depth)]
    inside = (x / 0.33) ** 2 + (y / 0.42) ** 2 < 1
    return (np.clip(0.5 + np.tensordot(weights, volume, 1) * 0.12, 0.1, 0.8) * inside * 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def brightened(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * 1.2 + 12, 0, 255).astype(np.uint8)


def found(pictures: list[np.ndarray]) -> set[tuple[int, int]]:
    whole, inner = zip(*(views(picture) for picture in pictures), strict=True)
    return {(pair.first, pair.second) for pair in near_duplicates(np.stack(whole), np.stack(inner))}


COPIES = {
    "compressed": lambda p: jpeg(p, 40),
    "reduced and compressed": lambda p: jpeg(resized(p, 90, 90), 70),
    "enlarged": lambda p: resized(p, 512, 512),
    "another aspect": lambda p: resized(p, 150, 120),
    "brightened": brightened,
    "gamma": lambda p: (255 * (p / 255) ** 0.75).astype(np.uint8),
    "noise": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 4, p.shape), 0, 255).astype(np.uint8),
    "border": lambda p: np.pad(p, ((10, 25), (30, 5))),
    "cropped by 4 %": lambda p: jpeg(p[6:-6, 6:-6], 85),
    "cropped at two sides": lambda p: p[10:, :-12],
}


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found_and_nothing_else(change: str) -> None:
    originals = [head(seed) for seed in range(8)]
    copies = [COPIES[change](picture) for picture in originals]
    assert found([*originals, *copies]) == {(n, n + 8) for n in range(8)}


def test_neighbouring_slices_of_one_head_are_no_copies() -> None:
    assert not found([head(seed, depth) for seed in range(4) for depth in np.arange(0, 1.2, 0.3)])


def test_pictures_that_show_nothing_are_like_nothing() -> None:
    assert not found([np.full((50, 50), value, dtype=np.uint8) for value in (0, 0, 90)])
    assert not found([head(0)])


def test_many_copies_of_one_picture_hang_together() -> None:
    pairs = found([jpeg(head(1), 40 + n) for n in range(40)])
    assert len(set(connected(40, pairs))) == 1


def test_trimming_leaves_what_is_shown() -> None:
    picture = np.pad(np.full((40, 30), 200, dtype=np.uint8), ((7, 3), (5, 9)))
    assert without_border(picture).shape == (40, 30)
    assert without_border(255 - picture).shape == (40, 30)
    textured = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    assert without_border(textured).shape == (40, 40)
