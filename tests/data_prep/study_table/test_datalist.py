"""A user's own studies into a datalist: the same as through the competition's layout, types told or left out."""

import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data_prep import cli
from data_prep.collection.assembly import Run
from data_prep.phantom.cohort import generate
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.rsna2024 import datalist as rsna2024
from data_prep.study_table.datalist import build
from monai_spine.data.datalist import read_datalist
from monai_spine.errors import ExitCode, InvalidOptionError
from monai_spine.spine import TARGETS, SeriesType
from tests.data_prep import dicom_factory as factory
from tests.data_prep.collection.outputs import codes, contents, entries, table
from tests.data_prep.tiny_phantom import tiny_images

QUIRKS = (Quirk.SUB_STACKS, Quirk.SEVERAL_AXIAL, Quirk.TWO_T1, Quirk.MISSING_T2, Quirk.REPEATED_SLICE)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Six phantom studies, the first five with a quirk each."""
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    with tiny_images():
        generate(folder, 6, 5, forced=[*(frozenset({quirk}) for quirk in QUIRKS), NONE], quiet=True)
    return folder


@pytest.fixture(scope="module")
def through_rsna(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("rsna") / "out"
    rsna2024.build(cohort, out, Run(folds=3, quiet=True))
    return out


def rows_of(cohort, types=False, labels=True):
    """The phantom's series as rows of a user's table."""
    grades = table(cohort / "train.csv").set_index("study_id").to_dict("index") if labels else {}
    return [
        {
            "study": row["study_id"],
            "path": f"train_images/{row['study_id']}/{row['series_id']}",
            **({"series_type": row["series_description"]} if types else {}),
            **grades.get(row["study_id"], {}),
        }
        for row in table(cohort / "train_series_descriptions.csv").to_dict("records")
    ]


def write_table(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def same_volumes(one, other, entry, match):
    """Whether two entries hold equal voxels and affines of each type, whatever the files are called."""
    for kind in SeriesType:
        first, second = (
            [nib.load(out / name) for name in e.get(kind.value, [])] for out, e in ((one, entry), (other, match))
        )
        assert len(first) == len(second)
        for mine, theirs in zip(first, second, strict=True):
            assert np.array_equal(mine.affine, theirs.affine)
            assert np.array_equal(mine.dataobj, theirs.dataobj)


@pytest.mark.parametrize("types", [False, True])
def test_a_cohort_gives_the_same_labels_volumes_and_types_as_through_rsna(cohort, through_rsna, tmp_path, types):
    path = write_table(cohort / f"own{types}.csv", rows_of(cohort, types))
    build(path, tmp_path / "out", Run(folds=3, quiet=True))
    ours, theirs = entries(tmp_path / "out"), entries(through_rsna)
    assert list(ours) == list(theirs)
    for study, entry in ours.items():
        assert entry["label"] == theirs[study]["label"]
        assert (entry["fold"], entry["patient_id"]) == (theirs[study]["fold"], theirs[study]["patient_id"])
        same_volumes(tmp_path / "out", through_rsna, entry, theirs[study])
    assert len(read_datalist(tmp_path / "out" / "datalist.json")) == 6


def test_points_in_millimetres_give_the_same_cover_as_through_rsna(cohort, through_rsna, tmp_path):
    points = [
        {"study": study, "finding": target, **dict(zip("xyz", point, strict=True))}
        for study, entry in entries(through_rsna).items()
        for target, point in entry["points"].items()
    ]
    path = write_table(cohort / "with_points.csv", rows_of(cohort))
    build(path, tmp_path / "out", Run(folds=3, quiet=True), points=write_table(tmp_path / "points.csv", points))
    ours, theirs = table(tmp_path / "out" / "coverage.csv"), table(through_rsna / "coverage.csv")
    same = ["study_id", "target", "series_type", "view", "k", "source"]
    assert ours[same].equals(theirs[same])
    # The table of points has four decimals, so that a distance may be rounded to the next hundredth.
    distances = [one["distance_mm"].replace("", "nan").astype(float) for one in (ours, theirs)]
    assert np.allclose(*distances, rtol=0, atol=0.011, equal_nan=True)
    wanted = {study: entry["points"] for study, entry in entries(through_rsna).items()}
    assert {study: entry["points"] for study, entry in entries(tmp_path / "out").items()} == wanted


def test_a_row_may_be_a_whole_study_a_zip_or_a_file_of_it(cohort, through_rsna, tmp_path):
    first, second = list(entries(through_rsna))[4:]
    archive = shutil.make_archive(str(tmp_path / "second"), "zip", cohort / "train_images" / second)
    rows = [
        {"study": first, "path": cohort / "train_images" / first},
        {"study": second, "path": archive},
    ]
    build(write_table(tmp_path / "own.csv", rows), tmp_path / "out", Run(quiet=True))
    found = entries(tmp_path / "out", "test")
    for study in (first, second):
        assert set(found[study]) == {"study_id", "patient_id", *(kind.value for kind in SeriesType)}
        same_volumes(tmp_path / "out", through_rsna, found[study], entries(through_rsna)[study])


def test_converted_volumes_as_nifti_give_the_same_volumes(through_rsna, tmp_path):
    study = next(iter(entries(through_rsna)))
    entry = entries(through_rsna)[study]
    rows = [{"study": study, "path": through_rsna / name} for kind in SeriesType for name in entry[kind.value]]
    build(write_table(tmp_path / "own.csv", rows), tmp_path / "out", Run(quiet=True))
    same_volumes(tmp_path / "out", through_rsna, entries(tmp_path / "out", "test")[study], entry)


def test_why_a_type_was_told_stands_in_the_table(cohort, tmp_path):
    path = write_table(cohort / "reasons.csv", rows_of(cohort, labels=False))
    build(path, tmp_path / "out", Run(quiet=True))
    rows = table(tmp_path / "out" / "series.csv")
    assert set(rows["status"]) == {"used"}
    assert set(rows["confidence"]) == {"high"}
    assert rows["reason"].str.contains("slices, description says .*, TR .* ms say").all()


def dicom_row(folder, study, **attributes):
    """A row with a series of three-centimetre images, its headers as given."""
    factory.write(folder / study, factory.series(5, rows=16, columns=16, SeriesDescription="", **attributes))
    return {"study": study, "path": study}


def test_series_that_cannot_be_told_are_left_out_with_the_reason(tmp_path):
    rows = [
        dicom_row(tmp_path, "told"),
        dicom_row(tmp_path, "mute", EchoTime="", RepetitionTime=""),
        dicom_row(tmp_path, "between", EchoTime=20, RepetitionTime=3500),
        dicom_row(tmp_path, "coronal", orientation=factory.CORONAL),
    ]
    contradiction = factory.series(5, EchoTime=100, RepetitionTime=4000, SeriesDescription="SAG T1")
    factory.write(tmp_path / "odd", contradiction)
    collection, _ = build(
        write_table(tmp_path / "own.csv", [*rows, {"study": "odd", "path": "odd"}]), tmp_path / "out", Run(quiet=True)
    )
    assert collection.exit_code is ExitCode.SOME_REFUSED
    assert set(entries(tmp_path / "out", "test")) == {"told"}
    found = table(tmp_path / "out" / "series.csv").set_index("study_id")
    assert found["status"].to_dict() == {
        **{"told": "used", "mute": "left_out", "between": "left_out", "coronal": "other", "odd": "left_out"}
    }
    assert found.loc["mute", "reason"].startswith("neither a description nor")
    assert found.loc["odd", "reason"] == "contradiction: description says T1, TR 4000 TE 100 ms say T2"
    assert codes(tmp_path / "out", "mute") >= {"TYPE_UNKNOWN", "NO_VOLUME"}
    assert not list((tmp_path / "out").rglob("mute/*"))


def test_a_given_type_is_believed_unless_the_slices_lie_in_another_plane(tmp_path):
    rows = [
        dicom_row(tmp_path, "mute", EchoTime="", RepetitionTime="") | {"type": "Sagittal T1"},
        dicom_row(tmp_path, "doubted", EchoTime=100, RepetitionTime=4000) | {"type": "sagittal_t1"},
        dicom_row(tmp_path, "impossible") | {"type": "axial t2"},
    ]
    build(write_table(tmp_path / "own.csv", rows), tmp_path / "out", Run(quiet=True))
    found = table(tmp_path / "out" / "series.csv").set_index("study_id")
    assert found.loc["mute", ["series_type", "confidence", "reason"]].tolist() == ["sagittal_t1", "given", "given"]
    assert found.loc["doubted", "reason"].startswith("given; but sagittal slices, TR 4000 TE 100 ms say T2")
    assert found.loc["impossible", ["status", "series_type"]].tolist() == ["left_out", ""]
    assert "TYPE_CONTRADICTED" in codes(tmp_path / "out", "impossible")


def test_one_series_with_two_types_is_parted(tmp_path):
    t1 = factory.series(5, EchoTime=12, RepetitionTime=600, SeriesDescription="")
    t2 = factory.series(5, EchoTime=100, RepetitionTime=4000, SeriesDescription="", first_instance=6)
    factory.write(tmp_path / "s", t1 + t2)
    build(write_table(tmp_path / "own.csv", [{"study": "s", "path": "s"}]), tmp_path / "out", Run(quiet=True))
    entry = entries(tmp_path / "out", "test")["s"]
    assert (entry["sagittal_t1"], entry["sagittal_t2"]) == (["s/sagittal_t1.nii.gz"], ["s/sagittal_t2.nii.gz"])


def test_refused_stacks_and_unreadable_files_are_reported_with_their_row(tmp_path):
    images = factory.series(6, rows=16, columns=16)
    factory.write(tmp_path / "gap", images[:2] + images[3:])
    (tmp_path / "gap" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM\x08\0\x05\0CS")
    collection, _ = build(
        write_table(tmp_path / "own.csv", [{"study": "s", "path": "gap"}]), tmp_path / "out", Run(quiet=True)
    )
    assert collection.exit_code is ExitCode.SOME_REFUSED
    (row,) = table(tmp_path / "out" / "series.csv").to_dict("records")
    assert (row["status"], row["row"]) == ("refused", "2")
    assert row["reason"].startswith("MISSING_SLICE")
    assert codes(tmp_path / "out") >= {"REFUSED_STACK", "REFUSED_FILE", "NO_VOLUME"}


def test_nothing_that_identifies_a_patient_is_written(tmp_path):
    images = factory.series(5, PatientName="Secret^Name", PatientID="MRN-4711", AccessionNumber="ACC-0815")
    factory.write(tmp_path / "Secret_Name" / "MRN-4711", images)
    rows = [
        {"study": "s1", "patient": "MRN-4711", "path": "Secret_Name/MRN-4711"},
        {"study": "s2", "patient": "MRN-4711", "path": "Secret_Name"},
    ]
    first = write_table(tmp_path / "own.csv", [*rows[:1], {**rows[1], "path": "copy"}])
    shutil.copytree(tmp_path / "Secret_Name", tmp_path / "copy")
    build(first, tmp_path / "out", Run(quiet=True))
    for name, content in contents(tmp_path / "out").items():
        for secret in (b"Secret", b"MRN", b"ACC-0815", images[0].StudyInstanceUID.encode(), str(tmp_path).encode()):
            assert secret not in content, (name, secret)
            assert secret.decode() not in name
    found = entries(tmp_path / "out", "test")
    assert [found[study]["patient_id"] for study in ("s1", "s2")] == ["s1", "s1"]


def test_all_studies_of_a_patient_have_one_fold(cohort, tmp_path):
    rows = rows_of(cohort)
    studies = list(dict.fromkeys(row["study"] for row in rows))
    owner = {study: f"person {n // 2}" for n, study in enumerate(studies)}
    path = write_table(cohort / "patients.csv", [{**row, "Patient ID": owner[row["study"]]} for row in rows])
    build(path, tmp_path / "out", Run(folds=3, quiet=True))
    folds = {}
    for study, entry in entries(tmp_path / "out").items():
        folds.setdefault(owner[study], set()).add(entry["fold"])
    assert sorted(map(len, folds.values())) == [1, 1, 1]
    with pytest.raises(InvalidOptionError, match="--folds 4"):
        build(path, tmp_path / "more", Run(folds=4, quiet=True))


def test_ungraded_studies_go_to_the_test_section_and_their_patients_are_named(cohort, tmp_path):
    rows = rows_of(cohort)
    last = rows[-1]["study"]
    first = rows[0]["study"]
    for row in rows:
        row["patient"] = "same" if row["study"] in {first, last} else row["study"]
        row.update(dict.fromkeys(TARGETS, "") if row["study"] == last else {})
    build(write_table(cohort / "mixed.csv", rows), tmp_path / "out", Run(folds=2, quiet=True))
    assert set(entries(tmp_path / "out", "test")) == {last}
    assert "IN_BOTH_SECTIONS" in codes(tmp_path / "out", last)


def test_resuming_makes_the_same(cohort, tmp_path):
    path = write_table(cohort / "resume.csv", rows_of(cohort))
    build(path, tmp_path / "one", Run(folds=3, quiet=True))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "one").rglob("*.nii.gz")}
    (tmp_path / "one" / "datalist.json").unlink()
    build(path, tmp_path / "one", Run(folds=3, quiet=True, resume=True))
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "one").rglob("*.nii.gz")}
    build(path, tmp_path / "two", Run(folds=3, quiet=True))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_the_command_reports_and_ends_with_its_exit_codes(cohort, tmp_path):
    path = write_table(cohort / "command.csv", [{**row, "Ward": "7"} for row in rows_of(cohort)])
    run = CliRunner().invoke(cli.app, ["study-table", str(path), str(tmp_path / "out"), "--folds", "3", "--quiet"])
    assert run.exit_code == ExitCode.DONE, run.output
    assert "6 training and 0 test studies" in run.output
    assert "columns not used: Ward" in run.output
    assert "every study is taken for a patient of its own" in run.output
    bad = [sys.executable, "-m", "data_prep", "study-table", str(tmp_path / "none.csv"), str(tmp_path / "x")]
    failed = subprocess.run(bad, capture_output=True, text=True, check=False)
    assert failed.returncode == ExitCode.BAD_INPUT
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("rows", [1, 2])
def test_a_study_with_images_of_two_patients_is_refused_and_both_series_are_listed(tmp_path, rows):
    folders = [tmp_path / "in" / name for name in ("a", "b")]
    for number, (folder, description) in enumerate(zip(folders, ("T2 sag", "T2 sag FS"), strict=True)):
        attributes = {"PatientID": f"P{number}", "SeriesDescription": description, "SeriesNumber": number + 1}
        factory.write(folder, factory.series(4, seed=number, StudyInstanceUID="1.2.3", **attributes))
    paths = folders if rows == 2 else [tmp_path / "in"]
    path = write_table(tmp_path / "own.csv", [{"study": "s1", "path": path} for path in paths])
    done = CliRunner().invoke(cli.app, ["study-table", str(path), str(tmp_path / "out"), "--quiet"])
    assert done.exit_code == ExitCode.SOME_REFUSED
    series = table(tmp_path / "out" / "series.csv")
    assert set(series["status"]) == {"refused"}
    assert all("MIXED_PATIENTS: images of 2 patients in one study" in reason for reason in series["reason"])
    assert sorted(series["description"]) == ["T2 sag", "T2 sag FS"]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
