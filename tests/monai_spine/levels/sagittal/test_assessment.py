from dataclasses import replace

import numpy as np
import pytest

from monai_spine.levels.sagittal.assessment import compare, summary
from monai_spine.levels.sagittal.chain import Chain
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.points import Key, LevelPoint, SpinePoints, Structure
from monai_spine.spine import Level
from tests.monai_spine.levels.sagittal.test_chain import lordotic

TRUTH = {Key(Structure.CANAL, level, None): point for level, point in zip(Level, lordotic(5), strict=True)}


def found(places: np.ndarray, flags: tuple[str, ...] = ()) -> SpinePoints:
    points = [LevelPoint(Structure.CANAL, n, None, p, 0.9, flags) for n, p in zip(Level, places, strict=True)]
    return SpinePoints(Chain((), True, 0.9, (Doubt.FAINT_SACRUM,) if flags else ()), tuple(points), ())


def test_errors_are_millimetres_in_space_and_in_the_plane() -> None:
    figures = summary([compare(found(lordotic(5) + np.array([3.0, 0.0, 4.0])), TRUTH)])
    assert figures["canal"]["mean_mm"] == pytest.approx(5.0)
    assert figures["canal"]["within_3mm"] == 0
    assert figures["canal"]["within_5mm_in_plane"] == 1
    assert figures["with_wrong_level"] == 0


@pytest.mark.parametrize(("flags", "unflagged"), [((), 1), (("uncertain_level",), 0)])
def test_levels_off_by_one_are_counted_and_so_is_a_missing_warning(flags: tuple[str, ...], unflagged: int) -> None:
    row = compare(found(np.vstack([lordotic(5)[1:], lordotic(6)[-1:]]), flags), TRUTH)
    figures = summary([row])
    assert (figures["with_wrong_level"], figures["with_unflagged_wrong_level"]) == (1, unflagged)


def test_a_volume_without_a_spine_misses_all_its_points() -> None:
    figures = summary([compare(replace(found(lordotic(5)), chain=None, points=()), TRUTH)])
    assert figures["without_spine"] == 1
    assert figures["canal"] == {"marked": 5, "found": 0}
