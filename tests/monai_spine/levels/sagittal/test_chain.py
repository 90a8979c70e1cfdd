from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.levels.sagittal.chain import (
    Chain,
    Disc,
    expected_foramen,
    expected_recess,
    levels,
    link,
    nearest_foramen,
    place_discs,
)
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.peak_chain import best_chain, pitch_costs
from monai_spine.levels.sagittal.peaks import Peak
from monai_spine.spine import Level, Side


def lordotic(count: int = 7, pitch: float = 36.0) -> np.ndarray:
    """Canal points from above, bending backwards at the bottom; RAS mm."""
    tilt = np.radians(np.linspace(-12, 32, count))
    steps = np.stack([np.zeros(count), -np.sin(tilt), -np.cos(tilt)], axis=1) * pitch
    return np.cumsum(steps, axis=0) + np.array([5.0, -40.0, 200.0])


def peaks(points: np.ndarray, height: float = 0.8) -> list[Peak]:
    return [Peak(np.array(point), height) for point in points]


def sacral(*peaks: Peak) -> Callable[[Disc], float]:
    """Votes of discs by the nearest of some peaks."""
    return lambda disc: max([p.height for p in peaks if np.linalg.norm(p.world - disc.canal) < 14], default=0.0)


def test_levels_are_counted_from_the_lumbosacral_disc() -> None:
    spine = lordotic()
    chain = link(peaks(spine)[::-1], sacral(*peaks(spine[-1:] + np.array([0, 2, 3]))))
    assert chain is not None
    assert chain.certain
    named = levels(chain)
    assert [level for level, _ in named] == list(Level)
    assert np.array([disc.canal for _, disc in named]) == pytest.approx(spine[-5:])
    assert all(not disc.flags for _, disc in named)


@given(
    st.integers(3, 9),
    st.floats(27, 46),
    st.lists(st.tuples(st.floats(-80, 80), st.floats(-150, 60), st.floats(-150, 250)), max_size=5),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_faint_peaks_elsewhere_do_not_join_the_chain(
    count: int, pitch: float, odd: list[tuple], random: object
) -> None:
    spine = lordotic(count, pitch)
    far = [point for point in odd if np.linalg.norm(spine - np.array(point), axis=1).min() > 60]
    everything = peaks(spine) + peaks(np.array(far).reshape(-1, 3), 0.3)
    random.shuffle(everything)  # type: ignore[attr-defined]
    chain = link(everything, sacral(*peaks(spine[-1:])))
    assert chain is not None
    found = np.array([disc.canal for disc in chain.discs])
    assert all(np.linalg.norm(found - point, axis=1).min() < 1e-9 for point in spine)


@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(-40, 40), st.floats(0, 200), st.floats(0.4, 1)), max_size=7))
@settings(max_examples=100, deadline=None)
def test_no_other_chain_has_a_better_sum(rows: list[tuple[float, float, float, float]]) -> None:
    given = [Peak(np.array(row[:3]), row[3]) for row in rows if len({r[2] for r in rows}) == len(rows)]
    sums = [worth(chain) for size in range(2, 8) for chain in combinations(sorted(given, key=height), size)]
    best = max(sums, default=-np.inf)
    found = best_chain(given)
    if np.isfinite(best):
        assert worth(found) == pytest.approx(best)
    else:
        assert len(found) <= 1


def height(peak: Peak) -> float:
    return -float(peak.world[2])


def worth(chain: Sequence[Peak]) -> float:
    """Heights, less what odd distances cost; nothing that bends by more than 50 degrees or jumps over 90 mm."""
    steps = [below.world - above.world for above, below in pairwise(chain)]
    pitches = [float(np.linalg.norm(step)) for step in steps]
    bends = [first @ then / np.linalg.norm(first) / np.linalg.norm(then) for first, then in pairwise(steps)]
    if any(not 20 <= pitch <= 90 for pitch in pitches) or any(bend < np.cos(np.radians(50)) for bend in bends):
        return -np.inf
    costs = [max(0.0, (24 - pitch) / 8, min(1.2, (pitch - 50) / 10)) for pitch in pitches]
    return sum(peak.height for peak in chain) - sum(costs)


def test_discs_below_the_lumbosacral_one_are_none_and_make_the_levels_uncertain() -> None:
    spine = lordotic()
    chain = link(peaks(spine), sacral(*peaks(spine[-2:-1])))
    assert chain is not None
    assert not chain.certain
    assert levels(chain)[-1][1].canal == pytest.approx(spine[-2])


@pytest.mark.parametrize("heights", [[], [0.3], [0.8, 0.7]])
def test_without_one_clear_sacrum_the_levels_are_uncertain(heights: list[float]) -> None:
    spine = lordotic()
    chain = link(peaks(spine), sacral(*[Peak(spine[-1 - n], height) for n, height in enumerate(heights)]))
    assert chain is not None
    assert not chain.certain


