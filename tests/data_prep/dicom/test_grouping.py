"""How frames are grouped before they are stacked: each value that must be equal, each tolerance, scouts, mixtures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.dicom.frames import Frame, Patient
from data_prep.dicom.refusals import Reason
from data_prep.dicom.stacks import placement
from data_prep.dicom.stacks.grouping import find_scout
from data_prep.dicom.stacks.splitting import split
from data_prep.dicom.stacks.stack import Stack
from monai_spine.geometry import Plane
from tests.data_prep.dicom.frames_of import AXIAL, CORONAL, SAGITTAL, frame, moved, oriented, stack


def verdicts(frames: list[Frame]) -> list[str]:
    """Number of slices and reason of each stack."""
    return [f"{len(made.frames)} {made.reason.value if made.reason else 'right'}" for made in split(frames)]


@pytest.mark.parametrize(
    "change",
    [
        {"image_type": ("ORIGINAL", "PRIMARY", "P")},
        {"component": "PHASE"},
        {"photometric": "MONOCHROME1"},
        {"echo_time": 20.0},
        {"echo_number": 2},
        {"b_value": 800.0},
        {"patient": Patient("another")},
        {"rows": 13},
        {"columns": 11},
    ],
)
def test_frames_that_differ_in_what_they_show_never_share_a_volume(change: dict[str, object]) -> None:
    frames = stack(4) + stack(4, first=5, origin=(0, 0, 16), **change)
    assert verdicts(frames) == ["4 right", "4 right"]


@pytest.mark.parametrize(
    ("columns", "spacing", "groups"), [(10, 0.504, 1), (10, 0.5046, 2), (100, 0.504, 2), (2, 0.53, 1)]
)
def test_pixel_spacings_are_equal_if_the_last_column_moves_by_no_more_than_the_tolerance(columns, spacing, groups):
    """9 columns of 0.504 mm are 0.036 mm longer than of 0.5 mm."""
    frames = stack(4, columns=columns) + stack(4, first=5, origin=(0, 0, 16), columns=columns, spacing=(0.7, spacing))
    assert len(split(frames)) == groups


@pytest.mark.parametrize(("spacing", "groups"), [(0.7036, 1), (0.704, 2)])
def test_pixel_spacings_are_equal_if_the_last_row_moves_by_no_more_than_the_tolerance(spacing, groups):
    """11 rows of 0.7036 mm are 0.0396 mm longer than of 0.7 mm."""
    frames = stack(4) + stack(4, first=5, origin=(0, 0, 16), spacing=(spacing, 0.5))
    assert len(split(frames)) == groups


@pytest.mark.parametrize(("axis", "length"), [(2, 7.7), (1, 4.5), (0, 7.7)])
@pytest.mark.parametrize(("corner", "groups"), [(0.039, 1), (0.041, 2)])
def test_orientations_are_equal_if_no_corner_moves_by_more_than_the_tolerance(axis, length, corner, groups):
    """The image is 4.5 mm wide and 7.7 mm high."""
    turned = oriented(np.degrees(corner / length), axis)
    frames = stack(4) + [
        replace(one, geometry=replace(one.geometry, orientation=turned)) for one in stack(4, first=5, origin=(0, 0, 16))
    ]
    assert len({made.first.geometry.orientation for made in split(frames)}) == groups


@pytest.mark.parametrize(("slices", "groups"), [((4, 3), 2), ((5, 2), 1)])
def test_frames_of_reference_separate_stacks_of_three_slices_or_more(slices: tuple[int, int], groups: int) -> None:
    frames = stack(slices[0]) + stack(
        slices[1], first=1 + slices[0], origin=(0, 0, 4 * slices[0]), frame_of_reference="9"
    )
    assert len(split(frames)) == groups


def test_shape_of_a_stack_is_that_of_its_file() -> None:
    (made,) = split(stack(5))
    assert made.shape == (10, 12, 5)
    assert not made.is_4d
    four = Stack((made.volumes[0], made.volumes[0]))
    assert four.shape == (10, 12, 5, 2)
    assert four.is_4d
    assert four.frames == made.frames * 2


@pytest.mark.parametrize(
    ("orientation", "plane"), [(AXIAL, Plane.AXIAL), (SAGITTAL, Plane.SAGITTAL), (CORONAL, Plane.CORONAL)]
)
def test_plane_of_a_stack_is_that_of_its_slices(orientation: tuple[float, ...], plane: Plane) -> None:
    (made,) = split(stack(4, orientation=orientation))
    assert made.plane is plane


def test_stacks_are_in_the_order_of_their_lowest_instance_number() -> None:
    late = stack(4, first=9, echo_time=1.0)
    early = stack(4, first=5, echo_time=2.0)
    assert [made.frames for made in split([*late, *early])] == [tuple(early), tuple(late)]


def test_unusable_frames_are_put_together_by_their_reason() -> None:
    frames = stack(7)
    bad = [
        replace(frames[n], reason=reason, geometry=None, detail=reason.value.lower())
        for n, reason in ((4, Reason.NO_GEOMETRY), (5, Reason.MOSAIC), (6, Reason.NO_GEOMETRY))
    ]
    made = split([*frames[:4], *bad])
    assert [(len(each.frames), each.reason, each.detail) for each in made] == [
        (4, None, ""),
        (2, Reason.NO_GEOMETRY, "no_geometry"),
        (1, Reason.MOSAIC, "mosaic"),
    ]
    assert [each.plane for each in made] == [Plane.AXIAL, None, None]


def test_truncated_slice_refuses_its_stack_and_one_without_a_place_only_itself() -> None:
    frames = stack(8)
    frames[2] = replace(frames[2], reason=Reason.TRUNCATED, detail="1 of 2 bytes")
    (made,) = split(frames)
    assert (made.reason, made.detail, len(made.frames)) == (Reason.TRUNCATED, "slice 3: 1 of 2 bytes", 8)
    frames = stack(5)
    frames[4] = replace(frames[4], reason=Reason.TRUNCATED, detail="cut", geometry=None)
    assert verdicts(frames) == ["4 right", "1 TRUNCATED"]


def test_five_truncated_slices_at_most_are_named() -> None:
    frames = [replace(one, reason=Reason.TRUNCATED, detail="cut") for one in stack(7)]
    assert split(frames)[0].detail == "slice 1, 2, 3, 4, 5: cut"


def crossing(degrees: float, *counts: int) -> list[list[Frame]]:
    """Groups in planes each ``degrees`` from the last."""
    return [stack(count, orientation=oriented(degrees * n), first=1 + 100 * n) for n, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("degrees", "is_scout"), [(74.9, False), (75.1, True), (90, True), (104.9, True), (105.1, False)]
)
def test_planes_that_cross_at_seventy_five_degrees_are_a_scout(degrees: float, is_scout: bool) -> None:
    groups = crossing(degrees, 3, 3)
    expected = f"slices in 2 planes, up to {min(degrees, 180 - degrees):.0f} degrees apart"
    assert find_scout(groups) == ((groups, expected) if is_scout else ([], ""))


@pytest.mark.parametrize(("between", "is_scout"), [(31, False), (45, False), (59, False), (29, True), (61, True)])
def test_planes_with_another_between_them_are_no_scout(between: float, is_scout: bool) -> None:
    groups = [stack(3, orientation=oriented(degrees)) for degrees in (0, between, 90)]
    found, _ = find_scout(groups)
    assert bool(found) is is_scout


@pytest.mark.parametrize(
    ("counts", "across"),
    [((10, 2), 1), ((9, 2), 2), ((5, 1), 1), ((4, 1), 2), ((15, 3), 2), ((2, 10), 1)],
)
def test_few_images_across_a_large_stack_are_its_reference(counts: tuple[int, int], across: int) -> None:
    groups = crossing(90, *counts)
    found, _ = find_scout(groups)
    assert len(found) == across
    if across == 1:
        assert found == [min(groups, key=len)]


def test_scout_says_how_many_planes_it_has() -> None:
    groups = [stack(3, orientation=orientation) for orientation in (AXIAL, SAGITTAL, CORONAL)]
    assert find_scout(groups) == (groups, "slices in 3 planes, up to 90 degrees apart")
    assert find_scout(groups[:2])[1] == "slices in 2 planes, up to 90 degrees apart"
    twice = [*groups[:2], stack(3, orientation=oriented(89)), stack(3, first=4, rows=20)]
    assert find_scout(twice)[1] == "slices in 3 planes, up to 90 degrees apart"


def test_scan_beside_its_reference_images_is_converted() -> None:
    assert verdicts(stack(15) + stack(1, orientation=SAGITTAL, first=16)) == ["15 right", "1 LOCALIZER"]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"rows": 20}, "MIXED_SHAPE", "2 of 8 images are 10 x 20, others 10 x 12"),
        ({"columns": 8}, "MIXED_SHAPE", "2 of 8 images are 8 x 12, others 10 x 12"),
        ({"spacing": (0.9, 0.5)}, "MIXED_SPACING", "2 of 8 images have pixels of 0.9 mm, others 0.7"),
        ({"spacing": (0.7, 0.6)}, "MIXED_SPACING", "2 of 8 images have pixels of 0.7 mm, others 0.7"),
        ({"orientation": oriented(0.4)}, "MIXED_ORIENTATION", "turned by 0.4000 degrees"),
        ({"orientation": oriented(0.6)}, "TOO_FEW_SLICES", "2 of at least 3 slices"),
        ({"echo_time": 1.0}, "TOO_FEW_SLICES", "2 of at least 3 slices"),
    ],
)
def test_a_few_images_that_differ_are_refused_for_what_differs(change, reason, detail) -> None:
    made = split(stack(6) + stack(2, first=7, origin=(0, 0, 24), **change))
    assert [(each.reason and each.reason.value) for each in made] == [None, reason]
    assert made[1].detail.startswith(detail)


def test_single_position_of_another_spacing_is_a_mixture() -> None:
    odd = [frame(n, (0, 0, 30), spacing=(0.9, 0.9)) for n in (7, 8)]
    assert verdicts(stack(6) + odd) == ["6 right", "2 MIXED_SPACING"]


def test_images_at_one_position_alone_are_no_mixture() -> None:
    assert verdicts([frame(n, (0, 0, 30)) for n in range(4)]) == ["4 SINGLE_POSITION"]


@pytest.mark.parametrize("error", [0.049, 0.051])
def test_one_affine_must_hold_every_slice(error: float) -> None:
    """Nine slices: one turned in its plane by a small angle to the left, seven to the right, the first one not.

    The mean is two thirds of the angle to the right, so that the fifth slice is five thirds of the angle off.
    """
    diagonal = 0.5 * np.hypot(511, 511)
    degrees = float(np.degrees(error / (5 / 3) / diagonal))
    frames = stack(9, rows=512, columns=512, spacing=(0.5, 0.5))
    for n in range(1, 9):
        turned = oriented(-degrees if n == 4 else degrees, 2)
        frames[n] = replace(frames[n], geometry=replace(frames[n].geometry, orientation=turned))
    (made,) = split(frames)
    if error < placement.CORNER_TOLERANCE_MM:
        assert made.reason is None
    else:
        assert made.reason is Reason.MIXED_ORIENTATION
        assert made.detail == "one affine for all slices would put a corner of slice 5 0.051 mm off"


def oblique_axes(sine: float) -> list[Frame]:
    """A stack whose rows and columns are not quite at right angles."""
    orientation = (1.0, 0.0, 0.0, sine, float(np.sqrt(1 - sine**2)), 0.0)
    return [
        replace(one, geometry=replace(one.geometry, orientation=orientation))
        for one in stack(5, rows=401, columns=401, spacing=(0.5, 0.5))
    ]


@pytest.mark.parametrize("sine", [0.0003, 0.0006, 0.0010, 0.0012])
def test_axes_that_are_not_at_right_angles_are_noted_and_then_refused(sine: float) -> None:
    """The qform turns both axes by half of the angle: the corners at 100 mm from the centre move by 0.7 of it."""
    error = sine / 2 * np.hypot(100, 100)
    (made,) = split(oblique_axes(sine))
    if error <= placement.CORNER_TOLERANCE_MM:
        assert made.reason is None
        assert "shear" not in made.detail
    elif error <= placement.RIGID_TOLERANCE_MM:
        assert made.reason is None
        assert made.detail == f"cosines of few decimals: the qform, which can hold no shear, is {error:.3f} mm off"
    else:
        assert made.reason is Reason.SHEARED
        assert made.detail.endswith(f"would lie {error:.3f} mm off")


@pytest.mark.parametrize(
    ("slices", "step", "drift", "details"), [(11, 4.4, (0.0, 0.0), 1), (8, 75.91, (0.45, -0.07), 2)]
)
def test_rounding_of_positions_adds_to_what_the_qform_may_be_off(slices, step, drift, details) -> None:
    """In the second stack, rounded positions are 0.072 mm off the best grid, and the qform is 0.150 mm off them."""
    frames = [
        replace(one, geometry=replace(one.geometry, position=tuple(round(float(v), 1) for v in place), decimals=1))
        for n, one in enumerate(stack(slices, step, orientation=oriented(4, 1) if not any(drift) else AXIAL))
        for place in [np.add(one.geometry.position, [*np.multiply(drift, n / (slices - 1)), 0])]
    ]
    (made,) = split(frames)
    assert made.reason is None
    rounded, *qform = made.detail.split("; ")
    assert rounded.startswith("positions are rounded to 0.1 mm")
    assert len(qform) == details - 1


def test_volumes_that_moved_are_stacks_of_their_own_and_those_that_did_not_are_one() -> None:
    still = [replace(one, hints=(("temporal position", t),), path=f"{t}{one.path}") for t in (1, 2) for one in stack(4)]
    assert verdicts(still) == ["8 right"]
    shifted = [moved(one, (0, 0.3, 0)) if one.path[0] == "2" else one for one in still]
    assert verdicts(shifted) == ["4 right", "4 right"]
    along = [moved(one, (0, 0, 0.7)) if one.path[0] == "2" else one for one in still]
    assert verdicts(along) == ["4 right", "4 right"]


def test_slabs_of_all_volumes_are_cut_at_the_same_places() -> None:
    places = [0, 4, 8, 18, 22, 26, 30]
    frames = [
        replace(one, hints=(("temporal position", t),), path=f"{t}{one.path}") for t in (1, 2) for one in stack(places)
    ]
    assert [made.shape for made in split(frames)] == [(10, 12, 3, 2), (10, 12, 4, 2)]


def test_refused_frames_are_in_the_order_of_their_position() -> None:
    frames = [frame(n, (0, 0, place)) for n, place in enumerate((8, 0, 4, 8, 0, 4), start=1)]
    frames[0] = replace(frames[0], instance=4)
    (made,) = split(frames)
    assert made.reason is Reason.AMBIGUOUS_VOLUMES
    assert [one.geometry.position[2] for one in made.frames] == [0, 0, 4, 4, 8, 8]


def test_refused_frames_of_one_object_are_in_their_own_order() -> None:
    frames = [replace(frame(1, (0, 0, 5)), index=n) for n in (2, 0, 1)]
    (made,) = split(frames)
    assert made.reason is Reason.SINGLE_POSITION
    assert [one.index for one in made.frames] == [0, 1, 2]


MARKED = ("ORIGINAL", "PRIMARY", "M", "ND", "NORM")


def test_marks_behind_the_third_value_of_image_type_do_not_divide_a_stack() -> None:
    (made,) = split(stack(6) + stack(3, first=7, origin=(0, 0, 24), image_type=MARKED))
    assert (len(made.frames), made.reason) == (9, None)
    assert made.detail == "the last values of ImageType differ between slices that are one stack by position and number"


def test_echo_times_that_jitter_do_not_divide_a_stack() -> None:
    (made,) = split([frame(n + 1, (0, 0, 4 * n), echo_time=round(100.2 + 0.004 * n, 3)) for n in range(9)])
    assert (len(made.frames), made.reason) == (9, None)
    assert made.detail.startswith("echo times differ")


@pytest.mark.parametrize("change", [{"image_type": MARKED}, {"echo_time": 100.3}])
@pytest.mark.parametrize(("first", "place"), [(8, 24), (7, 25), (1, 0)])
def test_marks_and_echoes_divide_what_position_and_number_do_not_join(change, first, place) -> None:
    frames = stack(6) + stack(4, first=first, origin=(0, 0, place), **change)
    assert verdicts(frames) == ["6 right", "4 right"]


def test_two_slices_that_differ_by_rounding_are_too_few_and_not_turned() -> None:
    frames = stack(2)
    turned = tuple(np.add(frames[1].geometry.orientation, (0, 1e-8, 0, 0, 0, 0)))
    frames[1] = replace(frames[1], geometry=replace(frames[1].geometry, orientation=turned))
    (made,) = split(frames)
    assert (made.reason, made.detail) == (Reason.TOO_FEW_SLICES, "2 of at least 3 slices")
