"""Groups of parallel slices of one angle: split where acquisition or numbers prove them, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_prep.dicom.frames import Frame
from data_prep.dicom.stacks.splitting import split
from tests.data_prep.dicom.frames_of import stack


def groups(*starts: tuple[float, float], slices: int = 5, acquisitions: bool = False) -> list[Frame]:
    """Groups with steps of 4 mm that begin at these distances along the normal and within the plane."""
    frames = []
    for n, (along, within) in enumerate(starts):
        group = stack(slices, first=1 + slices * n, origin=(0, within, along))
        hints = (("acquisition", n),) if acquisitions else ()
        frames += [replace(one, hints=hints) for one in group]
    return frames


def verdicts(frames: list[Frame]) -> list[str]:
    return [f"{len(made.frames)} {made.reason.value if made.reason else 'right'}" for made in split(frames)]


def test_groups_that_touch_and_are_shifted_are_told_apart_by_number() -> None:
    frames = groups((0, 0), (20, 3), (40, 6))
    assert verdicts(frames) == ["5 right"] * 3
    assert split(frames)[0].detail == "one of 3 parallel groups of slices, told apart by InstanceNumber"


@pytest.mark.parametrize("start", [(13, 2), (13, 0), (12, 0), (9, 1)])
@pytest.mark.parametrize("name", ["acquisition", "InstanceNumber"])
def test_groups_that_overlap_are_told_apart(start: tuple[float, float], name: str) -> None:
    frames = groups((0, 0), start, acquisitions=name == "acquisition")
    if name == "acquisition":
        frames = [replace(one, instance=None) for one in frames]
    assert verdicts(frames) == ["5 right"] * 2


def test_groups_that_nothing_tells_apart_are_refused() -> None:
    frames = [replace(one, instance=None) for one in groups((0, 0), (13, 2))]
    assert "right" not in " ".join(verdicts(frames))


def test_groups_of_two_slices_are_refused() -> None:
    assert "right" not in " ".join(verdicts(groups((0, 0), (6, 2), slices=2)))


def test_a_slice_out_of_place_makes_no_group() -> None:
    frames = stack(10)
    frames[4] = replace(frames[4], geometry=replace(frames[4].geometry, position=(0.0, 3.0, 16.0)))
    assert verdicts(frames) == ["10 SHEARED"]


def test_a_small_shift_halfway_is_no_group() -> None:
    assert verdicts(groups((0, 0), (20, 0.5))) == ["10 SHEARED"]


def test_a_missing_slice_between_acquisitions_is_no_gap_between_groups() -> None:
    frames = [replace(one, hints=(("acquisition", one.number > 5),)) for one in stack([0, 4, 8, 12, 16, 24, 28, 32])]
    assert verdicts(frames) == ["8 MISSING_SLICE"]


def test_an_interrupted_scan_over_time_is_no_pair_of_groups() -> None:
    frames = stack(5) + stack(5, first=6) + stack(3, first=11)
    assert verdicts(frames) == ["13 AMBIGUOUS_VOLUMES"]