def test_a_peak_that_was_passed_over_makes_the_levels_uncertain() -> None:
    spine = lordotic()
    close = spine[-2] + 0.7 * (spine[-1] - spine[-2])  # too near to the lumbosacral disc to stand in the chain with it
    chain = link(peaks(spine) + peaks(close[None], 0.5), sacral(*peaks(spine[-1:])))
    assert chain is not None
    assert len(chain.discs) == len(spine)
    assert not chain.certain


def test_a_gap_in_which_a_peak_was_passed_over_holds_a_disc_even_if_it_is_not_very_wide() -> None:
    spine = lordotic(pitch=32.0)
    last = spine[-2] + 0.48 * (spine[-1] - spine[-2])
    seen = np.concatenate([spine[:-2], last[None]])  # the lowest gap is of 47 mm
    odd = last + 0.3 * (spine[-3] - last)  # 14 mm above the lowest disc: too near to stand in the chain with it
    for others, discs in (([], 6), (peaks(odd[None], 0.5), 7)):
        chain = link(peaks(seen) + others, sacral(*peaks(last[None])))
        assert chain is not None
        assert len(chain.discs) == discs
    assert not chain.certain
    assert chain.discs[-2].flags == (Flag.INTERPOLATED,)


def test_without_a_sacrum_the_lowest_disc_is_taken_for_l4_l5() -> None:
    chain = link(peaks(lordotic(6)), sacral())
    assert chain is not None
    assert [level for level, _ in levels(chain)] == list(Level)[:4]


def test_a_missed_disc_is_put_in_between_and_said_so() -> None:
    spine = lordotic()
    chain = link(peaks(np.delete(spine, 4, axis=0)), sacral(*peaks(spine[-1:])))
    assert chain is not None
    guessed = [disc for disc in chain.discs if Flag.INTERPOLATED in disc.flags]
    assert len(guessed) == 1
    assert np.linalg.norm(guessed[0].canal - spine[4]) < 4
    assert levels(chain)[2][1] is guessed[0]


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 3)),
        lordotic(2),
        lordotic(8, 12.0),
        lordotic(8, 17.0),  # the pitch of a neck: every other disc would make a lumbar spine
        np.random.default_rng(0).uniform(-200, 200, (3, 3)),
    ],
)
def test_too_little_is_no_spine(points: np.ndarray) -> None:
    assert link(peaks(points), sacral()) is None


def test_faint_peaks_are_no_spine() -> None:
    assert link(peaks(lordotic(), 0.25), sacral()) is None


def test_foramina_are_looked_for_beside_the_canal_along_the_spine() -> None:
    spine = lordotic()
    chain = link(peaks(spine), sacral(*peaks(spine[-1:])))
    assert chain is not None
    disc = chain.discs[-1]
    left, right = (expected_foramen(disc, side) for side in (Side.LEFT, Side.RIGHT))
    assert left[0] < disc.canal[0] < right[0]
    assert (left + right) / 2 - disc.canal == pytest.approx(
        np.linalg.norm((left + right) / 2 - disc.canal) * _direction(disc.upwards, 3.0, 6.5), abs=1e-6
    )
    near = Peak(left + np.array([1, 2, -1]), 0.6)
    assert nearest_foramen([Peak(right, 0.9), near], disc, Side.LEFT) is near
    assert nearest_foramen([Peak(left + np.array([0, 30, 0]), 0.9)], disc, Side.LEFT) is None


def _direction(upwards: np.ndarray, ahead: float, up: float) -> np.ndarray:
    forwards = np.array([0.0, upwards[2], -upwards[1]])
    offset = ahead * forwards + up * upwards
    return offset / np.linalg.norm(offset)


def straight(*gaps: float) -> np.ndarray:
    """Canal points one below the other, with these distances in mm."""
    heights = 200.0 - np.cumsum([0.0, *gaps])
    return np.stack([np.zeros_like(heights), np.zeros_like(heights), heights], axis=1)


def voted(*votes: float) -> Callable[[Disc], float]:
    """Votes of the discs of `straight(36, 36, …)`, from above."""
    return lambda disc: votes[round((200.0 - disc.canal[2]) / 36.0)]


def linked(points: np.ndarray, *others: Peak, vote: float = 0.9) -> Chain:
    """The chain of points whose lowest is the lumbosacral disc."""
    lowest = points[-1, 2]
    chain = link([*peaks(points), *others], lambda disc: vote if abs(disc.canal[2] - lowest) < 1 else 0.0)
    assert chain is not None
    return chain


