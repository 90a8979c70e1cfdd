"""Small pictures on disk, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monai_spine.images.data.datalist import ImageDatalist, Task, write_image_datalist

SIDE = 24


def write_pictures(folder: Path, count: int, label: Any = lambda n: n % 3, side: int = SIDE) -> list[dict[str, Any]]:
    """Noise with a bar whose row says the class; records with folds 0 and 1."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, records = np.random.default_rng(0), []
    for n in range(count):
        picture = rng.integers(0, 60, (side, side), dtype=np.uint8)
        value = label(n)
        for row in np.flatnonzero(value) if isinstance(value, list) else [value]:
            picture[4 + 6 * row : 8 + 6 * row] += 150
        path = folder / f"{n:03d}.png"
        Image.fromarray(picture).save(path)
        records.append({"image": [str(path)], "label": value, "group": str(n), "fold": n // 3 % 2})
    return records


def write_dataset(folder: Path, task: Task, count: int = 24) -> Path:
    """A datalist of such pictures with three classes (or two), half of them in the test section, too."""
    label = {
        Task.BINARY: lambda n: n % 2,
        Task.MULTICLASS: lambda n: n % 3,
        Task.MULTILABEL: lambda n: [n % 2, n // 2 % 2, -1 if n == 5 else n // 4 % 2],
    }[task]
    classes = ("first", "second") if task is Task.BINARY else ("first", "second", "third")
    training = write_pictures(folder / "pictures", count, label)
    test = [{**record, "fold": None, "group": f"test {n}"} for n, record in enumerate(_copies(folder, training[:6]))]
    write_image_datalist(folder / "datalist.json", ImageDatalist(classes, task, training, test))
    return folder


def _copies(folder: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    copies = []
    (folder / "test").mkdir()
    for record in records:
        path = folder / "test" / Path(record["image"][0]).name
        path.write_bytes(Path(record["image"][0]).read_bytes())
        copies.append({**record, "image": [str(path)]})
    return copies
