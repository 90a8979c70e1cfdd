"""Small sets of pictures, all different, that tests write to disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, side: int = 64) -> np.ndarray:
    """A smooth grey picture, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def write_folders(root: Path, counts: Mapping[str, int], first: int = 0) -> Path:
    """``{folder: images}`` as PNG files named by their seeds."""
    seed = first
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            Image.fromarray(picture(seed)).save(root / folder / f"{seed:03d}.png")
            seed += 1
    return root
