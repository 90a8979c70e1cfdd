import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.spine import FINDINGS, FLIPPED, TARGETS, Condition, Grade, Group, Level, Side, parse_row_id


def test_targets_follow_train_csv_condition_by_condition_with_levels_inside() -> None:
    assert len(TARGETS) == 25
    assert TARGETS[0] == "spinal_canal_stenosis_l1_l2"
    assert TARGETS[4:7] == (
        "spinal_canal_stenosis_l5_s1",
        "left_neural_foraminal_narrowing_l1_l2",
        "left_neural_foraminal_narrowing_l2_l3",
    )
    assert TARGETS[-1] == "right_subarticular_stenosis_l5_s1"


def test_mirroring_twice_changes_nothing() -> None:
    assert [FLIPPED[FLIPPED[n]] for n in range(25)] == list(range(25))


def test_mirroring_keeps_level_and_group_and_swaps_side() -> None:
    for finding in FINDINGS:
        mirrored = finding.flipped
        assert mirrored.level is finding.level
        assert mirrored.condition.group is finding.condition.group
        assert mirrored.condition.side is (finding.condition.side.opposite if finding.condition.side else None)


def test_each_group_holds_the_rows_that_the_competition_scores_together() -> None:
    counts = {group: sum(f.condition.group is group for f in FINDINGS) for group in Group}
    assert counts == {Group.SPINAL: 5, Group.FORAMINAL: 10, Group.SUBARTICULAR: 10}


def test_titles_are_those_of_the_competition_files() -> None:
    assert Condition.LEFT_NEURAL_FORAMINAL_NARROWING.title == "Left Neural Foraminal Narrowing"
    assert Level.L5_S1.title == "L5/S1"
    assert [grade.title for grade in Grade] == ["Normal/Mild", "Moderate", "Severe"]
    assert [grade.weight for grade in Grade] == [1, 2, 4]
    assert Side.LEFT.opposite is Side.RIGHT


@given(study=st.text(st.characters(categories=["L", "N"]), min_size=1), n=st.integers(0, 24))
def test_row_ids_come_apart_as_they_were_put_together(study: str, n: int) -> None:
    assert parse_row_id(FINDINGS[n].row_id(study)) == (study, FINDINGS[n])


@pytest.mark.parametrize("row_id", ["", "17", "_spinal_canal_stenosis_l1_l2", "17_spinal_canal_stenosis_l6_s1"])
def test_a_row_id_without_study_or_finding_is_refused(row_id: str) -> None:
    with pytest.raises(ValueError, match="does not end in"):
        parse_row_id(row_id)
