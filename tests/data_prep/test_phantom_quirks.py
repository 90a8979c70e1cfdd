"""The phantom's quirks: rates, names, and what each does to files and tables."""

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.dicom.convert import convert
from data_prep.phantom import cohort
from data_prep.phantom import study as studies
from data_prep.phantom.compression import COMPRESSED
from data_prep.phantom.quirks import CONFLICTS, RATES, Quirk, draw, named
from data_prep.phantom.size import Size
from monai_spine.errors import SpineError
from monai_spine.geometry import dicom_pixel_to_world
from monai_spine.spine import SeriesType
from tests.data_prep.tiny_phantom import tiny_images, write_cohort


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("clean") / "cohort")


def table(folder, name):
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def headers(folder, pattern="*/*/*.dcm"):
    return [pydicom.dcmread(path) for path in sorted((folder / "train_images").glob(pattern))]


def test_quirks_come_at_their_rates():
    drawn = [draw(np.random.default_rng(index)) for index in range(3000)]
    for quirk, rate in RATES.items():
        assert np.mean([quirk in found for found in drawn]) == pytest.approx(rate, abs=0.03)


def test_several_axial_series_share_the_points(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.SEVERAL_AXIAL)
    kinds = table(folder, "train_series_descriptions.csv")["series_description"]
    assert (kinds == SeriesType.AXIAL_T2.title).sum() >= 2
    points = table(folder, "train_label_coordinates.csv")
    axial = points[points["condition"].str.contains("Subarticular")]
    assert axial["series_id"].nunique() >= 2


def test_sub_stacks_have_an_orientation_per_disc(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.SUB_STACKS)
    axial = [d for d in headers(folder) if d.SeriesDescription == "AX T2"]
    assert len({tuple(d.ImageOrientationPatient) for d in axial}) >= 4
    assert len({d.SeriesInstanceUID for d in axial}) == 1


def test_series_go_missing_or_come_twice(tmp_path):
    for quirk, count in ((Quirk.TWO_T1, 2), (Quirk.MISSING_T1, 0)):
        folder = write_cohort(tmp_path / quirk.value, quirk)
        kinds = list(table(folder, "train_series_descriptions.csv")["series_description"])
        assert kinds.count(SeriesType.SAGITTAL_T1.title) == count
    folder = write_cohort(tmp_path / "t2", Quirk.MISSING_T2)
    assert SeriesType.SAGITTAL_T2.title not in set(table(folder, "train_series_descriptions.csv")["series_description"])


def test_an_empty_folder_is_in_the_table(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.EMPTY_FOLDER)
    empty = [path for path in (folder / "train_images").glob("*/*") if not any(path.iterdir())]
    assert len(empty) == 1
    assert empty[0].name in set(table(folder, "train_series_descriptions.csv")["series_id"])


def test_odd_numbers_have_gaps(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.ODD_NUMBERS)
    numbers = sorted(int(d.InstanceNumber) for d in headers(folder) if d.SeriesDescription == "AX T2")
    assert numbers != list(range(1, len(numbers) + 1))


def test_a_repeated_slice_differs_in_nothing_but_its_number(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.REPEATED_SLICE)
    axial = [d for d in headers(folder) if d.SeriesDescription == "AX T2"]
    assert len({tuple(d.ImagePositionPatient) for d in axial}) == len(axial) - 1


def test_mixed_shapes_stand_in_one_series(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.MIXED_SHAPE)
    assert len({d.Rows for d in headers(folder) if d.SeriesDescription == "AX T2"}) == 2


def test_spacing_tags_go_missing_or_wrong(tmp_path):
    missing = headers(write_cohort(tmp_path / "missing", Quirk.NO_SPACING_TAGS))
    assert not any("SliceThickness" in d or "SpacingBetweenSlices" in d for d in missing)
    wrong = headers(write_cohort(tmp_path / "wrong", Quirk.WRONG_SPACING_TAGS))
    assert all(float(d.SpacingBetweenSlices) > 8 for d in wrong)


def assert_same_pixels_in_another_syntax(folder, clean, syntax):
    path = next((folder / "train_images").glob("*/*/3.dcm"))
    odd, plain = pydicom.dcmread(path), pydicom.dcmread(clean / path.relative_to(folder))
    assert odd.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(odd.pixel_array, plain.pixel_array)


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_compression_loses_nothing(clean, tmp_path, monkeypatch, syntax):
    monkeypatch.setattr(cohort, "COMPRESSED", (syntax,))
    assert_same_pixels_in_another_syntax(write_cohort(tmp_path / "cohort", Quirk.COMPRESSED), clean, syntax)