@pytest.mark.parametrize(
    ("pitch", "cost"),
    [
        (19.99, np.inf),
        (20.0, 0.5),
        (22.0, 0.25),
        (24.0, 0.0),
        (50.0, 0.0),
        (55.0, 0.5),
        (62.0, 1.2),
        (90.0, 1.2),
        (90.01, np.inf),
    ],
)
def test_distances_outside_of_the_usual_range_cost_and_beyond_the_limits_are_impossible(
    pitch: float, cost: float
) -> None:
    assert pitch_costs(np.array([pitch]))[0] == pytest.approx(cost)


@pytest.mark.parametrize(("degrees", "length"), [(49.9, 3), (50.1, 2)])
def test_a_chain_bends_by_50_degrees_at_most(degrees: float, length: int) -> None:
    step = 36.0 * np.array([0.0, np.sin(np.radians(degrees)), -np.cos(np.radians(degrees))])
    points = np.vstack([straight(36.0), straight(36.0)[-1] + step])
    assert len(best_chain(peaks(points))) == length


@pytest.mark.parametrize(("height", "found"), [(0.301, True), (0.299, False)])
def test_three_discs_of_the_least_mean_height_are_a_spine(height: float, found: bool) -> None:
    assert (link(peaks(straight(36, 36), height), sacral()) is not None) is found


@pytest.mark.parametrize(
    ("votes", "discs", "anchored", "certain"),
    [
        ((0.0, 0.0, 0.0, 0.149), 4, False, False),
        ((0.0, 0.0, 0.0, 0.15), 4, True, False),
        ((0.0, 0.0, 0.0, 0.399), 4, True, False),
        ((0.0, 0.0, 0.0, 0.4), 4, True, True),
        ((0.0, 0.0, 0.399, 0.8), 4, True, True),
        ((0.0, 0.0, 0.4, 0.8), 4, True, False),
        ((0.0, 0.0, 0.8, 0.1), 3, True, False),
        ((0.0, 0.5, 0.0, 0.5), 2, True, False),  # of equals the upper one
        ((0.9, 0.0, 0.0, 0.0), 4, True, False),  # a single disc would be left
    ],
)
def test_the_highest_vote_is_the_anchor_and_thresholds_decide_whether_it_is_certain(
    votes: tuple[float, ...], discs: int, anchored: bool, certain: bool
) -> None:
    chain = link(peaks(straight(36, 36, 36)), voted(*votes))
    assert chain is not None
    assert (len(chain.discs), chain.anchored, chain.certain) == (discs, anchored, certain)
    assert chain.sacrum == max(votes)


@pytest.mark.parametrize(
    ("share", "beside", "height", "between"),
    [
        (0.21, 0.0, 0.5, True),
        (0.79, 0.0, 0.5, True),
        (0.19, 0.0, 0.5, False),
        (0.81, 0.0, 0.5, False),
        (0.5, 8.9, 0.5, True),
        (0.5, 9.1, 0.5, False),
        (0.5, 0.0, 0.3, True),
        (0.5, 0.0, 0.299, False),
    ],
)
def test_a_skipped_peak_counts_if_it_is_clear_and_lies_between_two_discs(
    share: float, beside: float, height: float, between: bool
) -> None:
    spine = straight(36, 36, 36)
    peak = Peak(spine[1] + share * (spine[2] - spine[1]) + np.array([0.0, beside, 0.0]), height)
    assert linked(spine, peak).certain is not between


@pytest.mark.parametrize(("count", "found"), [(2, True), (3, False)])
def test_skipped_peaks_in_more_than_two_of_five_gaps_are_no_lumbar_spine(count: int, found: bool) -> None:
    spine = straight(*[36.0] * 5)
    between = [Peak((spine[n] + spine[n + 1]) / 2, 0.5) for n in range(count)]
    assert (link([*peaks(spine), *between], sacral()) is not None) is found


