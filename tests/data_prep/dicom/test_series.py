"""A job's frames: which are copies, which series are joined, and what the stacks say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks import series
from tests.data_prep.dicom.frames_of import frame, moved, stack


@pytest.fixture(autouse=True)
def pixels(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Checksums of pixels by path; a file that is not in it has those of its position. None for damaged ones."""
    by_path: dict[str, int] = {}

    def checksum(one: Frame) -> int:
        found = by_path.get(one.path, hash(one.geometry))
        if found is None:
            raise Refused(Reason.UNREADABLE, "damaged")
        return found

    monkeypatch.setattr(series, "checksum", checksum)
    return by_path


def named(frames: list[Frame], folder: str, **changes: object) -> list[Frame]:
    """The frames as files of another folder."""
    return [replace(one, path=f"{folder}/{one.path}", **changes) for one in frames]


def test_copies_are_dropped_in_the_order_of_paths_and_counted() -> None:
    first, second = named(stack(4), "a"), named(stack(4), "b")
    stacks, copies = series.split_job([*second[:2], *first])
    assert copies == second[:2]
    (made,) = stacks
    assert (made.frames, made.reason) == (tuple(first), None)
    assert made.detail == "2 identical copies left out"
    assert series.split_job([*first, second[3]])[0][0].detail == "1 identical copy left out"


def test_copies_are_counted_at_their_own_stack_alone() -> None:
    first = named(stack(4), "a")
    other = named(stack(4, first=5, echo_time=20.0), "c")
    stacks, _ = series.split_job([*first, *named(stack(1), "b"), *other])
    assert [made.detail for made in stacks] == ["1 identical copy left out", ""]


@pytest.mark.parametrize("change", [{"slope": 2.0}, {"intercept": 1.0}, {"hints": (("x", 1),)}, {"uid": "9"}])
def test_frames_that_differ_in_their_header_are_no_copies(change: dict[str, object]) -> None:
    frames = [*named(stack(1), "a"), *named(stack(1), "b", **change)]
    assert series.drop_copies(frames) == (frames, [])
    assert series.drop_copies_by_header(frames) == frames


@pytest.mark.parametrize("change", [{"echo_time": 1.0}, {"description": "T1"}, {"origin": (0, 0, 1)}])
def test_frames_that_differ_in_contrast_series_or_place_are_no_copies(change: dict[str, object]) -> None:
    frames = [*named(stack(1), "a"), *named(stack(1, **change), "b")]
    assert series.drop_copies(frames) == (frames, [])
    assert series.drop_copies_by_header(frames) == frames


def test_frames_of_one_object_are_no_copies_of_each_other() -> None:
    frames = [replace(one, index=n, uid="1") for n, one in enumerate([frame(1, (0, 0, 0))] * 2)]
    assert series.drop_copies(frames) == (frames, [])


def test_copies_need_equal_pixels_unless_only_headers_are_read(pixels: dict[str, int]) -> None:
    frames = [*named(stack(1), "a"), *named(stack(1), "b"), *named(stack(1), "c")]
    pixels |= {"a/0001.dcm": 1, "b/0001.dcm": 2, "c/0001.dcm": 1}
    assert series.drop_copies(frames) == (frames[:2], frames[2:])
    assert series.drop_copies_by_header(frames[::-1]) == frames[:1]


def test_frames_with_damaged_pixels_are_kept_for_their_stack(pixels: dict[str, int]) -> None:
    frames = [*named(stack(1), "a"), *named(stack(1), "b"), *named(stack(1), "c")]
    pixels |= {"a/0001.dcm": None, "b/0001.dcm": None, "c/0001.dcm": 1}
    assert series.drop_copies(frames) == (frames, [])


def test_pixels_are_read_only_of_frames_with_equal_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "checksum", None)
    assert series.drop_copies(stack(5)) == (stack(5), [])


