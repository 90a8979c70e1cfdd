"""The two witnesses of the levels: discs of the region map, and peaks of the canal."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from monai_spine.geometry import grid_affine
from monai_spine.levels.sagittal.chain import Chain, Doubt, Flag, levels, link
from monai_spine.levels.sagittal.disc_regions import DiscRegion, RegionSpine, region_spine
from monai_spine.levels.sagittal.landmark_maps import LANDMARKS, Peak
from monai_spine.levels.sagittal.peak_chain import directions
from monai_spine.levels.sagittal.region_chain import agreed, link_regions
from monai_spine.spine import Level
from tests.monai_spine.levels.sagittal.test_chain import lordotic, peaks, sacral
from tests.monai_spine.levels.test_locate import regions

SPINE = lordotic(7)
SIZE = (12, 90, 150)
AFFINE = grid_affine(SPINE.mean(axis=0), SIZE, (4.0, 4.0, 4.0))


def row_of_discs(canal: np.ndarray = SPINE, votes: Sequence[float] = (), areas: Sequence[float] = ()) -> RegionSpine:
    """Discs 27 mm in front of the canal and 6 mm below; the lowest stands on the sacrum unless votes say otherwise."""
    up = directions(list(canal))
    discs = [
        DiscRegion(place + 27 * np.array([0, u[2], -u[1]]) - 6 * u, area, 0.9)
        for place, u, area in zip(canal, up, areas or [400.0] * len(canal), strict=True)
    ]
    votes = tuple(votes) or (*[0.0] * (len(canal) - 1), 0.9)
    return RegionSpine(tuple(discs), tuple(up), votes, (1000.0,) * len(canal))


def linked(spine: RegionSpine, canal: Sequence[Peak]) -> Chain:
    chain = link_regions(spine, canal, [])
    assert chain is not None
    return chain


def test_the_region_map_shows_its_discs_where_they_are_and_votes_for_the_one_on_the_sacrum() -> None:
    spine = region_spine(regions(SPINE, AFFINE, SIZE, sacrum=True), AFFINE, peaks(SPINE))
    truth = np.array([disc.centre for disc in row_of_discs().discs])
    assert np.array([disc.centre for disc in spine.discs]) == pytest.approx(truth, abs=3.0)
    assert spine.votes[-1] > 0.5
    assert max(spine.votes[:-1]) < 0.15
    assert spine.sacral_areas[-1] > 400


def test_a_region_map_without_discs_has_no_spine() -> None:
    empty = regions(SPINE[:0], AFFINE, SIZE, sacrum=False)
    assert region_spine(empty, AFFINE, peaks(SPINE)).discs == ()
    assert region_spine(empty, AFFINE, []).discs == ()
    assert link_regions(RegionSpine(), peaks(SPINE), []) is None


def test_every_disc_takes_the_peak_behind_it() -> None:
    chain = linked(row_of_discs(), peaks(SPINE)[::-1])
    assert np.array([disc.canal for disc in chain.discs]) == pytest.approx(SPINE)
    assert (chain.anchored, chain.doubts) == (True, ())
    assert chain.rise == pytest.approx(6.0, abs=0.1)


def test_a_disc_without_a_peak_is_counted_and_its_point_is_interpolated() -> None:
    chain = linked(row_of_discs(), peaks(np.delete(SPINE, 4, axis=0)))
    assert len(chain.discs) == 7
    assert chain.discs[4].flags == (Flag.INTERPOLATED,)
    assert np.linalg.norm(chain.discs[4].canal - SPINE[4]) < 4
    assert chain.certain


def test_discs_whose_canal_points_are_close_together_are_all_counted() -> None:
    # L5/S1 is tilted and crosses the canal 17 mm below L4/L5, which is less than a chain of peaks alone allows.
    usual = lordotic(7, 30.0)
    canal = np.vstack([usual[:-1], usual[-2] + 17 / 30 * (usual[-1] - usual[-2])])
    chain = linked(row_of_discs(usual), peaks(canal))
    assert [level for level, _ in levels(chain)] == list(Level)
    assert levels(chain)[-1][1].canal == pytest.approx(canal[-1])
    alone = link(peaks(canal), sacral(*peaks(canal[-1:])))
    assert alone is not None
    assert len(alone.discs) < 7


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"votes": (0.0,) * 7}, Doubt.NO_SACRUM),
        ({"votes": (0.0,) * 6 + (0.26,)}, Doubt.FAINT_SACRUM),
        ({"sacral_areas": (159.0,) * 7}, Doubt.FAINT_SACRUM),
        ({"votes": (0.0,) * 5 + (0.5, 0.9)}, Doubt.RIVAL),
        ({"votes": (0.0,) * 5 + (0.9, 0.0)}, Doubt.BELOW),
    ],
)
def test_a_sacrum_that_is_not_plain_makes_the_levels_uncertain(change: dict, doubt: Doubt) -> None:
    assert doubt in linked(replace(row_of_discs(), **change), peaks(SPINE)).doubts


def test_a_small_disc_below_a_large_one_is_a_remnant_of_the_sacrum_and_the_levels_are_uncertain() -> None:
    spine = row_of_discs(areas=(*[400.0] * 6, 150.0))
    chain = linked(spine, [*peaks(SPINE[:-1]), Peak(SPINE[-1], 0.2)])
    assert levels(chain)[-1][1].canal == pytest.approx(SPINE[-2])
    assert Doubt.RIVAL in chain.doubts
    # With a clear peak in the canal it is a collapsed disc.
    assert levels(linked(spine, peaks(SPINE)))[-1][1].canal == pytest.approx(SPINE[-1])


def test_a_faint_lowest_point_makes_the_levels_uncertain() -> None:
    faint = [*peaks(SPINE[:-1]), Peak(SPINE[-1], 0.19)]
    assert Doubt.FAINT_LOWEST in linked(row_of_discs(), faint).doubts
    assert Doubt.FAINT_LOWEST in linked(row_of_discs(), peaks(SPINE[:-1])).doubts


def test_a_clear_peak_of_no_disc_makes_the_levels_uncertain() -> None:
    between = Peak((SPINE[2] + SPINE[3]) / 2, 0.5)
    assert linked(row_of_discs(), [*peaks(SPINE), between]).doubts == (Doubt.PASSED_OVER,)


def test_few_discs_below_a_spine_that_goes_on_make_the_levels_uncertain() -> None:
    short = replace(row_of_discs(SPINE[-4:]), goes_on=True)
    assert linked(short, peaks(SPINE)).doubts == (Doubt.FEW_DISCS,)
    assert linked(replace(short, goes_on=False), peaks(SPINE)).certain


def test_a_lumbosacral_disc_that_crosses_the_canal_below_its_centre_may_be_upside_down() -> None:
    spine = row_of_discs()
    lower = [*spine.discs[:-1], replace(spine.discs[-1], centre=spine.discs[-1].centre + 8 * spine.upwards[-1])]
    assert linked(replace(spine, discs=tuple(lower)), peaks(SPINE)).doubts == (Doubt.UPSIDE_DOWN,)


@pytest.mark.parametrize(("height", "found"), [(0.29, True), (0.27, False)])
def test_faint_canal_peaks_behind_discs_are_no_spine(height: float, found: bool) -> None:
    assert (link_regions(row_of_discs(), peaks(SPINE, height), []) is not None) is found


def test_witnesses_that_count_differently_make_the_levels_uncertain_and_the_discs_lead() -> None:
    by_regions = linked(row_of_discs(), peaks(SPINE))
    by_peaks = link(peaks(SPINE), sacral(*peaks(SPINE[-2:-1])))
    chain = agreed(by_regions, by_peaks)
    assert chain is not None
    assert (chain.discs, chain.doubts) == (by_regions.discs, (Doubt.WITNESSES,))
    alike = link(peaks(SPINE), sacral(*peaks(SPINE[-1:])))
    assert agreed(by_regions, alike) == by_regions
    assert agreed(by_regions, None) == by_regions
    assert agreed(None, None) is None
    alone = agreed(None, alike)
    assert alone is not None
    assert alone.doubts == (Doubt.NO_DISCS,)


def test_the_regions_of_the_tests_have_a_map_for_each_name() -> None:
    assert len(LANDMARKS) + len(regions(SPINE, AFFINE, SIZE, sacrum=True)) == 8
