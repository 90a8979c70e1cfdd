"""Whether slices are one even, unsheared stack: each tolerance, from both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks import regularity
from tests.data_prep.dicom.frames_of import frame, moved, oriented, stack


def refusal(frames: list) -> tuple[Reason, str]:
    """Why these slices are no stack."""
    with pytest.raises(Refused) as raised:
        regularity.step(frames)
    return raised.value.reason, raised.value.detail


ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)


@given(angles=ANGLES, step=st.floats(0.3, 12), slices=st.integers(3, 40), first=st.tuples(*[st.floats(-300, 300)] * 3))
def test_step_of_an_even_stack_is_its_normal_times_the_distance(angles, step, slices, first):
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    orientation = (*matrix[:, 0], *matrix[:, 1])
    frames = stack(slices, step, orientation=orientation, origin=first)
    assert regularity.step(frames) == pytest.approx(matrix[:, 2] * step, abs=1e-9)


@given(angles=ANGLES, place=st.tuples(*[st.floats(-300, 300)] * 3))
def test_coordinates_are_along_normal_row_and_column(angles, place):
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    row, column, normal = matrix.T
    (found,) = regularity.coordinates([frame(1, place, orientation=(*row, *column))])
    assert found == pytest.approx([normal @ place, row @ place, column @ place], abs=1e-9)


@pytest.mark.parametrize("slices", [1, 2])
def test_fewer_than_three_slices_are_no_stack(slices: int) -> None:
    assert refusal(stack(slices)) == (Reason.TOO_FEW_SLICES, f"{slices} of at least 3 slices")


def test_three_slices_are_a_stack() -> None:
    assert regularity.step(stack(3)).tolist() == [0, 0, 4]


@pytest.mark.parametrize(("offset", "even"), [(0.039, True), (-0.039, True), (0.041, False), (-0.041, False)])
def test_a_slice_may_lie_four_hundredths_of_a_millimetre_off(offset: float, even: bool) -> None:
    frames = stack(7)
    frames[3] = moved(frames[3], (0, 0, offset))
    if even:
        regularity.step(frames)
    else:
        assert refusal(frames)[0] is Reason.UNEVEN_SPACING


def test_rounding_errors_of_single_positions_do_not_add_up() -> None:
    frames = [frame(n + 1, (0, 0, 4.4 * n + 0.03 * (n % 2))) for n in range(41)]
    assert regularity.step(frames)[2] == pytest.approx(4.4)


def test_uneven_spacing_names_the_slices_and_the_millimetres() -> None:
    assert refusal(stack([0, 4, 8, 13, 17], first=11)) == (
        Reason.UNEVEN_SPACING,
        "between slices 13 and 14 lie 5.000 mm, elsewhere 4.000 mm",
    )


def test_usual_gap_is_the_median() -> None:
    assert refusal(stack([0, 4, 8, 11]))[1] == "between slices 3 and 4 lie 3.000 mm, elsewhere 4.000 mm"
    assert refusal(stack([0, 3, 6, 10, 14]))[1].endswith("elsewhere 3.000 mm")


@pytest.mark.parametrize(
    ("distances", "reason"),
    [
        ([0, 5, 10, 20, 25], Reason.MISSING_SLICE),
        ([0, 5, 20, 25, 30], Reason.MISSING_SLICE),
        ([0, 10, 15], Reason.MISSING_SLICE),  # of two gaps the smaller one is usual
        ([0, 5, 10, 20.09, 25.09], Reason.MISSING_SLICE),  # 2 % of the usual gap
        ([0, 5, 10, 20.11, 25.11], Reason.UNEVEN_SPACING),
        ([0, 5, 10, 17.5, 22.5], Reason.UNEVEN_SPACING),
        ([0, 5, 10, 20, 27], Reason.UNEVEN_SPACING),  # one whole number of steps and one that is none
        ([0, 1, 2, 4.07, 5.07], Reason.MISSING_SLICE),  # two tolerances, for thin slices
        ([0, 1, 2, 4.09, 5.09], Reason.UNEVEN_SPACING),
        ([0, 5, 10, 15, 20.08, 25.16, 30.24], Reason.UNEVEN_SPACING),  # no gap is doubled
    ],
)
def test_a_gap_of_whole_steps_is_a_missing_slice(distances: list[float], reason: Reason) -> None:
    assert refusal(stack(distances))[0] is reason


def test_missing_slice_names_the_slices_and_the_millimetres() -> None:
    assert refusal(stack([0, 5, 10, 20, 25]))[1] == "between slices 3 and 4 lie 10.000 mm, elsewhere 5.000 mm"


def drifting(slices: int, step: float, drift: float, axis: int) -> list:
    """A stack that moves evenly within its plane, by ``drift`` mm from its first slice to its last."""
    frames = stack(slices, step)
    offsets = np.linspace(0, drift, slices)
    return [moved(one, np.eye(3)[axis] * offset) for one, offset in zip(frames, offsets, strict=True)]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("slices", "step", "drift", "upright"),
    [
        (5, 2, 0.039, True),
        (5, 2, 0.041, False),
        (21, 5, 0.099, True),  # a thousandth of 100 mm
        (21, 5, 0.101, False),
        (21, 5, -0.101, False),
    ],
)
def test_drift_within_the_plane_is_shear_beyond_rounding(axis, slices, step, drift, upright) -> None:
    frames = drifting(slices, step, drift, axis)
    if upright:
        regularity.step(frames)
    else:
        expected = f"slice {slices} is shifted by {abs(drift):.3f} mm in its plane against slice 1"
        assert refusal(frames) == (Reason.SHEARED, expected)


@pytest.mark.parametrize(("shift", "sheared"), [(0.039, False), (0.041, True), (-0.041, True)])
def test_one_slice_shifted_within_the_plane_is_shear(shift: float, sheared: bool) -> None:
    frames = stack(21, 5)  # a drift of 0.1 mm would be allowed
    frames[4] = moved(frames[4], (0.6 * shift, 0.8 * shift, 0))
    if sheared:
        assert refusal(frames) == (Reason.SHEARED, "slice 5 is shifted by 0.041 mm in its plane against slice 1")
    else:
        regularity.step(frames)


@pytest.mark.parametrize(("offset", "same"), [(0.04, True), (0.041, False), (-0.041, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_volumes_coincide_within_the_tolerance(axis: int, offset: float, same: bool) -> None:
    frames = stack(4)
    others = [*frames[:3], moved(frames[3], np.eye(3)[axis] * offset)]
    assert regularity.coincide(others, frames) is regularity.coincide(frames, others) is same


def test_clusters_are_numbered_in_ascending_order() -> None:
    assert regularity.clusters(np.array([9.0, 0.0, 4.0, 0.5, 9.9]), 1.0).tolist() == [2, 0, 1, 0, 2]
    assert regularity.clusters(np.array([1.0, 0.0]), 1.0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("counts", "offset", "stations"),
    [
        ((4, 3), (0, 5.1, 0), [4, 3]),
        ((4, 3), (5.1, 0, 0), [4, 3]),
        ((4, 3), (0, 4.9, 0), [7]),
        ((4, 2), (0, 200, 0), [6]),  # too few for a stack of their own
        ((3, 3), (300, 200, 0), [3, 3]),
    ],
)
def test_stations_are_more_than_five_millimetres_apart_in_the_plane(counts, offset, stations) -> None:
    frames = stack(counts[0]) + [moved(one, offset) for one in stack(counts[1], first=11)]
    found = regularity.stations(frames)
    assert [len(one) for one in found] == stations
    assert sorted((one for group in found for one in group), key=lambda one: one.path) == frames
    assert all(len({one.geometry.position[:2] for one in group}) == 1 for group in found) or len(found) == 1


def test_a_sheared_stack_is_one_station() -> None:
    frames = [moved(one, (0, 4.9 * n, 0)) for n, one in enumerate(stack(9))]
    assert regularity.stations(frames) == [frames]


def test_stations_of_an_oblique_stack_are_seen_in_its_own_plane() -> None:
    orientation = oriented(30)
    along_column = np.asarray(orientation[3:])
    frames = stack(9, 20, orientation=orientation)
    assert regularity.stations(frames) == [frames]
    halves = frames[:4] + [moved(one, 6 * along_column) for one in frames[4:]]
    assert [len(one) for one in regularity.stations(halves)] == [4, 5]


@pytest.mark.parametrize(
    ("gap", "cuts"),
    [
        (4.0, []),
        (4.07, []),
        (5.6, []),  # 1.4 steps
        (6.0, []),
        (6.4, [3]),  # 1.6 steps
        (8.0, []),  # a missing slice
        (8.07, []),
        (7.93, []),
        (8.09, [3]),
        (7.91, [3]),
        (10.0, [3]),  # 2.5 steps
    ],
)
def test_a_gap_that_may_be_a_missing_slice_is_no_cut(gap: float, cuts: list[int]) -> None:
    distances = [0, 4, 8, 8 + gap, 12 + gap, 16 + gap]
    frames = stack(distances[:3]) + stack(distances[3:], first=5)  # InstanceNumber 4 is absent
    assert regularity.slab_cuts(frames) == cuts


@pytest.mark.parametrize(
    ("numbers", "cuts"), [([1, 2, 3, 4, 5, 6], [3]), ([6, 5, 4, 3, 2, 1], [3]), ([1, 2, 3, 5, 6, 7], [])]
)
@pytest.mark.parametrize("steps", [3, 4])
def test_a_gap_of_three_steps_is_a_cut_if_no_instance_number_is_absent(steps, numbers, cuts) -> None:
    places = [0, 4, 8, 8 + 4 * steps, 12 + 4 * steps, 16 + 4 * steps]
    frames = [frame(number, (0, 0, place)) for number, place in zip(numbers, places, strict=True)]
    assert regularity.slab_cuts(frames) == cuts


def test_a_gap_of_two_steps_is_never_a_cut() -> None:
    assert regularity.slab_cuts(stack([0, 4, 8, 16, 20, 24])) == []


@pytest.mark.parametrize("distances", [[0], [0, 9], [0, 4, 14, 18, 22], [0, 4, 14, 18, 22, 26], [0, 4, 8, 12, 22, 26]])
def test_a_slab_has_at_least_three_slices(distances: list[float]) -> None:
    assert regularity.slab_cuts(stack(distances)) == []


def test_several_slabs_are_cut_where_each_begins() -> None:
    distances = [0, 4, 8, 18, 22, 26, 30, 46.5, 50.5, 54.5]
    assert regularity.slab_cuts(stack(distances)) == [3, 7]


def test_one_gap_that_may_be_a_missing_slice_prevents_all_cuts() -> None:
    assert regularity.slab_cuts(stack([0, 4, 8, 18, 22, 26, 34, 38, 42])) == []


def rounded(decimals: int, slices: int = 15, **shifts: tuple[float, float, float]) -> list:
    """An oblique stack with positions of so many decimals; ``s<n>`` moves slice n first."""
    frames = []
    for n, one in enumerate(
        stack(slices, 4.4, orientation=oriented(9, 2, (0, 1, 0, 0, 0, -1)), origin=(-30, -100, 150))
    ):
        moved_place = np.add(one.geometry.position, shifts.get(f"s{n}", (0, 0, 0)))
        place = tuple(round(float(value), decimals) for value in moved_place)
        frames.append(replace(one, geometry=replace(one.geometry, position=place, decimals=decimals)))
    return frames


def test_positions_rounded_to_a_tenth_are_compared_with_the_grid_that_fits_best() -> None:
    frames = rounded(1)
    assert refusal(frames)[0] is Reason.UNEVEN_SPACING
    grid = regularity.even_grid(frames)
    exact = stack(15, 4.4, orientation=oriented(9, 2, (0, 1, 0, 0, 0, -1)), origin=(-30, -100, 150))
    errors = [np.linalg.norm(grid.origin + n * grid.step - one.geometry.position) for n, one in enumerate(exact)]
    assert max(errors) < 0.05
    assert grid.detail.startswith("positions are rounded to 0.1 mm: the even grid that fits them best is up to 0.0")


@pytest.mark.parametrize("decimals", [0, 2, None])
def test_other_decimals_excuse_nothing(decimals: int | None) -> None:
    frames = [replace(one, geometry=replace(one.geometry, decimals=decimals)) for one in rounded(1)]
    with pytest.raises(Refused):
        regularity.even_grid(frames)


@pytest.mark.parametrize("shift", [(0.2, 0, 0), (0, 0.3, 0), (0, 0, 0.2)])
def test_what_rounding_does_not_explain_is_refused(shift: tuple[float, float, float]) -> None:
    with pytest.raises(Refused):
        regularity.even_grid(rounded(1, s7=shift))


@pytest.mark.parametrize(("step", "even"), [(55.0, True), (48.0, False)])
def test_rounded_positions_may_drift_by_a_thousandth_of_the_whole_extent(step: float, even: bool) -> None:
    """The line that fits 0, 0, 0.1, 0.1, 0.2 mm best drifts by 0.2 mm over four steps."""
    frames = [
        replace(one, geometry=replace(one.geometry, position=(x, 0.0, one.geometry.position[2]), decimals=1))
        for one, x in zip(stack(5, step), (0.0, 0.0, 0.1, 0.1, 0.2), strict=True)
    ]
    if even:
        assert regularity.even_grid(frames).step == pytest.approx([0.05, 0, step])
    else:
        with pytest.raises(Refused):
            regularity.even_grid(frames)


@pytest.mark.parametrize(
    ("numbers", "proven"),
    [
        ((3, 4, 5, 6), True),
        ((9, 6, 3, 0), True),
        ((1, 2, 4, 5), False),
        ((1, 1, 1, 1), False),
        ((1, 3, 2, 4), False),
        ((1, 2, None, 4), False),
    ],
)
def test_positions_and_numbers_together_prove_one_stack(numbers: tuple, proven: bool) -> None:
    frames = [replace(one, instance=number) for one, number in zip(stack(4), numbers, strict=True)]
    assert regularity.is_one_even_stack(frames[::-1]) is proven
    assert not regularity.is_one_even_stack([*frames[:3], moved(frames[3], (0, 0, 1))])
    assert not regularity.is_one_even_stack(frames[:2])
