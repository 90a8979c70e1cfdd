import numpy as np
import pytest

from monai_spine.geometry import grid_affine, to_world
from monai_spine.levels.sagittal.chain import Disc
from monai_spine.levels.sagittal.maps import REGIONS
from monai_spine.levels.sagittal.peaks import Peak
from monai_spine.levels.sagittal.points import Sacrum

AFFINE = grid_affine([0, 20, 0], (8, 30, 50), (4.0, 4.0, 4.0))


def spine(top_of_sacrum: float) -> np.ndarray:
    """Bodies above a height in mm and the sacrum below it, in front of the canal at y = 0."""
    size = (8, 30, 50)
    place = to_world(AFFINE, np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1))
    front = (place[..., 1] > 4) & (place[..., 1] < 34)
    regions = np.zeros((len(REGIONS), *size))
    regions[REGIONS.index("body")] = front & (place[..., 2] > top_of_sacrum)
    regions[REGIONS.index("sacrum")] = front & (place[..., 2] <= top_of_sacrum)
    regions[0] = 1 - regions[1:].sum(axis=0)
    return regions


def disc(z: float) -> Disc:
    return Disc(np.array([0.0, 0.0, z]), 0.9, np.array([0.0, 0.0, 1.0]))


def test_only_the_disc_on_the_sacrum_stands_on_the_sacrum() -> None:
    sacrum = Sacrum(spine(-30.0), AFFINE, [])
    assert [round(sacrum.below(disc(z))) for z in (40.0, 5.0, -30.0, -65.0)] == [0, 0, 1, 0]


def test_a_lumbosacral_peak_counts_where_the_regions_are_silent() -> None:
    nothing = np.zeros((len(REGIONS), 8, 30, 50))
    sacrum = Sacrum(nothing, AFFINE, [Peak(np.array([0.0, 3.0, -28.0]), 0.7)])
    assert sacrum.below(disc(-30.0)) == pytest.approx(0.7)
    assert sacrum.below(disc(5.0)) == 0
