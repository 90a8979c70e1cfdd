import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.geometry import to_voxel
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.measures.canal import canal_diameters
from monai_spine.measures.disc_plane import Frame
from monai_spine.measures.study import LORDOSIS, NAMES, measured, plates_angle
from monai_spine.spine import Level
from tests.monai_spine.measures.boxes import BoxSpine


@settings(max_examples=8, deadline=None)
@given(
    narrow=st.floats(4, 15),
    height=st.floats(5, 13),
    wedge=st.floats(-5, 12),
    turn=st.floats(-15, 15),
    tilt=st.floats(-25, 25),
)
def test_measures_are_those_of_the_boxes_however_they_lie(
    narrow: float, height: float, wedge: float, turn: float, tilt: float
) -> None:
    spine = BoxSpine(narrow=narrow, height=height, wedge=wedge, turn=turn, tilt=tilt)
    for values in measured(spine.maps(), spine.canal).levels.values():
        assert values["canal_diameter_mm"] == pytest.approx(narrow, abs=0.4)
        assert values["canal_area_mm2"] == pytest.approx(narrow * spine.width, rel=0.06)
        assert values["disc_height_middle_mm"] == pytest.approx(height, abs=0.4)
        slope = 2 * np.tan(np.radians(wedge / 2))
        assert values["disc_height_front_mm"] == pytest.approx(height + slope * 12.4, abs=0.7)
        assert values["disc_height_back_mm"] == pytest.approx(height - slope * 12.4, abs=0.7)
        assert values["disc_wedge_deg"] == pytest.approx(wedge, abs=1.2)


@pytest.mark.parametrize(("first", "last", "shown"), [(0, 13, True), (4, 9, True), (0, 6, False), (8, 13, False)])
def test_the_diameter_is_known_only_where_slices_show_the_canals_middle(first: int, last: int, shown: bool) -> None:
    spine = BoxSpine(narrow=9)
    whole = spine.maps()
    affine = whole.affine.copy()
    affine[:3, 3] += first * affine[:3, 0]
    found = canal_diameters(RegionMaps(whole.values[:, first:last], affine), spine.canal)
    assert list(found) == list(Level) * shown
    assert list(found.values()) == pytest.approx([9] * len(found), abs=0.4)
    measures = measured(RegionMaps(whole.values[:, first:last], affine), spine.canal).levels
    assert all(("canal_diameter_mm" in values) is shown for values in measures.values())
    # Its five middle slices end within the canal, so they do not show its whole area.
    assert all(("canal_area_mm2" in values) is (last - first == 13) for values in measures.values())


def test_the_canal_has_its_share_of_the_diameter_between_the_discs() -> None:
    spine = BoxSpine(narrow=8, wide=16)
    for values in measured(spine.maps(), spine.canal).levels.values():
        assert values["canal_share"] == pytest.approx(0.5, abs=0.03)


def test_the_lordosis_lies_between_two_end_plates_that_the_image_shows() -> None:
    spine = BoxSpine(wedge=8)
    maps = spine.maps()
    places = list(spine.canal.values())
    # No disc proves where the uppermost body of the boxes ends.
    assert LORDOSIS not in measured(maps, spine.canal).whole
    one_lower = {Level.L1_L2: places[1], Level.L2_L3: places[2], Level.L3_L4: places[3], Level.L5_S1: places[4]}
    # Both plates are lower ones of discs, which are parallel.
    assert measured(maps, one_lower).whole[LORDOSIS] == pytest.approx(0.0, abs=1.0)


def test_a_hollow_back_has_a_positive_lordosis() -> None:
    front = np.array([0.0, 1.0, 0.0])
    sacrum = np.array([0.0, np.cos(np.radians(40)), -np.sin(np.radians(40))])
    assert plates_angle(sacrum, front) == pytest.approx(40.0)


def test_what_is_not_there_has_no_measures() -> None:
    spine = BoxSpine()
    maps = spine.maps()
    empty = RegionMaps(np.zeros_like(maps.values), maps.affine)
    found = measured(empty, spine.canal)
    assert set(found.levels) == set(Level)
    assert not any(found.levels.values())
    assert not found.whole


def test_a_disc_that_the_image_cuts_has_no_measures_and_the_others_keep_theirs() -> None:
    spine = BoxSpine()
    maps = spine.maps()
    row = int(to_voxel(maps.affine, spine.canal[Level.L5_S1])[2])  # the image ends in the middle of the lowest disc
    shift = np.eye(4)
    shift[2, 3] = row
    levels = measured(RegionMaps(maps.values[..., row:], maps.affine @ shift), spine.canal).levels
    assert not levels[Level.L5_S1]
    assert set(levels[Level.L4_L5]) == set(NAMES)


def test_a_volume_that_ends_at_the_midline_has_a_diameter() -> None:
    spine = BoxSpine()
    maps = spine.maps()
    half = RegionMaps(maps.values[:, :8], maps.affine)
    values = measured(half, spine.canal).levels[Level.L3_L4]
    assert set(values) <= set(NAMES)
    assert values["canal_diameter_mm"] == pytest.approx(spine.narrow, abs=0.4)


def test_a_frame_is_orthogonal_and_leads_to_the_front() -> None:
    right = np.array([0.96, 0.28, 0.0])
    frame = Frame.along(np.zeros(3), np.array([0.1, 0.4, 2.0]), right)
    axes = np.array([frame.right, frame.front, frame.up])
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert frame.front[1] > 0.5
    assert np.linalg.det(axes) == pytest.approx(1.0)