@pytest.mark.parametrize(
    ("gaps", "beside_peak", "interpolated"),
    [
        ((30.0, 30.0, 47.9), False, False),
        ((30.0, 30.0, 48.1), False, True),
        ((30.0, 30.0, 41.9), True, False),
        ((30.0, 30.0, 42.1), True, True),
        ((22.0, 22.0, 38.3), False, False),  # the median counts as 24 mm
        ((22.0, 22.0, 38.5), False, True),
    ],
)
def test_a_gap_wide_enough_for_a_missed_disc_gets_one_in_its_middle(
    gaps: tuple[float, ...], beside_peak: bool, interpolated: bool
) -> None:
    spine = straight(*gaps)
    others = [Peak(spine[-1] + np.array([0.0, 0.0, 15.0]), 0.4)] * beside_peak
    chain = linked(spine, *others)
    assert len(chain.discs) == len(spine) + interpolated
    if interpolated:
        disc = chain.discs[-2]
        assert disc.canal == pytest.approx((spine[-2] + spine[-1]) / 2)
        assert (disc.confidence, disc.flags) == (0.0, (Flag.INTERPOLATED,))
        assert disc.upwards == pytest.approx([0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("gaps", "odd"),
    [
        ((40.0, 40.0, 40.0, 30.0), 0),
        ((51.0, 40.0, 40.0, 30.0), 1),
        ((36.0, 23.9, 36.0, 30.0), 1),
        ((30.0, 24.1, 30.0, 20.0), 0),
        ((30.0, 30.0, 41.0, 25.0), 1),  # within the usual distances, but not in this spine
        ((30.0, 30.0, 30.0, 16.6), 0),  # L5/S1 is tilted, so that it crosses the canal close below L4/L5
        ((26.0, 26.0, 26.0, 14.0), 1),
        ((40.0, 40.0, 40.0, 46.1), 1),  # but never far below it
    ],
)
def test_both_discs_of_an_odd_gap_are_flagged(gaps: tuple[float, ...], odd: int) -> None:
    expected = [not 24.0 <= gap <= 50.0 or gap == 41.0 for gap in gaps[:-1]] + [gaps[-1] in {14.0, 46.1}]
    assert sum(expected) == odd
    discs = place_discs(peaks(straight(*gaps)), anchored=True)
    flagged = [Flag.ODD_SPACING in disc.flags for disc in discs]
    assert flagged == [a or b for a, b in zip([False, *expected], [*expected, False], strict=True)]


def test_low_peaks_are_faint_and_heights_are_the_confidence() -> None:
    spine = straight(36, 36)
    given = [Peak(point, height) for point, height in zip(spine, (0.8, 0.3, 0.299), strict=True)]
    chain = link(given, sacral())
    assert chain is not None
    assert [disc.flags for disc in chain.discs] == [(), (), (Flag.FAINT,)]
    assert [disc.confidence for disc in chain.discs] == [0.8, 0.3, 0.299]


def test_a_disc_points_from_the_disc_below_to_the_disc_above() -> None:
    spine = lordotic(4)
    discs = linked(spine).discs
    for disc, below, above in zip(discs, (1, 2, 3, 3), (0, 0, 1, 2), strict=True):
        along = spine[above] - spine[below]
        assert disc.upwards == pytest.approx(along / np.linalg.norm(along))


def test_places_beside_an_upright_disc_lie_to_its_sides_forwards_and_up_or_down() -> None:
    disc = Disc(np.array([1.0, 2.0, 3.0]), 1.0, np.array([0.0, 0.0, 1.0]))
    assert expected_foramen(disc, Side.RIGHT) - disc.canal == pytest.approx([17.5, 3.0, 6.5])
    assert expected_foramen(disc, Side.LEFT) - disc.canal == pytest.approx([-17.5, 3.0, 6.5])
    assert expected_recess(disc, Side.RIGHT) - disc.canal == pytest.approx([9.5, 2.5, -2.0])
    assert expected_recess(disc, Side.LEFT) - disc.canal == pytest.approx([-9.5, 2.5, -2.0])


def test_places_beside_a_scoliotic_disc_turn_with_it() -> None:
    upwards = np.array([0.6, 0.0, 0.8])
    disc = Disc(np.zeros(3), 1.0, upwards)
    right, left = expected_foramen(disc, Side.RIGHT), expected_foramen(disc, Side.LEFT)
    assert right @ upwards == pytest.approx(6.5)
    assert right - left == pytest.approx(35.0 * np.array([0.8, 0.0, -0.6]))


@pytest.mark.parametrize(("away", "found"), [(13.9, True), (14.1, False)])
def test_a_foraminal_peak_farther_than_its_radius_belongs_to_another_level(away: float, found: bool) -> None:
    disc = Disc(np.zeros(3), 1.0, np.array([0.0, 0.0, 1.0]))
    peak = Peak(expected_foramen(disc, Side.LEFT) + np.array([0.0, away, 0.0]), 0.5)
    assert (nearest_foramen([peak], disc, Side.LEFT) is peak) is found


@pytest.mark.parametrize(("away", "chosen"), [(8.9, 1), (9.1, 0)])
def test_a_higher_foraminal_peak_may_lie_a_little_farther_away(away: float, chosen: int) -> None:
    disc = Disc(np.array([4.0, 5.0, 60.0]), 1.0, np.array([0.0, 0.0, 1.0]))
    place = expected_foramen(disc, Side.RIGHT)
    given = [Peak(place + np.array([0.0, 5.0, 0.0]), 0.5), Peak(place + np.array([0.0, 0.0, -away]), 0.9)]
    assert nearest_foramen(given, disc, Side.RIGHT) is given[chosen]
