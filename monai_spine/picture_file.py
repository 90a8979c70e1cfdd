"""Pictures on disk: whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write ``(height, width, 3)`` in RGB under a temporary name, then rename; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    Image.fromarray(picture).save(partial, format="png")
    partial.replace(path)
