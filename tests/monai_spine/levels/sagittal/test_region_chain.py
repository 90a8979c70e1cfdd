"""The two witnesses of the levels: discs of the region map, and peaks of the canal."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from monai_spine.geometry import grid_affine
from monai_spine.levels.sagittal import disc_regions
from monai_spine.levels.sagittal.chain import Chain, levels, link
from monai_spine.levels.sagittal.disc_regions import DiscRegion, RegionSpine, region_spine
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.maps import LANDMARKS
from monai_spine.levels.sagittal.peak_chain import directions
from monai_spine.levels.sagittal.peaks import Peak
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


@pytest.mark.parametrize("size", [(5, 5), (3, 7), (6, 2), (1, 1)])
def test_discs_and_peaks_are_paired_as_scipy_assigns_them(size: tuple[int, int]) -> None:
    costs = np.random.default_rng(sum(size)).normal(0, 40, size)
    rows, columns = linear_sum_assignment(costs)
    assert set(zip(*disc_regions._cheapest_pairs(costs), strict=True)) == set(zip(rows, columns, strict=True))


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


@pytest.mark.parametrize(("vote", "doubted"), [(0.39, True), (0.41, False)])
@pytest.mark.parametrize(("height", "faint"), [(0.29, True), (0.31, False)])
def test_a_faint_lowest_point_needs_a_plain_sacrum(vote: float, doubted: bool, height: float, faint: bool) -> None:
    spine = row_of_discs(votes=(*[0.0] * 6, vote))
    doubts = linked(spine, [*peaks(SPINE[:-1]), Peak(SPINE[-1], height)]).doubts
    assert (Doubt.NOT_BORNE_OUT in doubts) is (doubted and faint)


def test_a_peak_of_the_lumbosacral_map_does_not_replace_the_sacrum_of_the_regions() -> None:
    spine = row_of_discs(votes=(*[0.0] * 6, 0.1))
    chain = link_regions(spine, [*peaks(SPINE[:-1]), Peak(SPINE[-1], 0.29)], [Peak(SPINE[-1], 0.9)])
    assert chain is not None
    assert chain.doubts == (Doubt.NOT_BORNE_OUT,)


def with_last_step(step: float) -> np.ndarray:
    """A spine of usual steps of 35 mm whose lowest one is other."""
    usual = lordotic(7, 35.0)
    direction = (usual[-1] - usual[-2]) / np.linalg.norm(usual[-1] - usual[-2])
    return np.vstack([usual[:-1], usual[-2] + step * direction])


@pytest.mark.parametrize("step", [41.0, 46.0, 55.0, 60.0, 75.0])
@pytest.mark.parametrize("height", [0.25, 0.9])
def test_a_long_last_step_makes_the_levels_uncertain(step: float, height: float) -> None:
    canal = with_last_step(step)
    chain = linked(row_of_discs(canal), [*peaks(canal[:-1]), Peak(canal[-1], height)])
    assert Doubt.WIDE_GAP in chain.doubts
    assert chain.discs[-1].flags[:1] == (Flag.ODD_SPACING,)


@pytest.mark.parametrize("step", [18.0, 25.0, 35.0, 39.0])
def test_usual_last_steps_leave_the_levels_certain(step: float) -> None:
    canal = with_last_step(step)
    assert linked(row_of_discs(canal), peaks(canal)).certain


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5])
def test_a_disc_that_is_put_into_a_gap_of_the_graded_levels_makes_them_uncertain(gap: int) -> None:
    # As if neither the canal nor the region map had seen one disc; gap 1 is above L1/L2, and matters to no level.
    canal = np.delete(lordotic(8), gap + 1, axis=0)
    chain = linked(row_of_discs(canal), peaks(canal))
    assert len(chain.discs) == 8
    assert (Doubt.WIDE_GAP in chain.doubts) is (gap > 1)


@pytest.mark.parametrize(("away", "height", "doubted"), [(25, 0.25, True), (40, 0.25, True), (25, 0.15, False)])
def test_a_clear_peak_below_the_lumbosacral_disc_makes_the_levels_uncertain(
    away: float, height: float, doubted: bool
) -> None:
    up = row_of_discs().upwards[-1]
    behind = np.array([0.0, -up[2], up[1]])
    below = SPINE[-1] + away * (0.6 * behind - 0.8 * up)
    chain = linked(row_of_discs(), [*peaks(SPINE), Peak(below, height)])
    assert (Doubt.BELOW in chain.doubts) is doubted
    # Before the canal there is no disc of it.
    before = SPINE[-1] - away * (0.6 * behind + 0.8 * up)
    assert Doubt.BELOW not in linked(row_of_discs(), [*peaks(SPINE), Peak(before, height)]).doubts


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


def test_what_the_peaks_say_below_the_lumbosacral_disc_of_the_regions_is_not_lost() -> None:
    whole = linked(row_of_discs(), peaks(SPINE))
    longer = np.vstack([SPINE, 2 * SPINE[-1] - SPINE[-2]])

    def doubts(by_peaks: Chain | None) -> tuple[Doubt, ...]:
        chain = agreed(whole, by_peaks)
        assert chain is not None
        return chain.doubts

    # Another disc below, whether or not one of them stands on a sacrum.
    assert doubts(link(peaks(longer), sacral(*peaks(SPINE[-1:])))) == (Doubt.BELOW,)
    assert doubts(link(peaks(longer), sacral())) == (Doubt.BELOW,)
    # The same lowest disc, without a sacrum below it.
    assert doubts(link(peaks(SPINE), sacral())) == (Doubt.FAINT_SACRUM,)
    # A lowest disc that the peaks do not have says nothing of its sacrum.
    assert doubts(link(peaks(SPINE[:-1]), sacral())) == ()


def test_the_regions_of_the_tests_have_a_map_for_each_name() -> None:
    assert len(LANDMARKS) + len(regions(SPINE, AFFINE, SIZE, sacrum=True)) == 8
