"""Corrections in a datalist: points and labels of the person, who it was, and nothing of another patient space."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.cli import app
from data_prep.corrections import check_fits, merge, merged_entry
from monai_spine import console
from monai_spine.data.corrections import Corrections, Direction, Place, Signature, VolumePlace
from monai_spine.data.corrections_file import write_corrections
from monai_spine.data.datalist import entry_faults, read_datalist
from monai_spine.data.volume import affine_of, open_volume
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.spine import MISSING, TARGETS, Grade, SeriesType
from tests.cohorts import write_cohort, write_datalist, write_study

AB = Signature("AB", "2026-11-28T13:40:12Z")
CANAL, RECESS = "spinal_canal_stenosis_l4_l5", "left_subarticular_stenosis_l4_l5"
GRADES = [grade.column for grade in Grade]


def place_of(file: Path) -> VolumePlace:
    image = open_volume(file)
    return VolumePlace(tuple(image.shape), tuple(tuple(map(float, row)) for row in affine_of(image)))


def reviewed(folder: Path, study: str, middle: tuple | None = None) -> Corrections:
    """Corrections of a study whose volumes are in a folder, with two points in the middle of these."""
    files = sorted(folder.glob("*.nii.gz"))
    if middle is None:
        axial = open_volume(folder / "axial_t2.nii.gz")
        middle = tuple((affine_of(axial) @ [10, 12, 4, 1])[:3].round(3))
    points = {CANAL: Place(middle, 0.5), RECESS: Place(middle, 0.4, ("faint",))}
    grades = dict.fromkeys(TARGETS, "moderate")
    return Corrections(study, points, grades, {file.name: place_of(file) for file in files})


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "nifti", studies=3)


@pytest.fixture
def out(tmp_path: Path, datalist: Path) -> Path:
    """An output of which the first study is done, the second is not, and nobody touched the third."""
    for n, done in enumerate((True, False)):
        study = str(4_000_000_000 + n)
        corrections = reviewed(datalist.parent / study, study).graded(CANAL, "severe", AB)
        x, y, z = corrections.points[CANAL].position
        corrections = corrections.moved(CANAL, [x + 1, y, z], AB)
        corrections = corrections.marked_done(True, AB) if done else corrections
        write_corrections(tmp_path / "out" / study, corrections)
        findings = [{"finding": name, "grade": "moderate", "flags": []} for name in TARGETS]
        findings[0]["flags"] = ["not_covered"]
        content = {"folder": ".", "volumes": {}, "findings": findings}
        (tmp_path / "out" / study / "findings.json").write_text(json.dumps(content))
    return tmp_path / "out"


def entries(path: Path) -> dict[str, dict]:
    content = json.loads(path.read_text())
    return {entry["study_id"]: entry for entry in content["training"]}


def test_points_and_grades_of_a_person_replace_those_of_the_datalist(out: Path, datalist: Path) -> None:
    before = entries(datalist)
    merged = merge(out, datalist)
    after = entries(datalist.with_name("corrected.json"))
    first, second, third = before
    assert after[second] == before[second]  # not done
    assert after[third] == before[third]
    assert merged.unfinished == [second]
    assert int(merged.exit_code) == 0
    changed = after[first]
    n = TARGETS.index(CANAL)
    assert changed["label"] == [2 if m == n else grade for m, grade in enumerate(before[first]["label"])]
    assert set(changed["points"]) == {CANAL, RECESS}
    assert changed["corrections"] == {
        "version": 3,
        "by": ["AB"],
        "at": AB.at,
        "done": True,
        "points": [CANAL],
        "labels": {CANAL: before[first]["label"][n]},
        "confirmed": [],
    }
    records = read_datalist(datalist.with_name("corrected.json"))
    assert records[0]["points"][CANAL] == pytest.approx(changed["points"][CANAL])


def test_unfinished_studies_give_what_a_person_touched_and_keep_the_rest(out: Path, datalist: Path) -> None:
    content = json.loads(datalist.read_text())
    content["training"][1]["points"] = {CANAL: [0.0, 0.0, 0.0], TARGETS[0]: [1.0, 2.0, 3.0]}
    datalist.write_text(json.dumps(content))
    merge(out, datalist, unfinished=True)
    after = list(entries(datalist.with_name("corrected.json")).values())[1]
    assert after["points"][TARGETS[0]] == [1.0, 2.0, 3.0]
    assert after["points"][CANAL] != [0.0, 0.0, 0.0]
    assert RECESS not in after["points"]


def test_grades_that_a_reader_left_as_they_were_become_labels_only_if_asked_for(out: Path, datalist: Path) -> None:
    first = next(iter(entries(datalist)))
    label = entries(datalist)[first]["label"]
    label[TARGETS.index(CANAL)] = 2
    merge(out, datalist, confirmed=True)
    after = entries(datalist.with_name("corrected.json"))[first]
    # The first finding is one that no slice shows.
    missing = [n for n, grade in enumerate(label) if grade == MISSING and n > 0]
    assert after["label"] == [1 if n in missing else grade for n, grade in enumerate(label)]
    assert after["corrections"]["confirmed"] == sorted(TARGETS[n] for n in missing)


def test_grades_with_the_names_before_a_renaming_become_no_labels(out: Path, datalist: Path) -> None:
    first = next(iter(entries(datalist)))
    folder = out / first
    corrections = reviewed(datalist.parent / first, first).renamed(Direction.UP, AB).marked_done(True, AB)
    write_corrections(folder, corrections)
    content = json.loads((folder / "findings.json").read_text())
    for points in (corrections.points, corrections.state.points):  # of the program, then as graded again
        for one in content["findings"]:
            one["point"] = list(points[one["finding"]].position) if one["finding"] in points else None
        (folder / "findings.json").write_text(json.dumps(content))
        merged = merge(out, datalist, confirmed=True, unfinished=True)
        if points is corrections.points:
            assert "grade it again" in merged.left_out[first]
            assert merge(out, datalist, unfinished=True).left_out == {}
    assert merged.left_out == {}
    assert merged.confirmed


def test_paths_follow_the_new_datalist_to_another_folder(out: Path, datalist: Path, tmp_path: Path) -> None:
    merge(out, datalist, tmp_path / "elsewhere" / "new.json")
    records = read_datalist(tmp_path / "elsewhere" / "new.json")
    old = read_datalist(datalist)
    for one, other in zip(records, old, strict=True):
        for kind in SeriesType:
            resolved = [[Path(file).resolve() for file in record[kind.value]] for record in (one, other)]
            assert resolved[0] == resolved[1]


def test_volumes_of_another_patient_space_are_refused(out: Path, datalist: Path) -> None:
    write_study(datalist.parent / "4000000000", np.random.default_rng(99))  # other volumes under the same names
    with pytest.raises(InvalidTableError, match="lies where a reviewed one lay"):
        merge(out, datalist)
    merged = merge(out, datalist, unfinished=True)
    assert list(merged.left_out) == ["4000000000"]
    assert int(merged.exit_code) == 3
    assert list(merged.points) == ["4000000001"]


def test_points_outside_of_all_volumes_are_refused(datalist: Path) -> None:
    entry = next(iter(entries(datalist).values()))
    corrections = reviewed(datalist.parent / "4000000000", "4000000000", (900.0, 0.0, 0.0)).marked_done(True, AB)
    with pytest.raises(InvalidTableError, match="do not hold the points"):
        check_fits(corrections, entry, datalist.parent)


def test_studies_that_the_datalist_lacks_are_refused_or_added_by_their_own_volumes(
    out: Path, datalist: Path, tmp_path: Path
) -> None:
    write_study(out / "volumes" / "new", np.random.default_rng(5))
    corrections = reviewed(out / "volumes" / "new", "new").marked_done(True, AB)
    write_corrections(out / "new", corrections)
    names = {f"{kind.value}.nii.gz": kind.value for kind in SeriesType}
    content = {"folder": "volumes/new", "volumes": {**names, "../../../etc/passwd": "sagittal_t1"}, "findings": []}
    (out / "new" / "findings.json").write_text(json.dumps(content))
    assert "--add" in merge(out, datalist).left_out["new"]
    merged = merge(out, datalist, add=True)
    assert merged.added == ["new"]
    added = read_datalist(datalist.with_name("corrected.json"))[-1]
    assert (added["study_id"], added["patient_id"], added["fold"]) == ("new", "new", 1)  # 2 folds, of 2 and 1 studies
    assert [len(added[kind.value]) for kind in SeriesType] == [1, 1, 1]
    fresh = merge(out, tmp_path / "fresh" / "datalist.json", add=True)
    assert fresh.datalist == tmp_path / "fresh" / "datalist.json"
    assert [record["study_id"] for record in read_datalist(fresh.datalist)] == ["new"]
    assert set(fresh.left_out) == {"4000000000"}  # its volumes are not in the output


def test_damaged_corrections_and_missing_files_are_named(out: Path, datalist: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="monai-spine review"):
        merge(tmp_path / "nothing", datalist)
    with pytest.raises(MissingInputError, match=r"none\.json"):
        merge(out, datalist.with_name("none.json"))
    (out / "4000000001" / "corrections.json").write_text("{}")
    merged = merge(out, datalist)
    assert "corrections" in merged.left_out["4000000001"]
    (out / "4000000000" / "corrections.json").write_text("{")
    with pytest.raises(InvalidTableError, match="nothing of"):
        merge(out, datalist)


def test_the_command_says_what_it_did_and_ends_with_its_code(
    out: Path, datalist: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "4000000001" / "corrections.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["data_prep", "corrections", str(out), str(datalist)])
    with pytest.raises(SystemExit) as ended:
        console.run_app(app)
    printed = capsys.readouterr()
    assert ended.value.code == 3
    assert printed.out.startswith("1 study merged, 1 point, 1 label")
    assert "4000000001: left out" in printed.err


positions = st.tuples(*[st.integers(-200, 200).map(float)] * 3)
corrected = st.builds(
    Corrections,
    st.just("s1"),
    st.dictionaries(st.sampled_from(TARGETS), st.builds(Place, positions), min_size=1, max_size=6),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("moved"), st.sampled_from(TARGETS), positions),
        st.tuples(st.just("graded"), st.sampled_from(TARGETS), st.sampled_from(GRADES)),
        st.tuples(st.just("renamed"), st.just(Direction.DOWN)),
        st.tuples(st.just("marked_done"), st.booleans()),
    ),
    min_size=1,
    max_size=6,
)
labels = st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=25, max_size=25)


@settings(max_examples=40, deadline=None)
@given(corrected, steps, labels, st.dictionaries(st.sampled_from(TARGETS), st.sampled_from(GRADES)))
def test_a_merged_entry_is_a_good_one_and_merging_again_changes_nothing(
    corrections: Corrections, steps: list, label: list[int], program: dict
) -> None:
    for name, *values in steps:
        try:
            corrections = getattr(corrections, name)(*values, AB)
        except Exception:
            assert name == "renamed"
    entry = {"study_id": "s1", "label": label, "points": {TARGETS[3]: [1.0, 2.0, 3.0]}, "own": "stays"}
    original = copy.deepcopy(entry)
    once = merged_entry(entry, corrections, program)
    assert entry == original
    assert entry_faults(once, 0) == []
    assert merged_entry(once, corrections, program) == once
    assert once["own"] == "stays"
    for n, name in enumerate(TARGETS):
        if name in corrections.state.grades:
            assert once["label"][n] == GRADES.index(corrections.state.grades[name])
            assert once["corrections"]["labels"][name] == label[n]
        elif label[n] != MISSING:
            assert once["label"][n] == label[n]
    for name, one in corrections.state.points.items():
        if one.by_person:
            assert once["points"][name] == list(one.position)


def test_the_datalist_itself_may_be_the_target(out: Path, datalist: Path) -> None:
    merge(out, datalist, datalist)
    once = datalist.read_text()
    merge(out, datalist, datalist)
    assert datalist.read_text() == once


def test_a_datalist_with_faults_is_refused_as_a_whole(out: Path, tmp_path: Path) -> None:
    path = write_datalist(tmp_path / "bad.json", [{"study_id": "a", "label": [7]}])
    with pytest.raises(InvalidTableError, match="label"):
        merge(out, path)
