"""Frames of the levels: where they are put, and how they turn with the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.crops.frame import LevelFrame, Origin, level_frames
from monai_spine.spine import FLIPPED, TARGETS, Group, Level
from tests.monai_spine.crops.worlds import leaning, moved, spine_points

X = np.array([1.0, 0.0, 0.0])


def close(one: LevelFrame, basis: np.ndarray, origin: np.ndarray) -> bool:
    return bool(np.allclose(one.basis, basis) and np.allclose(one.anchors[Group.SPINAL], origin))


def only(word: str) -> dict[str, np.ndarray]:
    return {name: point for name, point in spine_points().items() if word in name}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 40), st.tuples(*[st.floats(-80, 80)] * 3))
def test_frames_turn_and_move_with_the_patient(seed: int, lean: float, shift: tuple[float, float, float]) -> None:
    turn = leaning(lean, seed)
    frames = level_frames(moved(spine_points(), turn, np.array(shift)), turn @ X)
    for n, level in enumerate(Level):
        assert close(frames[level], turn, turn @ [0, 0, 32.0 * (2 - n)] + shift)
        assert frames[level].origin is Origin.CANAL


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sets(st.sampled_from(TARGETS), min_size=4), st.floats(0, 20))
def test_axes_are_right_handed_and_upright_whatever_points_there_are(seed: int, known: set, lean: float) -> None:
    rng = np.random.default_rng(seed)
    turn = leaning(lean, seed)
    points = {name: turn @ point + rng.normal(0, 2, 3) for name, point in spine_points().items() if name in known}
    for frame in level_frames(points, turn @ X).values():
        assert np.allclose(frame.basis.T @ frame.basis, np.eye(3))
        assert np.linalg.det(frame.basis) == pytest.approx(1.0)
        assert np.diag(frame.basis).min() > 0.3


def test_the_frames_of_the_flipped_patient_are_the_flipped_frames() -> None:
    flip = np.diag([-1.0, 1.0, 1.0])
    points = moved(spine_points(), leaning(12, 4), np.array([5.0, 6.0, 7.0]))
    other = {TARGETS[FLIPPED[n]]: flip @ points[name] for n, name in enumerate(TARGETS)}
    frames, flipped = level_frames(points, X), level_frames(other, X)
    for level in Level:
        assert close(flipped[level], flip @ frames[level].basis @ flip, flip @ frames[level].anchors[Group.SPINAL])


@pytest.mark.parametrize(
    ("lost", "origin"), [(["spinal"], Origin.RECESSES), (["spinal", "subarticular"], Origin.FORAMINA)]
)
def test_a_canal_without_a_point_is_put_where_it_lies_to_the_others_elsewhere(lost: list, origin: Origin) -> None:
    points = {
        name: point
        for name, point in spine_points().items()
        if not (name.endswith("l3_l4") and any(word in name for word in lost))
    }
    frame = level_frames(points)[Level.L3_L4]
    assert close(frame, np.eye(3), np.zeros(3))
    assert frame.origin is origin


def test_one_side_is_enough_where_the_other_levels_know_both() -> None:
    points = {name: p for name, p in spine_points().items() if not name.endswith("l3_l4") or "left_sub" in name}
    frame = level_frames(points)[Level.L3_L4]
    assert close(frame, np.eye(3), np.zeros(3))
    assert np.allclose(frame.anchors[Group.FORAMINAL], [0, 3, 6])


def test_without_any_canal_point_it_lies_midway_between_the_recesses() -> None:
    frames = level_frames(only("subarticular"))
    assert np.allclose(frames[Level.L4_L5].anchors[Group.SPINAL], [0, 2, -34])
    assert frames[Level.L4_L5].origin is Origin.RECESSES


@pytest.mark.parametrize("gone", ["l3_l4", "l1_l2", "l5_s1"])
def test_a_level_between_or_beside_two_others_is_told_by_them(gone: str) -> None:
    frames = level_frames({name: p for name, p in spine_points().items() if not name.endswith(gone)})
    frame = frames[Level(gone)]
    assert frame.origin is Origin.NEIGHBOURS
    assert np.allclose(frame.anchors[Group.SPINAL], spine_points()[f"spinal_canal_stenosis_{gone}"])


def test_two_steps_beyond_the_last_point_nothing_is_guessed() -> None:
    frames = level_frames({name: p for name, p in spine_points().items() if name.endswith(("l1_l2", "l2_l3"))})
    assert list(frames) == [Level.L1_L2, Level.L2_L3, Level.L3_L4]
    assert not level_frames({})


def test_swapped_names_of_sides_do_not_turn_the_frame_around() -> None:
    points = spine_points()
    swapped = {TARGETS[FLIPPED[n]]: points[name] for n, name in enumerate(TARGETS)}
    assert close(level_frames(swapped)[Level.L2_L3], np.eye(3), np.array([0, 0, 32.0]))


def test_a_single_level_stands_upright() -> None:
    point = spine_points()[TARGETS[2]]
    frames = level_frames({TARGETS[2]: point}, leaning(5, 1) @ X)
    assert list(frames) == [Level.L3_L4]
    assert frames[Level.L3_L4].up[2] > 0.98


def test_an_anchor_is_midway_between_the_points_of_its_pair() -> None:
    anchors = level_frames(spine_points())[Level.L5_S1].anchors
    assert np.allclose(anchors[Group.FORAMINAL], [0, 3, -58])
    assert np.allclose(anchors[Group.SUBARTICULAR], [0, 2, -66])
    alone = level_frames(only("spinal"))[Level.L5_S1].anchors
    assert all(np.allclose(anchor, [0, 0, -64]) for anchor in alone.values())


def test_only_the_direction_of_the_volumes_axis_counts() -> None:
    points = moved(spine_points(), leaning(12, 4), np.zeros(3))
    short, long = level_frames(points, X), level_frames(points, 5 * X)
    assert all(np.allclose(short[level].basis, long[level].basis) for level in Level)


def test_the_volumes_axis_counts_as_a_pair_of_points_40_mm_apart() -> None:
    middle = spine_points()["spinal_canal_stenosis_l3_l4"]
    across = np.array([24.0, 10.0, 0.0])
    points = {
        "spinal_canal_stenosis_l3_l4": middle,
        "left_neural_foraminal_narrowing_l3_l4": middle - across / 2,
        "right_neural_foraminal_narrowing_l3_l4": middle + across / 2,
    }
    expected = np.array([64.0, 10.0, 0.0])
    assert np.allclose(level_frames(points, X)[Level.L3_L4].right, expected / np.linalg.norm(expected))
    # A pair that points the other way, by however little, does not count.
    points["left_neural_foraminal_narrowing_l3_l4"] = middle + np.array([0.01, 20.0, 0.0])
    points["right_neural_foraminal_narrowing_l3_l4"] = middle
    assert np.allclose(level_frames(points, X)[Level.L3_L4].right, X)


def test_pairs_of_the_neighbours_count_too_and_those_farther_away_do_not() -> None:
    points = only("spinal")
    for n, name in enumerate(("l1_l2", "l2_l3", "l4_l5", "l5_s1")):
        middle = points[f"spinal_canal_stenosis_{name}"]
        across = np.array([20.0, 2.0**n, 0.0])
        points[f"left_subarticular_stenosis_{name}"] = middle - across / 2
        points[f"right_subarticular_stenosis_{name}"] = middle + across / 2
    expected = np.array([80.0, 6.0, 0.0])
    assert np.allclose(level_frames(points, X)[Level.L3_L4].right, expected / np.linalg.norm(expected))


def test_the_offset_of_a_pair_is_that_of_the_nearest_level_or_the_mean_of_two() -> None:
    points = {name: point for name, point in spine_points().items() if "spinal" in name}
    for name, ahead in (("l1_l2", 1.0), ("l2_l3", 2.0), ("l4_l5", 6.0)):
        middle = points[f"spinal_canal_stenosis_{name}"] + np.array([0.0, ahead, 0.0])
        points[f"left_neural_foraminal_narrowing_{name}"] = middle - np.array([15.0, 0.0, 0.0])
        points[f"right_neural_foraminal_narrowing_{name}"] = middle + np.array([15.0, 0.0, 0.0])
    frames = level_frames(points)
    assert np.allclose(frames[Level.L3_L4].anchors[Group.FORAMINAL], [0.0, 4.0, 0.0])
    assert np.allclose(frames[Level.L5_S1].anchors[Group.FORAMINAL], [0.0, 6.0, -64.0])
    assert np.allclose(frames[Level.L1_L2].anchors[Group.FORAMINAL], [0.0, 1.0, 64.0])
