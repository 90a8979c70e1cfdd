"""Points that a person marked: files of them, and what follows from them."""

import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.levels.files import is_edited, read_study, write_points
from monai_spine.levels.locate import locate
from monai_spine.levels.marked import MARKED, marked_points, place, read_markups
from monai_spine.levels.sagittal.points import Key, Structure
from monai_spine.levels.study_search import StudyInput
from monai_spine.prediction.points_file import read_points_file
from monai_spine.spine import FINDINGS, Level, Side
from tests.monai_spine.levels.test_locate import SPINE, Oracle, axial, sagittal


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of `locate` for one study, ``s1``."""
    volume = sagittal(tmp_path / "nifti/s1/sagittal_t2.nii.gz")
    axial(tmp_path / "nifti/s1/axial_t2.nii.gz", SPINE[-2:].mean(axis=0), slices=14)
    locate([tmp_path / "nifti"], tmp_path / "out", Oracle().know(volume), quiet=True)
    return tmp_path / "out"


def moved(file: Path, shift: float = 3.0, system: str = "RAS") -> None:
    """Move all canal points of a file of markups upwards, as a person does in 3D Slicer."""
    content = json.loads(file.read_text())
    (markup,) = content["markups"]
    signs = np.array([1, 1, 1] if system == "RAS" else [-1, -1, 1])
    markup["coordinateSystem"] = system
    for control in markup["controlPoints"]:
        up = shift if control["label"].startswith("canal") else 0.0
        control["position"] = (np.array([*control["position"][:2], control["position"][2] + up]) * signs).tolist()
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("system", ["RAS", "LPS"])
def test_moved_markups_are_read_in_either_coordinate_system_and_never_overwritten(
    out: Path, system: str, caplog: pytest.LogCaptureFixture
) -> None:
    file, located = out / "s1/points.mrk.json", read_study(out / "s1")
    moved(file, system=system)
    before = file.read_bytes()
    points = read_markups(file)
    assert len(points) == len(located.points)
    for one in located.points:
        up = 3.0 if one.structure is Structure.CANAL else 0.0
        assert points[one.key] == pytest.approx(one.world + np.array([0, 0, up]), abs=1e-3)
    volume = out.parent / "nifti/s1/sagittal_t2.nii.gz"
    locate([out.parent / "nifti"], out, Oracle().know(volume), quiet=True)
    assert file.read_bytes() == before
    assert "name it with --points" in caplog.text
    caplog.clear()
    place(StudyInput("s1", (volume,)), marked_points(points)).write(out)
    assert file.read_bytes() == before
    assert not caplog.text  # the file's points were used
    canal = [one for one in read_study(out / "s1").points if one.structure is Structure.CANAL]
    assert all(one.world == pytest.approx(points[one.key], abs=1e-3) for one in canal)


def test_markups_that_nobody_moved_are_written_again(out: Path) -> None:
    file = out / "s1/points.mrk.json"
    assert not is_edited(out / "s1")
    moved(file, 0.0, "LPS")  # saved by 3D Slicer without a change
    assert not is_edited(out / "s1")
    moved(file, 0.5, "LPS")
    assert is_edited(out / "s1")


@pytest.mark.parametrize("change", ["named", "removed"])
def test_markups_with_other_names_or_fewer_points_are_edited(out: Path, change: str) -> None:
    file = out / "s1/points.mrk.json"
    content = json.loads(file.read_text())
    controls = content["markups"][0]["controlPoints"]
    if change == "named":  # levels that are one off are named anew, and no point moves
        controls[0]["label"], controls[1]["label"] = controls[1]["label"], controls[0]["label"]
    else:
        controls.pop()
    file.write_text(json.dumps(content))
    assert is_edited(out / "s1")


def test_the_canal_alone_places_foramina_and_recesses(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "sagittal_t2.nii.gz")
    stack = axial(tmp_path / "axial_t2.nii.gz", SPINE[-2:].mean(axis=0), slices=14)
    marked = {Key(Structure.CANAL, level, None): world for level, world in zip(Level, SPINE[-5:], strict=True)}
    result = place(StudyInput("s1", (volume,), (stack,)), marked_points(marked))
    points = {one.key: one for one in result.located.points}
    assert all(points[key].flags == (MARKED,) and points[key].confidence == 1 for key in marked)
    foramina = [one for one in points.values() if one.structure is Structure.FORAMEN]
    assert len(foramina) == 10
    assert all(one.flags == ("interpolated",) for one in foramina)
    assert {one.level for one in points.values() if one.structure is Structure.RECESS} == {Level.L4_L5, Level.L5_S1}
    assert result.located.volumes == {"sagittal_t2.nii.gz": "found"}


def test_a_marked_foramen_is_not_replaced(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "sagittal_t2.nii.gz")
    own = np.array([-20.0, -60.0, 60.0])
    key = Key(Structure.FORAMEN, Level.L4_L5, Side.LEFT)
    marked = {Key(Structure.CANAL, Level.L4_L5, None): SPINE[-2], key: own}
    result = place(StudyInput("s1", (volume,)), marked_points(marked))
    points = {one.key: one for one in result.located.points}
    assert points[key].world == pytest.approx(own)
    assert points[key].flags == (MARKED,)


def test_points_csv_and_tables_of_points_are_read_alike(out: Path, tmp_path: Path) -> None:
    located = read_study(out / "s1")
    write_points(tmp_path, [located])
    (tmp_path / "table.csv").write_text(
        "study,finding,x,y,z\n"
        + "".join(
            f"s1,{finding.name},{','.join(map(str, one.world))}\n"
            for finding in FINDINGS
            for one in located.points
            if one.key == Key.of(finding)
        )
    )
    for name in ("points.csv", "table.csv"):
        points = read_points_file(tmp_path / name, ["s1", "s2"])
        assert set(points) == {"s1"}
        assert len(points["s1"]) == len(located.points)
        for one in located.points:
            assert points["s1"][one.key].world == pytest.approx(one.world, abs=0.01)


def test_markups_belong_to_the_study_of_their_folder_or_to_the_only_one(out: Path, tmp_path: Path) -> None:
    file = out / "s1/points.mrk.json"
    assert set(read_points_file(file, ["s1", "s2"])) == {"s1"}
    file.rename(tmp_path / "mine.mrk.json")
    assert set(read_points_file(tmp_path / "mine.mrk.json", ["s7"])) == {"s7"}
    with pytest.raises(InvalidOptionError, match="one study"):
        read_points_file(tmp_path / "mine.mrk.json", ["s7", "s8"])


def test_files_that_are_no_points_are_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"x\.csv"):
        read_points_file(tmp_path / "x.csv", ["s1"])
    (tmp_path / "x.csv").write_text("study,point,level,side,x,y,z\ns1,canal,l9_l9,,1,2,3\n")
    with pytest.raises(InvalidTableError, match="row 2"):
        read_points_file(tmp_path / "x.csv", ["s1"])
    (tmp_path / "x.csv").write_text("study,point,level,side,x,y,z\ns1,canal,l4_l5,,1,2,3\n")
    with pytest.raises(InvalidOptionError, match="expected points of s2"):
        read_points_file(tmp_path / "x.csv", ["s2"])
    bad = {"markups": [{"coordinateSystem": "RAS", "controlPoints": [{"label": "canal", "position": [0, 0, 0]}]}]}
    (tmp_path / "x.mrk.json").write_text(json.dumps(bad))
    with pytest.raises(InvalidTableError, match="names no point"):
        read_points_file(tmp_path / "x.mrk.json", ["s1"])
    (tmp_path / "x.mrk.json").write_text("{}")
    with pytest.raises(InvalidTableError, match="markups of 3D Slicer"):
        read_points_file(tmp_path / "x.mrk.json", ["s1"])