def test_series_are_compressed_in_different_ways(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.COMPRESSED, Quirk.TWO_T1, Quirk.SEVERAL_AXIAL)
    found = {d.SeriesInstanceUID: d.file_meta.TransferSyntaxUID for d in headers(folder)}
    assert set(found.values()) <= set(COMPRESSED)
    assert len(set(found.values())) >= 2


@pytest.mark.parametrize(
    ("quirk", "syntax"), [(Quirk.IMPLICIT_VR, ImplicitVRLittleEndian), (Quirk.BIG_ENDIAN, ExplicitVRBigEndian)]
)
def test_other_encodings_hold_the_same_pixels(clean, tmp_path, quirk, syntax):
    assert_same_pixels_in_another_syntax(write_cohort(tmp_path / "cohort", quirk), clean, syntax)


def test_points_go_missing_come_extra_and_move(clean, tmp_path):
    plain = table(clean, "train_label_coordinates.csv")
    study = plain["study_id"].iloc[0]
    plain = plain[plain["study_id"] == study]
    lost = table(write_cohort(tmp_path / "lost", Quirk.LABEL_WITHOUT_POINT), "train_label_coordinates.csv")
    assert len(lost) == len(plain) - 3
    extra = table(write_cohort(tmp_path / "extra", Quirk.POINT_WITHOUT_LABEL), "train_label_coordinates.csv")
    assert len(extra) == 25
    moved = table(write_cohort(tmp_path / "moved", Quirk.POINT_ELSEWHERE), "train_label_coordinates.csv")
    assert (moved[["x", "y"]].to_numpy() != plain[["x", "y"]].to_numpy()).any(axis=1).sum() == 1
    shifted = table(write_cohort(tmp_path / "shifted", Quirk.LEVEL_OFF_BY_ONE), "train_label_coordinates.csv")
    assert len(shifted) == len(plain) - 1


def test_sides_of_one_level_are_swapped(clean, tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.SIDES_SWAPPED)
    keys = ["condition", "level"]
    plain, odd = (table(f, "train_label_coordinates.csv").set_index(keys)[["x", "y"]] for f in (clean, folder))
    moved = odd.index[(odd != plain.loc[odd.index]).any(axis=1)]
    assert len(moved) == 2
    (left, level), (right, other) = sorted(moved)
    assert level == other
    assert right == left.replace("Left", "Right")
    assert tuple(odd.loc[(left, level)]) == tuple(plain.loc[(right, level)])


def test_axial_series_number_two_to_four():
    counts = []
    for index in range(120):
        series = studies.draw(2, index, Size.SMALL, frozenset({Quirk.SEVERAL_AXIAL})).series
        counts.append(sum(one.kind is SeriesType.AXIAL_T2 for one in series))
    assert set(counts) == {2, 3, 4}
    assert counts.count(2) > counts.count(3) > counts.count(4)


def test_left_and_right_of_a_level_may_stand_in_different_series():
    apart = 0
    for index in range(40):
        study = studies.draw(2, index, Size.SMALL, frozenset({Quirk.SEVERAL_AXIAL}))
        where = {point.finding: point.series for point in study.points}
        apart += any(where.get(f.flipped, name) != name for f, name in where.items() if f.condition.side)
    assert apart > 5


def test_an_enhanced_object_holds_the_slices_of_its_series(clean, tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.ENHANCED)
    whole = headers(folder)
    assert len(whole) == 3
    for series in whole:
        assert series.SOPClassUID == series.file_meta.MediaStorageSOPClassUID == EnhancedMRImageStorage
        assert "ImagePositionPatient" not in series
        slices = {d.InstanceNumber: d for d in headers(clean) if d.SeriesInstanceUID == series.SeriesInstanceUID}
        assert len(slices) == series.NumberOfFrames
        for number, frame in enumerate(series.PerFrameFunctionalGroupsSequence, start=1):
            plain = slices[number]
            assert frame.PlanePositionSequence[0].ImagePositionPatient == plain.ImagePositionPatient
            assert frame.PlaneOrientationSequence[0].ImageOrientationPatient == plain.ImageOrientationPatient
            assert np.array_equal(series.pixel_array[number - 1], plain.pixel_array)


