"""Quirks: rates, names, and what each does to files and tables."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.dicom.convert import convert
from data_prep.phantom import dicom
from data_prep.phantom.dicom import COMPRESSED
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.quirks import CONFLICTS, NONE, NORMAL, Quirk, draw_quirks, draw_variants, named
from data_prep.phantom.signal import RELAXATION, strength
from monai_spine.errors import SpineError
from monai_spine.geometry import dicom_pixel_to_world
from monai_spine.spine import SeriesType
from tests.data_prep.phantom.people import UNUSUAL, person, sagittal
from tests.data_prep.phantom.sequences import T1, T2
from tests.data_prep.tiny_phantom import headers, table, tiny_images, write_cohort


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("clean") / "cohort")


def test_quirks_come_at_their_rates():
    drawn = [draw_quirks(np.random.default_rng(index)) for index in range(3000)]
    for quirk in Quirk:
        assert np.mean([quirk in quirks for quirks in drawn]) == pytest.approx(quirk.rate, abs=0.03)


def test_several_axial_series_share_the_points(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.SEVERAL_AXIAL, seed=8)
    types = table(folder, "train_series_descriptions.csv")["series_description"]
    assert (types == SeriesType.AXIAL_T2.title).sum() >= 2
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
        types = list(table(folder, "train_series_descriptions.csv")["series_description"])
        assert types.count(SeriesType.SAGITTAL_T1.title) == count
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
    monkeypatch.setattr(dicom, "COMPRESSED", (syntax,))
    assert_same_pixels_in_another_syntax(write_cohort(tmp_path / "cohort", Quirk.COMPRESSED), clean, syntax)


def test_series_are_compressed_in_different_ways(tmp_path):
    folder = write_cohort(tmp_path / "cohort", Quirk.COMPRESSED, Quirk.TWO_T1, Quirk.SEVERAL_AXIAL)
    syntaxes = {d.SeriesInstanceUID: d.file_meta.TransferSyntaxUID for d in headers(folder)}
    assert set(syntaxes.values()) <= set(COMPRESSED)
    assert len(set(syntaxes.values())) >= 2


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
def test_the_converter_makes_the_same_volumes_from_every_encoding(clean, tmp_path, quirk):
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


def test_an_unknown_name_is_refused_with_the_list_of_names():
    assert named(["l6", "missing-t1"]) == {Quirk.L6, Quirk.MISSING_T1}
    with pytest.raises(SpineError, match=r"'l7'.*several-axial.*sides-swapped"):
        named(["l7"])


@pytest.mark.parametrize(("first", "second"), CONFLICTS)
def test_quirks_that_exclude_each_other_are_refused_by_name_and_never_drawn_together(first, second):
    with pytest.raises(SpineError, match="force one"):
        named([first.value, second.value])
    for forced in (first, second):
        drawn = [draw_quirks(np.random.default_rng(n), {forced}) for n in range(300)]
        assert all(forced in quirks for quirks in drawn)
        assert not any({first, second} <= quirks for quirks in drawn)


def test_forcing_a_quirk_does_not_change_the_others():
    without = [draw_quirks(np.random.default_rng(n)) for n in range(300)]
    forced = [draw_quirks(np.random.default_rng(n), {Quirk.HAEMANGIOMA}) for n in range(300)]
    assert all(one | {Quirk.HAEMANGIOMA} == other for one, other in zip(without, forced, strict=True))


def test_the_command_forces_quirks_on_all_studies_and_lists_them_in_a_table(tmp_path):
    out = tmp_path / "cohort"
    arguments = ["--studies", "2", "--workers", "1", "--quiet", "--force", "l6", "--force", "odd-numbers"]
    with tiny_images():
        result = CliRunner().invoke(app, ["phantom", str(out), *arguments])
    assert result.exit_code == 0, result.output
    rows = table(out, "quirks.csv")
    assert list(rows.columns) == ["study_id", "quirk", "detail"]
    assert sorted(rows["quirk"]) == ["l6", "l6", "odd-numbers", "odd-numbers"]
    assert set(rows.loc[rows["quirk"] == "l6", "detail"]) == {"l1_l2 is L2/L3, l5_s1 is L6/S1"}


def test_the_command_refuses_an_unknown_name_with_the_list_of_names(tmp_path):
    with pytest.raises(SpineError, match="haemangioma"):
        CliRunner().invoke(app, ["phantom", str(tmp_path / "x"), "--force", "tumour"], catch_exceptions=False)
    assert not (tmp_path / "x").exists()


def test_a_variant_does_not_depend_on_the_others():
    every = frozenset({Quirk.SPONDYLOLISTHESIS, Quirk.HAEMANGIOMA, Quirk.L6, Quirk.FLOW_VOID})
    drawn = draw_variants(every, np.random.default_rng(5))
    assert draw_variants(frozenset({Quirk.SPONDYLOLISTHESIS}), np.random.default_rng(5)).slip == drawn.slip
    assert draw_variants(NONE, np.random.default_rng(5)) == NORMAL
    assert set(drawn.describe()) == every - {Quirk.FLOW_VOID}


def test_a_slip_shows_in_the_image_and_leaves_the_skin_alone():
    usual, slipped = sagittal(person()), sagittal(person(variants=UNUSUAL["slip"]))
    bone = [np.isin(image, [Tissue.CORTEX, Tissue.MARROW]) for image in (usual, slipped)]
    assert (bone[0] != bone[1]).mean() > 0.02
    assert np.array_equal(usual == Tissue.AIR, slipped == Tissue.AIR)


def test_a_haemangioma_is_bright_on_t1_and_t2_and_keeps_to_its_body():
    for sequence in (T1, T2):
        haemangioma, marrow = (strength(RELAXATION[t], sequence, 1.5) for t in (Tissue.HAEMANGIOMA, Tissue.MARROW))
        assert haemangioma > 1.2 * marrow
    usual, unusual = sagittal(person()), sagittal(person(variants=UNUSUAL["haemangioma"]))
    assert (unusual == Tissue.HAEMANGIOMA).sum() > 100
    assert set(usual[usual != unusual]) == {Tissue.MARROW}
