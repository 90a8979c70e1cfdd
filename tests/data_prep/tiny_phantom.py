"""Phantom cohorts with images of a few pixels, for tests of everything but the images."""

from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from data_prep.phantom import cohort, scan
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.phantom.size import Size

TINY = scan.Matrix(40, 48)


@contextmanager
def tiny_images():
    """Acquire 40 x 40 samples in place of hundreds; only in this process."""
    matrices = {(size, axial): TINY for size in Size for axial in (False, True)}
    with mock.patch.object(scan, "MATRICES", matrices):
        yield


def write_cohort(folder: Path, *quirks: Quirk, studies: int = 1, seed: int = 7) -> Path:
    """A cohort whose first study has the given quirks."""
    with tiny_images():
        cohort.generate(folder, studies, seed, forced=[frozenset(quirks) or NONE], quiet=True)
    return folder
