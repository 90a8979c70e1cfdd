"""Volumes at repeated positions: what separates them, in which order, and when nothing does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks import repeated_positions
from tests.data_prep.dicom.frames_of import frame, moved, oriented, stack


def repeated(count: int, slices: int = 4, *hints: dict[str, object], numbers: str = "none") -> list[Frame]:
    """``count`` volumes with these hints; InstanceNumbers count by ``volume``, by ``position``, or say ``none``."""
    made = []
    for t in range(count):
        for k, one in enumerate(stack(slices)):
            number = {"volume": 1 + t * slices + k, "position": 1 + k * count + t, "none": 1}[numbers]
            values = tuple(hints[t].items()) if hints else ()
            made.append(replace(one, path=f"{t}{k}", instance=number, hints=values))
    return made


def paths(groups: list[list[list[Frame]]]) -> list[list[list[str]]]:
    return [[[one.path for one in volume] for volume in group] for group in groups]


def by_volume(*order: int, slices: int = 4) -> list[list[list[str]]]:
    return [[[f"{t}{k}" for k in range(slices)] for t in order]]


def refusal(frames: list[Frame]) -> tuple[Reason, str]:
    with pytest.raises(Refused) as raised:
        repeated_positions.arrange(frames)
    return raised.value.reason, raised.value.detail


def test_different_positions_are_one_volume_sorted_along_the_normal() -> None:
    frames = stack(6, orientation=oriented(20))
    assert repeated_positions.arrange([frames[n] for n in (3, 0, 5, 1, 4, 2)]) == [[frames]]


@pytest.mark.parametrize(("distance", "count"), [(0.019, 1), (0.021, 2)])
def test_positions_are_the_same_within_two_hundredths_of_a_millimetre(distance: float, count: int) -> None:
    frames = [frame(1, (0, 0, 0)), frame(2, (0, 0, distance))]
    if count == 2:
        assert repeated_positions.arrange(frames) == [[frames]]
    else:
        assert refusal(frames) == (Reason.SINGLE_POSITION, "2 images at one position, at least 3 positions needed")


def test_one_image_is_too_few() -> None:
    assert refusal(stack(1)) == (Reason.TOO_FEW_SLICES, "1 image at one position, at least 3 positions needed")


def test_nothing_that_separates_them_is_a_refusal_with_the_numbers() -> None:
    reason, detail = refusal([*repeated(2), frame(9, (0, 0, 0))])
    assert reason is Reason.AMBIGUOUS_VOLUMES
    assert detail.startswith("9 images at 4 positions, up to 3 at one")


@pytest.mark.parametrize("name", ["temporal position", "dimension 1", "flip angle", "any name"])
def test_one_hint_separates_and_orders_volumes(name: str) -> None:
    hints = [{"acquisition": 1, name: value} for value in (3, 10, 2)]
    assert paths(repeated_positions.arrange(repeated(3, 4, *hints))) == by_volume(2, 0, 1)


def test_hint_that_is_text_orders_volumes_by_instance_number() -> None:
    frames = repeated(3, 4, *({"acquisition time": text} for text in ("c", "a", "b")), numbers="volume")
    assert paths(repeated_positions.arrange(frames)) == by_volume(0, 1, 2)


def test_volumes_of_equal_instance_numbers_are_ordered_by_path() -> None:
    frames = repeated(3, 4, *({"diffusion direction": ((n,),)} for n in "cab"))
    assert paths(repeated_positions.arrange(frames[::-1])) == by_volume(0, 1, 2)


def test_two_hints_together_separate_volumes() -> None:
    hints = [{"flip angle": a, "inversion time": t} for a, t in ((5, 1), (5, 2), (9, 1), (9, 2))]
    assert paths(repeated_positions.arrange(repeated(4, 4, *hints))) == by_volume(0, 1, 2, 3)


def test_three_hints_together_separate_volumes() -> None:
    hints = [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)]
    assert paths(repeated_positions.arrange(repeated(8, 3, *hints))) == by_volume(*range(8), slices=3)


def test_a_hint_of_the_position_does_not_disturb_those_that_separate_volumes() -> None:
    hints = [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)]
    frames = [replace(one, hints=(*one.hints, ("place", one.path[1]))) for one in repeated(8, 3, *hints)]
    assert paths(repeated_positions.arrange(frames)) == by_volume(*range(8), slices=3)


def test_hint_that_some_frames_lack_separates_nothing() -> None:
    frames = repeated(2, 4, {"temporal position": 1}, {"temporal position": 2})
    frames[-1] = replace(frames[-1], hints=())
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES


def test_hint_that_is_equal_at_each_position_separates_nothing() -> None:
    frames = [replace(one, hints=(("dimension 0", one.geometry.position[2]),)) for one in repeated(2)]
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES


@pytest.mark.parametrize("numbers", ["volume", "position"])
def test_instance_numbers_separate_volumes_in_either_order(numbers: str) -> None:
    assert paths(repeated_positions.arrange(repeated(3, numbers=numbers))) == by_volume(0, 1, 2)


def test_a_hint_goes_before_instance_numbers() -> None:
    frames = repeated(2, 4, {"temporal position": 2}, {"temporal position": 1}, numbers="volume")
    assert paths(repeated_positions.arrange(frames)) == by_volume(1, 0)


def test_instance_numbers_in_no_order_separate_nothing() -> None:
    frames = repeated(2, numbers="volume")
    shuffled = [1, 3, 2, 4, 5, 6, 7, 8]
    frames = [replace(one, instance=number) for one, number in zip(frames, shuffled, strict=True)]
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES


def test_instance_numbers_that_repeat_separate_nothing() -> None:
    frames = repeated(2, numbers="volume")
    frames[5] = replace(frames[5], instance=2)
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES


def test_instance_numbers_of_an_incomplete_volume_separate_nothing() -> None:
    assert refusal(repeated(2, numbers="volume")[:-1])[0] is Reason.AMBIGUOUS_VOLUMES


def test_trigger_times_separate_heart_phases_although_each_position_has_its_own() -> None:
    frames = [
        replace(one, hints=(("trigger time", 100.0 * int(one.path[0]) + int(one.path[1])),)) for one in repeated(3)
    ]
    assert paths(repeated_positions.arrange(frames[::-1])) == by_volume(0, 1, 2)


@pytest.mark.parametrize("change", ["absent", "equal", "one more"])
def test_trigger_times_need_equally_many_different_times_everywhere(change: str) -> None:
    frames = [
        replace(one, hints=(("trigger time", 100.0 * int(one.path[0]) + int(one.path[1])),)) for one in repeated(3)
    ]
    if change == "absent":
        frames[0] = replace(frames[0], hints=())
    elif change == "equal":
        frames[0] = replace(frames[0], hints=frames[4].hints)
    else:
        frames.append(replace(frames[0], path="more", hints=(("trigger time", 999.0),)))
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES


def test_volumes_of_different_positions_are_groups() -> None:
    """An interrupted scan: the last volume has half of the slices."""
    frames = repeated(3, 6, *({"temporal position": n} for n in range(3)))[:-3]
    assert [[len(volume) for volume in group] for group in repeated_positions.arrange(frames)] == [[6, 6], [3]]
    assert [[len(volume) for volume in group] for group in repeated_positions.arrange(frames[:-1])] == [[6, 6], [2]]


def test_small_groups_without_a_whole_volume_are_no_volumes() -> None:
    first, second = stack(4)[:3], stack(4)[2:]
    frames = [replace(one, path=f"a{n}", hints=(("x", 1),), instance=1) for n, one in enumerate(first)]
    frames += [replace(one, path=f"b{n}", hints=(("x", 2),), instance=1) for n, one in enumerate(second)]
    assert refusal(frames)[0] is Reason.AMBIGUOUS_VOLUMES
    assert len(repeated_positions.arrange([*frames, replace(moved(frames[-1], (0, 0, 4)), path="b2")])) == 2


def test_a_key_that_makes_whole_volumes_goes_before_a_more_reliable_one() -> None:
    """The first hint puts the slices of a volume into two parts, the second one does not."""
    frames = [
        replace(one, hints=(("temporal position", t + 2 * (k > 2)), ("acquisition", t)))
        for t in range(2)
        for k, one in enumerate(stack(6))
    ]
    frames = [replace(one, path=str(n), instance=1) for n, one in enumerate(frames)]
    assert [[len(volume) for volume in group] for group in repeated_positions.arrange(frames)] == [[6, 6]]


def motion(offset: float, *, name: str = "temporal position", counts: tuple[int, int] = (4, 4)) -> list[Frame]:
    """Two volumes, the second one moved along the normal."""
    made = []
    for t, count in enumerate(counts):
        for one in stack(count, first=1 + 10 * t, origin=(0, 0, offset * t)):
            made.append(replace(one, hints=((name, t),)))
    return made


def test_moved_volumes_are_found_by_their_hints_in_the_order_of_instance_numbers() -> None:
    frames = motion(0.7)
    assert repeated_positions.moved(frames[::-1]) == [frames[:4], frames[4:]]


@pytest.mark.parametrize(
    "name", ["temporal index", "dimension 2", "diffusion direction", "acquisition", "trigger time"]
)
def test_hints_that_count_volumes_find_moved_ones(name: str) -> None:
    assert len(repeated_positions.moved(motion(0.7, name=name))) == 2


@pytest.mark.parametrize("name", ["flip angle", "inversion time", "repetition time"])
def test_hints_that_are_settings_find_no_moved_volumes(name: str) -> None:
    assert repeated_positions.moved(motion(0.7, name=name)) == []


@pytest.mark.parametrize(("offset", "count"), [(5.9, 2), (6.1, 0), (-5.9, 2), (-6.1, 0)])
def test_moved_volumes_overlap_by_more_than_half(offset: float, count: int) -> None:
    """The volumes are 12 mm long."""
    assert len(repeated_positions.moved(motion(offset))) == count


def test_moved_volumes_are_equally_long_and_even() -> None:
    assert repeated_positions.moved(motion(0.7, counts=(5, 4))) == []
    assert repeated_positions.moved(motion(0.7, counts=(2, 2))) == []
    assert len(repeated_positions.moved(motion(0.7, counts=(3, 3)))) == 2
    frames = motion(0.7)
    frames[5] = moved(frames[5], (0, 0, 0.5))
    assert repeated_positions.moved(frames) == []


def test_one_volume_alone_has_not_moved() -> None:
    assert repeated_positions.moved([replace(one, hints=(("temporal position", 1),)) for one in stack(5)]) == []


def test_slices_of_moved_volumes_are_sorted() -> None:
    frames = motion(0.7)
    order = np.random.default_rng(0).permutation(len(frames))
    assert repeated_positions.moved([frames[n] for n in order]) == [frames[:4], frames[4:]]