def test_images_sent_again_under_new_uids_are_dropped_where_nothing_else_separates_them() -> None:
    first = named(stack(4), "a")
    second = named(stack(4), "b", uid="new")
    second = [replace(one, uid=f"new {n}", instance=1) for n, one in enumerate(second)]
    stacks, copies = series.split_job([*first, *second])
    assert copies == second
    assert [(made.frames, made.detail) for made in stacks] == [(tuple(first), "4 identical copies left out")]


def test_equal_images_of_a_time_series_are_no_copies() -> None:
    first = named(stack(4), "a", hints=(("temporal position", 1),))
    second = named(stack(4), "b", hints=(("temporal position", 2),), uid="new")
    second = [replace(one, uid=f"new {n}") for n, one in enumerate(second)]
    (made,), copies = series.split_job([*first, *second])
    assert copies == []
    assert made.volumes == (tuple(first), tuple(second))


def halves(**second: object) -> list[Frame]:
    """One stack of eight slices, the second half under a series UID of its own."""
    whole = stack(8)
    return whole[:4] + stack(4, first=5, origin=(0, 0, 16), series="1.2.2", **second)


def test_one_stack_under_two_series_uids_is_joined_under_the_first() -> None:
    (made,) = series.stacks_of(halves())
    assert [one.number for one in made.frames] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {one.identity.series for one in made.frames} == {"1.2.2"}
    assert made.detail == "one stack sent as 2 series"


@pytest.mark.parametrize(
    "change",
    [
        {"study": "9"},
        {"series_number": 4},
        {"series_number": None},
        {"frame_of_reference": "9"},
        {"frame_of_reference": ""},
        {"parameters": (("EchoTime", 20),)},
        {"first": 6},
        {"first": 4},
        {"echo_time": 20.0},
        {"origin": (0, 0, 20)},
        {"origin": (0, 0, 24.5)},
        {"index": 0},
        {"instance": None},
        {"hints": (("temporal position", 2),), "origin": (0, 0, 0)},
    ],
)
def test_series_that_are_not_proven_to_be_one_stay_apart(change: dict[str, object]) -> None:
    frames = stack(4)
    frames += stack(4, **{"first": 5, "origin": (0, 0, 16), "series": "1.2.2", **change})
    made = series.stacks_of(frames)
    assert [{one.identity.series for one in each.frames} for each in made] == [{"1.2.2"}, {"1.2.3"}]


@pytest.mark.parametrize("change", [{"series_number": None}, {"frame_of_reference": ""}])
def test_series_without_a_number_or_a_frame_of_reference_are_never_joined(change: dict[str, object]) -> None:
    frames = stack(4, **change) + stack(4, first=5, origin=(0, 0, 16), series="1.2.2", **change)
    assert len(series.stacks_of(frames)) == 2


def test_frames_of_multi_frame_objects_are_never_joined() -> None:
    frames = [replace(one, index=n) for n, one in enumerate(halves())]
    assert len(series.stacks_of(frames)) == 2


def test_joined_stack_keeps_what_its_detail_says() -> None:
    """Cosines of three decimals, for which the qform is a little off."""
    orientation = (0.999, 0.001, 0.0, 0.001, 0.999, 0.0)
    frames = [replace(one, geometry=replace(one.geometry, orientation=orientation)) for one in halves()]
    frames = [replace(one, pixels=replace(one.pixels, rows=160, columns=160)) for one in frames]
    (made,) = series.stacks_of(frames)
    assert made.detail.startswith("one stack sent as 2 series; cosines of few decimals")


def test_series_are_split_in_the_order_of_their_uids() -> None:
    frames = stack(4, series="2") + stack(4, series="1") + stack(4, series="3")
    assert [made.first.identity.series for made in series.stacks_of(frames)] == ["1", "2", "3"]


def test_a_slice_out_of_place_prevents_joining() -> None:
    frames = halves()
    frames[6] = moved(frames[6], (0, 0, 1))
    assert len(series.stacks_of(frames)) == 2
