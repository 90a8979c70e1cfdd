"""A small clean data set made of phantoms, and the ways to spoil a copy of it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from data_prep.collection.assembly import Run
from data_prep.phantom.cohort import generate
from data_prep.rsna2024.datalist import build
from monai_spine.spine import TARGETS

STUDIES = 2
SEED = 31

Edit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def write_clean(folder: Path) -> Path:
    """Two phantom studies without oddities as a datalist."""
    generate(folder / "rsna", STUDIES, SEED, quiet=True)
    build(folder / "rsna", folder / "nifti", Run(folds=STUDIES, quiet=True))
    entries = json.loads((folder / "nifti" / "datalist.json").read_text())["training"]
    for name in (name for entry in entries for name in entry["axial_t2"]):
        _crop(folder / "nifti" / name)
    return folder / "nifti"


def _crop(path: Path) -> None:
    """Keep the middle of every slice: a quarter of the voxels, for speed."""
    image = nib.load(path)
    i, j = (size // 4 for size in image.shape[:2])
    affine = image.affine.copy()
    affine[:3, 3] = (image.affine @ [i, j, 0, 1])[:3]
    voxels = np.asarray(image.dataobj)[i:-i, j:-j]
    path.unlink()
    nib.save(nib.Nifti1Image(voxels, affine), path)


class Spoiled:
    """A copy of a data set whose datalist and volumes can be changed; the original's files are never written to."""

    def __init__(self, clean: Path, folder: Path) -> None:
        self.folder = Path(shutil.copytree(clean, folder, copy_function=os.link))
        self.path = folder / "datalist.json"
        self.content = json.loads(self.path.read_text())
        self.entries = self.content["training"]

    def save(self) -> Path:
        self.path.unlink()
        self.path.write_text(json.dumps(self.content))
        return self.path

    def volume(self, n: int, kind: str = "sagittal_t2") -> Path:
        return self.folder / self.entries[n][kind][0]

    def write(self, path: Path, data: bytes) -> None:
        path.unlink()
        path.write_bytes(data)

    def edit(self, n: int, change: Edit, kind: str = "sagittal_t2") -> None:
        """Replace a volume."""
        path = self.volume(n, kind)
        image = nib.load(path)
        voxels, affine = change(np.asarray(image.dataobj).astype(np.float32), image.affine.copy())
        path.unlink()
        nib.save(nib.Nifti1Image(voxels, affine), path)

    def patch(self, n: int, offset: int, data: bytes) -> None:
        """Replace bytes of a T2's header."""
        path = self.volume(n)
        whole = bytearray(gzip.decompress(path.read_bytes()))
        whole[offset : offset + len(data)] = data
        self.write(path, gzip.compress(whole, 1))

    def keep_points(self, n: int, *words: str) -> None:
        """Keep the points whose names have one of these words, and no labels."""
        del self.entries[n]["label"]
        self.entries[n]["points"] = {k: v for k, v in self.points(n).items() if any(word in k for word in words)}

    def points(self, n: int) -> dict[str, list[float]]:
        return self.entries[n]["points"]

    def exchange(self, n: int, first: str, second: str) -> None:
        points = self.points(n)
        points[first], points[second] = points[second], points[first]

    def drop_labels(self, n: int, *targets: str) -> None:
        for target in targets:
            self.entries[n]["label"][TARGETS.index(target)] = -1
