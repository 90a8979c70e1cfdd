"""Every quirk of real collections, made by the phantom: what is lost is reported, and nothing else is lost."""

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from data_prep.collection.assembly import Run
from data_prep.collection.codes import Code
from data_prep.phantom.cohort import generate
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.rsna2024.datalist import build
from monai_spine.data.datalist import read_datalist
from monai_spine.geometry import Plane, plane_of, spacing, to_voxel
from monai_spine.spine import MISSING, TARGETS, Grade, SeriesType
from tests.data_prep.collection.outputs import codes, entries, faults, table
from tests.data_prep.tiny_phantom import tiny_images

pytestmark = pytest.mark.slow  # one study with each quirk is made and converted

QUIRKS = list(Quirk)


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    """Study i has the i-th quirk; two more are clean."""
    folder = tmp_path_factory.mktemp("quirky") / "cohort"
    with tiny_images():
        forced = [frozenset({quirk}) for quirk in QUIRKS]
        generate(folder, len(QUIRKS) + 2, 11, forced=[*forced, NONE, NONE], quiet=True)
    return folder


@pytest.fixture(scope="module")
def built(quirky, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "nifti"
    build(quirky, out, Run(folds=5, seed=0, quiet=True))
    return out


def study_with(quirky, quirk):
    rows = table(quirky / "quirks.csv")
    return rows.loc[rows["quirk"] == quirk.value, "study_id"].item()


def misplaced(quirky):
    """Studies whose points are wrong on purpose."""
    rows = table(quirky / "quirks.csv")
    return set(rows.loc[rows["quirk"].isin(["level-off-by-one", "point-elsewhere", "sides-swapped"]), "study_id"])


def test_every_study_is_in_the_datalist_and_readable(quirky, built):
    records = read_datalist(built / "datalist.json")
    assert [record["study_id"] for record in records] == list(table(quirky / "train.csv")["study_id"])
    assert {record["fold"] for record in records} == set(range(5))


def test_labels_are_those_of_the_table(quirky, built):
    names = {Grade(value).title: value for value in Grade} | {"": MISSING}
    for row in table(quirky / "train.csv").to_dict("records"):
        assert entries(built)[row["study_id"]]["label"] == [names[row[target]] for target in TARGETS]


def test_points_lie_within_a_millimetre_of_the_truth(quirky, built):
    truth = pd.read_csv(quirky / "truth.csv", dtype={"study_id": str}).set_index(["study_id", "condition", "level"])
    wrong = misplaced(quirky)
    compared = 0
    for study, entry in entries(built).items():
        for target, point in entry["points"].items():
            expected = truth.loc[(study, target[:-6], target[-5:]), ["x", "y", "z"]].to_numpy(dtype=float)
            if study not in wrong and not np.isnan(expected).any():
                assert np.linalg.norm(point - expected) < 0.01
                compared += 1
    assert compared > 300


def test_points_come_back_to_their_pixels_through_the_volume(built):
    rows = table(built / "points.csv")
    placed = rows[rows["k"] != ""]
    assert len(placed) > 400
    for row in placed.to_dict("records"):
        affine = nib.load(built / row["nifti"]).affine
        voxel = to_voxel(affine, [float(row[axis]) for axis in "xyz"])
        assert np.abs(voxel - [float(row["column"]), float(row["row"]), float(row["k"])]).max() < 0.01
        assert float(row["error_px"]) <= 0.01


def test_left_points_lie_to_the_patients_left(quirky, built):
    wrong = misplaced(quirky)
    pairs = 0
    for study, entry in entries(built).items():
        for target, point in entry["points"].items():
            other = entry["points"].get(target.replace("left", "right", 1))
            if target.startswith("left") and other is not None and study not in wrong:
                assert point[0] < other[0]
                pairs += 1
    assert pairs > 80


def test_series_types_have_their_planes(built):
    planes = {SeriesType.AXIAL_T2: Plane.AXIAL}
    for record in read_datalist(built / "datalist.json")[:6]:
        for kind in SeriesType:
            for file in record[kind.value]:
                assert plane_of(nib.load(file).affine) is planes.get(kind, Plane.SAGITTAL)


@pytest.mark.parametrize(
    ("quirk", "code"),
    [
        (Quirk.MISSING_T1, Code.NO_SERIES_TYPE),
        (Quirk.MISSING_T2, Code.NO_SERIES_TYPE),
        (Quirk.EMPTY_FOLDER, Code.NO_IMAGES),
        (Quirk.LABEL_WITHOUT_POINT, Code.NO_POINT),
        (Quirk.MIXED_SHAPE, Code.REFUSED_STACK),
        (Quirk.LEVEL_OFF_BY_ONE, Code.NO_POINT),
        (Quirk.LEVEL_OFF_BY_ONE, Code.OFF_LEVEL),
        (Quirk.POINT_ELSEWHERE, Code.OFF_LEVEL),
    ],
)
def test_quirks_that_lose_something_are_reported(quirky, built, quirk, code):
    assert code.name in codes(built, study_with(quirky, quirk))


@pytest.mark.parametrize(
    "quirk",
    [
        Quirk.SEVERAL_AXIAL,
        Quirk.SUB_STACKS,
        Quirk.TWO_T1,
        Quirk.ODD_NUMBERS,
        Quirk.REPEATED_SLICE,
        Quirk.NO_SPACING_TAGS,
        Quirk.WRONG_SPACING_TAGS,
        Quirk.COMPRESSED,
        Quirk.IMPLICIT_VR,
        *(quirk for quirk in Quirk if quirk.value in {"enhanced", "big-endian"}),
    ],
)
def test_harmless_quirks_lose_nothing(quirky, built, quirk):
    study = study_with(quirky, quirk)
    entry = entries(built)[study]
    labelled = {target for target, label in zip(TARGETS, entry["label"], strict=True) if label != MISSING}
    assert set(entry["points"]) >= labelled
    assert all(entry[kind.value] for kind in SeriesType)


def test_clean_studies_have_no_faults(quirky, built):
    quirky_ones = set(table(quirky / "quirks.csv")["study_id"])
    clean = set(entries(built)) - quirky_ones
    assert len(clean) == 2
    assert all(codes(built, study) <= {"NO_COVER"} for study in clean)  # short axial blocks are no quirk


def test_missing_series_types_have_no_key(quirky, built):
    assert "sagittal_t1" not in entries(built)[study_with(quirky, Quirk.MISSING_T1)]


def test_several_stacks_of_a_series_are_kept_apart(quirky, built):
    assert len(entries(built)[study_with(quirky, Quirk.SUB_STACKS)]["axial_t2"]) >= 4
    assert len(entries(built)[study_with(quirky, Quirk.SEVERAL_AXIAL)]["axial_t2"]) >= 2


def test_folds_are_reported(built):
    shares = table(built / "folds.csv")
    assert list(shares["fold"]) == ["0", "1", "2", "3", "4", "all"]
    assert shares["studies"][:5].astype(int).sum() == len(QUIRKS) + 2


def test_a_slice_of_another_shape_costs_its_slices_and_not_its_points(quirky, built):
    study = study_with(quirky, Quirk.MIXED_SHAPE)
    entry = entries(built)[study]
    assert "2 files: MIXED_SHAPE" in {row["detail"] for row in faults(built, study)}
    assert entry["axial_t2"]
    labelled = {target for target, label in zip(TARGETS, entry["label"], strict=True) if label != MISSING}
    assert set(entry["points"]) >= labelled


def test_two_series_of_a_type_are_both_listed_and_one_serves_each_finding(quirky, built):
    study = study_with(quirky, Quirk.TWO_T1)
    entry = entries(built)[study]
    assert len(entry["sagittal_t1"]) == 2
    rows = served(built, study)
    own = rows[(rows["series_type"] == "sagittal_t1") & (rows["view"] == "1")]
    assert own["target"].is_unique
    assert len(own) == 10
    assert set(own["nifti"]) <= set(entry["sagittal_t1"])


def served(built, study):
    rows = table(built / "coverage.csv")
    return rows[(rows["study_id"] == study) & (rows["source"] == "yes")]


def test_a_labelled_point_is_served_by_the_series_that_it_was_marked_on(quirky, built):
    points = table(built / "points.csv")
    spread = set()
    for study in set(points["study_id"]) - misplaced(quirky):
        rows = served(built, study)
        first = rows[rows["view"] == "1"].set_index("target")
        for point in points[(points["study_id"] == study) & (points["nifti"] != "")].to_dict("records"):
            assert first.loc[point["target"], "nifti"] == point["nifti"]
            assert first.loc[point["target"], "k"] == point["k"]
            assert float(first.loc[point["target"], "distance_mm"]) < 0.01
        spread.add(points.loc[(points["study_id"] == study) & (points["nifti"] != ""), "nifti"].nunique())
    assert max(spread) >= 4


def test_every_stack_of_a_view_has_a_row_with_a_reason(quirky, built):
    rows = table(built / "coverage.csv")
    assert (rows["reason"] != "").all()
    study = study_with(quirky, Quirk.SUB_STACKS)
    entry = entries(built)[study]
    recess = rows[(rows["study_id"] == study) & (rows["target"] == "left_subarticular_stenosis_l3_l4")]
    assert list(recess["nifti"]) == entry["axial_t2"]
    assert list(recess["source"]).count("yes") == 1


def test_where_a_series_type_is_missing_another_stands_in(quirky, built):
    without_t1, without_t2 = (study_with(quirky, quirk) for quirk in (Quirk.MISSING_T1, Quirk.MISSING_T2))
    rows = table(built / "coverage.csv")
    canal = rows[(rows["study_id"] == without_t2) & rows["target"].str.startswith("spinal")]
    assert set(canal["point"]) == {"estimated"}
    assert (canal["source"] == "yes").groupby(canal["series_type"]).sum().to_dict() == {"axial_t2": 5, "sagittal_t2": 0}
    foramina = rows[(rows["study_id"] == without_t1) & rows["target"].str.contains("foraminal")]
    assert foramina["reason"].str.startswith("no Sagittal T1; no point").all()
    assert "sagittal_t1" not in entries(built)[without_t1]


@pytest.mark.parametrize("quirk", [Quirk.NO_SPACING_TAGS, Quirk.WRONG_SPACING_TAGS])
def test_spacing_comes_from_positions_whatever_the_tags_say(quirky, built, quirk):
    study = study_with(quirky, quirk)
    for path in (quirky / "train_images" / study).iterdir():
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in path.glob("*.dcm")]
        places = np.array([header.ImagePositionPatient for header in headers], dtype=float)
        steps = np.sort(places @ np.linalg.svd(places - places.mean(axis=0))[2][0])
        step = spacing(nib.load(built / study / f"{path.name}.nii.gz").affine)[2]
        assert step == pytest.approx(float(np.median(np.diff(steps))), abs=1e-3)
        assert float(headers[0].get("SpacingBetweenSlices", 0)) != pytest.approx(step, abs=1e-3)


def test_ids_beyond_int32_are_names(quirky, built):
    assert max(int(study) for study in entries(built)) > 2**31
    assert max(table(built / "points.csv")["series_id"].astype(int)) > 2**31


def test_the_report_has_each_code_with_its_count_and_meaning(built):
    report = (built / "quality.md").read_text()
    rows = faults(built)
    for code in codes(built):
        count = sum(row["code"] == code for row in rows)
        assert f"| {code} | {count} |" in report
        assert Code[code].explanation.title in report
