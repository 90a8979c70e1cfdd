"""How many changed copies `data_prep images` finds among real neighbours, and how many neighbours it takes for copies.

Every slice of converted phantom studies (or of any NIfTI volumes) is a picture; each is changed in thirteen ways, one
way at a time, and searched for among all originals and all copies. Run by hand:

    python -m data_prep phantom work/copies/rsna --studies 16 --seed 5 --size full
    python -m data_prep convert work/copies/rsna/train_images work/copies/nifti --name-by folder
    python benchmarks/image_copies.py work/copies/nifti
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from data_prep.images.near_duplicates import near_duplicates, views

Picture = np.ndarray
RNG = np.random.default_rng(0)


def slices(folder: Path, most: int) -> tuple[list[Picture], list[tuple[str, int]]]:
    """Grey pictures of 8 bits, and of which volume each is which slice."""
    pictures, names = [], []
    for file in sorted(folder.rglob("*.nii.gz")):
        volume = np.asarray(nib.load(file).dataobj)
        scale = 255 / np.percentile(volume, 99.8)
        for k in range(volume.shape[2]):
            pictures.append(np.clip(volume[:, :, k].T[::-1] * scale, 0, 255).astype(np.uint8))
            names.append((file.relative_to(folder).as_posix(), k))
    return pictures[:most], names[:most]


def jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def cropped(picture: Picture, least: float, most: float) -> Picture:
    """Without a part of each side, drawn for each by itself."""
    rows, columns = picture.shape
    left, right, top, bottom = (RNG.uniform(least, most, 4) * [columns, columns, rows, rows]).astype(int)
    return jpeg(picture[top : rows - bottom, left : columns - right], 85)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG, quality 40": lambda p: jpeg(p, 40),
    "half the size, JPEG 70": lambda p: jpeg(resized(p, p.shape[1] // 2, p.shape[0] // 2), 70),
    "224 x 224, JPEG 80": lambda p: jpeg(resized(p, 224, 224), 80),
    "128 x 128, JPEG 60": lambda p: jpeg(resized(p, 128, 128), 60),
    "twice the size": lambda p: resized(p, 2 * p.shape[1], 2 * p.shape[0]),
    "noise of 6 grey levels": lambda p: np.clip(p + RNG.normal(0, 6, p.shape), 0, 255).astype(np.uint8),
    "brightened, 1.25 x + 15": lambda p: jpeg(np.clip(p * 1.25 + 15, 0, 255).astype(np.uint8), 85),
    "gamma 0.7": lambda p: jpeg((255 * (p / 255) ** 0.7).astype(np.uint8), 85),
    "black border of 5 %": lambda p: np.pad(p, [(n // 20, n // 20) for n in p.shape]),
    "black border of 10 %, JPEG": lambda p: jpeg(np.pad(p, [(n // 10, n // 10) for n in p.shape]), 85),
    "cropped by 5 % at each side": lambda p: cropped(p, 0.05, 0.05),
    "cropped by up to 3 %, unevenly": lambda p: cropped(p, 0, 0.03),
    "cropped by up to 6 %, unevenly": lambda p: cropped(p, 0, 0.06),
}


def thumbnails(pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    whole, inner = zip(*(views(picture) for picture in pictures), strict=True)
    return np.stack(whole), np.stack(inner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    options = parser.parse_args()
    pictures, names = slices(options.folder, options.slices)
    count = len(pictures)
    own = thumbnails(pictures)
    pairs = near_duplicates(*own)
    print(f"{count} slices: {len(pairs)} of {count * (count - 1) // 2} pairs of different slices taken for copies")
    for pair in pairs:
        print(f"  {pair.similarity:.3f}  {names[pair.first]}  {names[pair.second]}")
    for change, made in CHANGES.items():
        start = time.process_time()
        copies = thumbnails([made(picture) for picture in pictures])
        found = {
            (p.first, p.second)
            for p in near_duplicates(*(np.concatenate(both) for both in zip(own, copies, strict=True)))
        }
        hits = sum((n, count + n) in found for n in range(count))
        across = [(a, b) for a, b in found if a < count <= b]
        precision = hits / max(len(across), 1)
        seconds = time.process_time() - start
        print(f"{change:32} recall {hits / count:.3f}  precision {precision:.3f}  {seconds:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
