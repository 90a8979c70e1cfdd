"""What follows from changes: the points and grades of now, undo, and the file."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.data.corrections import Corrections, Direction, Place, Signature, VolumePlace
from monai_spine.data.corrections_file import read_corrections, write_corrections
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.spine import FINDINGS, TARGETS, Grade, Level

AB, CD = Signature("AB", "2026-11-28T13:40:12Z"), Signature("CD", "2026-11-29T08:00:00Z")
GRADES = [grade.column for grade in Grade]

millimetres = st.integers(-300_000, 300_000).map(lambda um: um / 1000)
positions = st.tuples(millimetres, millimetres, millimetres)
places = st.builds(Place, positions, st.none() | st.floats(0, 1), st.lists(st.sampled_from(["faint", "x"])).map(tuple))
studies = st.builds(
    Corrections,
    st.just("s1"),
    st.dictionaries(st.sampled_from(TARGETS), places, min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(TARGETS), st.sampled_from(GRADES), max_size=4),
    st.just({"a.nii.gz": VolumePlace((2, 3, 4), tuple(tuple(float(i == j) for j in range(4)) for i in range(4)))}),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("moved"), st.sampled_from(TARGETS), positions),
        st.tuples(st.just("graded"), st.sampled_from(TARGETS), st.none() | st.sampled_from(GRADES)),
        st.tuples(st.just("renamed"), st.sampled_from(list(Direction))),
        st.tuples(st.just("marked_done"), st.booleans()),
        st.just(("undone",)),
    ),
    max_size=8,
)


def followed(corrections: Corrections, steps: list[tuple]) -> Corrections:
    """The corrections after all steps that are possible."""
    for name, *values in steps:
        try:
            corrections = getattr(corrections, name)(*values, AB)
        except InvalidOptionError:
            assert name in {"undone", "renamed"}
    return corrections


@settings(max_examples=30, deadline=None)
@given(studies, steps)
def test_a_file_holds_everything(corrections: Corrections, steps: list[tuple]) -> None:
    after = followed(corrections, steps)
    with tempfile.TemporaryDirectory() as folder:
        assert read_corrections(write_corrections(Path(folder), after)) == after


@settings(max_examples=30, deadline=None)
@given(studies, steps)
def test_undoing_everything_leads_back_to_the_program_and_forgets_nothing(
    corrections: Corrections, steps: list[tuple]
) -> None:
    after = followed(corrections, steps)
    while any(change.undone is None for change in after.changes):
        before, after = after, after.undone(CD)
        assert after.version == before.version + 1
    assert after.state == corrections.state
    assert [change.what for change in after.changes] == [change.what for change in followed(corrections, steps).changes]
    with pytest.raises(InvalidOptionError, match="no change to undo"):
        after.undone(CD)


@settings(max_examples=30, deadline=None)
@given(studies, st.sampled_from(TARGETS), positions)
def test_a_moved_point_is_a_persons_and_the_others_stay_as_they_were(
    corrections: Corrections, finding: str, position: tuple
) -> None:
    after = corrections.moved(finding, position, AB)
    assert after.state.points[finding] == Place(position, by_person=True)
    others = {name: place for name, place in after.state.points.items() if name != finding}
    assert others == {name: place for name, place in corrections.points.items() if name != finding}
    known = corrections.points.get(finding)
    assert after.changes[-1].before == (known.position if known else None)


@settings(max_examples=30, deadline=None)
@given(studies, st.sampled_from(list(Direction)))
def test_renaming_moves_every_name_by_one_level_and_keeps_every_place(
    corrections: Corrections, direction: Direction
) -> None:
    graded = corrections.graded("spinal_canal_stenosis_l3_l4", "severe", AB)
    graded = graded.moved("left_subarticular_stenosis_l3_l4", (1, 2, 3), AB)
    after = graded.renamed(direction, AB)
    step = -1 if direction is Direction.UP else 1
    levels = list(Level)
    for finding in FINDINGS:
        n = levels.index(finding.level) - step
        old = f"{finding.condition.value}_{levels[n].value}" if 0 <= n < 5 else None
        source, place = graded.state.points.get(old), after.state.points.get(finding.name)
        assert (source is None) == (place is None)
        assert place is None or (place.position == source.position and place.by_person)
    assert after.state.grades == {f"spinal_canal_stenosis_{levels[2 + step].value}": "severe"}
    lost = after.changes[-1].before
    assert len(lost) + len(after.state.points) == len(graded.state.points)


def test_a_grade_says_what_was_there_before() -> None:
    corrections = Corrections("s1", grades={TARGETS[0]: "moderate"})
    after = corrections.graded(TARGETS[0], "severe", AB).graded(TARGETS[0], None, CD)
    assert [(one.before, one.after) for one in after.changes] == [("moderate", "severe"), ("severe", None)]
    assert after.state.grades == {}
    assert after.people == ("AB", "CD")


@pytest.mark.parametrize("by", ["", "A B", "<b>", "ABCDEFGHI", "A\n", "../x", "_"])
def test_initials_are_letters_and_digits(by: str) -> None:
    with pytest.raises(InvalidOptionError, match="initials"):
        Signature.now(by)
    assert Signature.now("ÄÖ7").by == "ÄÖ7"


@pytest.mark.parametrize("point", [None, [1, 2], [1, 2, "3"], [1, 2, float("nan")], [1, 2, 1e9], [True, 1, 2], "abc"])
def test_what_is_no_point_is_refused(point: object) -> None:
    with pytest.raises(InvalidOptionError, match="point"):
        Corrections("s1").moved(TARGETS[0], point, AB)
    with pytest.raises(InvalidOptionError, match="25 findings"):
        Corrections("s1").moved("../../x", [1, 2, 3], AB)


def edited(content: dict, key: str) -> None:
    point = content["points"][TARGETS[0]]
    changes = {
        "schema": lambda: content.update(schema="x/9"),
        "points": lambda: point.__setitem__(0, point[0] + 1),
        "grades": lambda: content["grades"].update({TARGETS[3]: "severe"}),
        "initials": lambda: content["changes"][0].update(by="<script>"),
        "time": lambda: content["changes"][0].update(at="yesterday"),
        "finding": lambda: content["changes"][0].update(finding="nose"),
        "missing": lambda: content.pop("before"),
        "list": lambda: content.update(changes={}),
        "undone": lambda: content["changes"][0].update(undone={"by": "AB", "at": "2026-11-28T13:40:12Z"}),
    }
    changes[key]()


@pytest.mark.parametrize(
    "key", ["schema", "points", "grades", "initials", "time", "finding", "missing", "list", "undone"]
)
def test_files_that_were_edited_are_refused(tmp_path: Path, key: str) -> None:
    corrections = Corrections("s1", {TARGETS[0]: Place((1.0, 2.0, 3.0))}).moved(TARGETS[0], [2, 3, 4], AB)
    path = write_corrections(tmp_path, corrections)
    content = json.loads(path.read_text())
    edited(content, key)
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match=r"corrections\.json"):
        read_corrections(path)
    with pytest.raises(MissingInputError):
        read_corrections(tmp_path / "none.json")