@pytest.mark.parametrize("quirk", [Quirk.ENHANCED, Quirk.COMPRESSED, Quirk.BIG_ENDIAN])
def test_the_converter_makes_the_same_volumes_of_it(clean, tmp_path, quirk):
    odd = write_cohort(tmp_path / "cohort", quirk)
    for folder, out in ((clean, tmp_path / "plain"), (odd, tmp_path / "odd")):
        convert(folder / "train_images", out, name_by="folder", quiet=True)
    volumes = sorted(path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.nii.gz"))
    assert len(volumes) == 3
    for volume in volumes:
        one, other = nib.load(tmp_path / "plain" / volume), nib.load(tmp_path / "odd" / volume)
        assert np.allclose(one.affine, other.affine, atol=1e-5)
        assert np.array_equal(one.get_fdata(), other.get_fdata())


def test_points_of_enhanced_objects_lie_on_their_frames(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.ENHANCED)
    truth = table(folder, "truth.csv").set_index(["condition", "level"])
    rows = table(folder, "train_label_coordinates.csv")
    for row in rows.itertuples():
        series = pydicom.dcmread(folder / "train_images" / row.study_id / row.series_id / "1.dcm")
        frame = series.PerFrameFunctionalGroupsSequence[int(row.instance_number) - 1]
        world = dicom_pixel_to_world(
            frame.PlaneOrientationSequence[0].ImageOrientationPatient,
            frame.PlanePositionSequence[0].ImagePositionPatient,
            series.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing,
            [float(row.x), float(row.y)],
        )
        names = (row.condition.lower().replace(" ", "_"), row.level.lower().replace("/", "_"))
        assert np.linalg.norm(world - truth.loc[names, ["x", "y", "z"]].to_numpy(dtype=float)) < 0.01


def test_names_are_found_and_others_listed():
    assert named(["l6", "missing-t1"]) == {Quirk.L6, Quirk.MISSING_T1}
    with pytest.raises(SpineError, match=r"'l7'.*several-axial.*sides-swapped"):
        named(["l7"])


@pytest.mark.parametrize(("first", "second"), CONFLICTS)
def test_contradictory_quirks_are_refused_by_name_and_resolved_by_chance(first, second):
    with pytest.raises(SpineError, match="force one"):
        named([first.value, second.value])
    for forced in (first, second):
        drawn = [draw(np.random.default_rng(n), {forced}) for n in range(300)]
        assert all(forced in found for found in drawn)
        assert not any({first, second} <= found for found in drawn)


def test_forcing_a_quirk_does_not_change_the_others():
    without = [draw(np.random.default_rng(n)) for n in range(300)]
    forced = [draw(np.random.default_rng(n), {Quirk.HAEMANGIOMA}) for n in range(300)]
    assert all(one | {Quirk.HAEMANGIOMA} == other for one, other in zip(without, forced, strict=True))


def test_quirks_do_not_change_labels():
    plain = [studies.draw(3, index, Size.SMALL).findings.labels for index in range(5)]
    odd = [studies.draw(3, index, Size.SMALL, frozenset({Quirk.L6})).findings.labels for index in range(5)]
    assert np.array_equal(plain, odd)


def test_the_command_forces_quirks_on_all_studies_and_says_so_in_a_table(tmp_path):
    out = tmp_path / "cohort"
    arguments = ["--studies", "2", "--workers", "1", "--quiet", "--force", "l6", "--force", "odd-numbers"]
    with tiny_images():
        result = CliRunner().invoke(app, ["phantom", str(out), *arguments])
    assert result.exit_code == 0, result.output
    rows = table(out, "quirks.csv")
    assert list(rows.columns) == ["study_id", "quirk", "detail"]
    assert sorted(rows["quirk"]) == ["l6", "l6", "odd-numbers", "odd-numbers"]
    assert set(rows.loc[rows["quirk"] == "l6", "detail"]) == {"l1_l2 is L2/L3, l5_s1 is L6/S1"}


def test_the_command_lists_the_names_when_it_does_not_know_one(tmp_path):
    with pytest.raises(SpineError, match="haemangioma"):
        CliRunner().invoke(app, ["phantom", str(tmp_path / "x"), "--force", "tumour"], catch_exceptions=False)
    assert not (tmp_path / "x").exists()
