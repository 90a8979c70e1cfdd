"""The shipped regions on phantoms whose canal is known."""

from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.volume import read_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.measures.regions import RegionFinder
from monai_spine.measures.study import measured
from monai_spine.spine import Group, Level, SeriesType
from tests.phantoms import write_phantom

MIDDLE = np.zeros((2, 3))


@pytest.fixture(scope="module")
def finder() -> RegionFinder:
    return RegionFinder.from_bundle(device="cpu")


@pytest.mark.slow
def test_the_canal_of_phantoms_is_as_deep_as_it_was_drawn(tmp_path: Path, finder: RegionFinder) -> None:
    errors = []
    for seed in (5, 6, 7):
        person, _ = write_phantom(tmp_path / str(seed), seed)
        canal = {level: person.curve.to_world(person.canal_point(level)) for level in Level}
        volume = read_volume(tmp_path / str(seed) / f"{SeriesType.SAGITTAL_T2.value}.nii.gz")
        found = measured(finder(volume, "t2", np.array(list(canal.values()))), canal)
        drawn = {level: person.measure(Group.SPINAL, None, level) for level in Level}
        errors += [found.levels[level]["canal_diameter_mm"] - drawn[level] for level in Level]
    assert len(errors) == 15
    assert np.abs(errors).mean() < 1.5


def test_a_volume_of_axial_slices_is_refused(tmp_path: Path, finder: RegionFinder) -> None:
    write_phantom(tmp_path / "p", 5)
    volume = read_volume(tmp_path / "p" / f"{SeriesType.AXIAL_T2.value}.nii.gz")
    with pytest.raises(InvalidVolumeError, match="expected sagittal slices"):
        finder(volume, "axial.nii.gz", MIDDLE)
