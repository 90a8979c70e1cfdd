"""Phantom cohorts with images of a few pixels, for tests of everything but the images."""

from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pandas as pd
import pydicom

from data_prep.choices import PhantomSize
from data_prep.phantom import cohort, plan
from data_prep.phantom.quirks import NONE, Quirk

TINY = plan.Matrix(40, 48)


@contextmanager
def tiny_images():
    """Acquire 40 x 40 samples in place of hundreds; only in this process."""
    matrices = {(size, axial): TINY for size in PhantomSize for axial in (False, True)}
    with mock.patch.object(plan, "MATRICES", matrices):
        yield


def write_cohort(folder: Path, *quirks: Quirk, studies: int = 1, seed: int = 7) -> Path:
    """A cohort whose first study has the given quirks."""
    with tiny_images():
        cohort.generate(folder, studies, seed, forced=[frozenset(quirks) or NONE], quiet=True)
    return folder


def table(folder: Path, name: str) -> pd.DataFrame:
    """A table of a cohort, every cell as text."""
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def headers(folder: Path) -> list[pydicom.Dataset]:
    """All DICOM files of a cohort, pixels included."""
    return [pydicom.dcmread(path) for path in sorted((folder / "train_images").glob("*/*/*.dcm"))]
