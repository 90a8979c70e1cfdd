"""The DICOM objects of a study that came as DICOM, read back by pydicom, highdicom, and the programs of Debian."""

import copy
import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.spatial import ImageToReferenceTransformer

from monai_spine.commands.main import app
from monai_spine.console import run_app
from monai_spine.data.corrections import Corrections, Signature
from monai_spine.data.corrections_file import read_corrections, write_corrections
from monai_spine.dicom_out.sr_table import read_report
from monai_spine.dicom_out.writer import DicomWriter
from monai_spine.grading.canal_opinion import CanalOpinion
from monai_spine.grading.grader import Grader
from monai_spine.measures.study import NAMES, Measurer
from monai_spine.prediction.inputs import Conversion, Inputs, find_inputs
from monai_spine.prediction.run import predict
from monai_spine.report.output import HTML, PageOutput
from monai_spine.report.study_result import read_result, worst
from monai_spine.runtime.choice import TORCH
from monai_spine.spine import TARGETS, Condition, Grade, Level
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.levels.test_locate import Oracle
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study

pytestmark = pytest.mark.slow

PATIENT = {
    "PatientName": "Müller^Jörg=山田^太郎",
    "PatientID": "KH-4711",
    "PatientBirthDate": "19640812",
    "PatientSex": "M",
}


class Fixed(Measurer):
    """Measures the same in each study."""

    def __call__(self, record: object, opened: object) -> dict:
        return copy.deepcopy(MEASURES)


DICOM = PageOutput([DicomWriter()])
READ = {
    "AB": {"spinal_canal_stenosis_l4_l5": "severe", "left_subarticular_stenosis_l1_l2": "moderate"},
    "李": {"right_neural_foraminal_narrowing_l5_s1": "normal_mild"},
}
"""Grades of two readers, one of whom has no letter of ASCII."""


def entry(value: float, percentile: int | None = 40) -> dict[str, float | None]:
    return {"value": value, "uncertainty": round(value / 4, 2), "percentile": percentile}


MEASURES = {
    "volume": "t2.nii.gz",
    "reference": "phantoms (80 studies)",
    "levels": {
        level.value: {name: entry(10 * n + m + 0.25) for m, name in enumerate(NAMES)} | {"canal_grade": "moderate"}
        for n, level in enumerate(Level, start=1)
    },
    "whole": {"lordosis_deg": entry(-3.5, None)},
}
del MEASURES["levels"]["l1_l2"]["canal_area_mm2"]
UNITS = {"mm2": "mm2", "mm": "mm", "deg": "deg", "share": "1"}


def knowing(given: Inputs) -> Oracle:
    kinds = ("sagittal_t1", "sagittal_t2")
    return Oracle().know(*(Path(file) for one in given.studies for kind in kinds for file in one.record[kind]))


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Grader:
    opened = Grader.from_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "one"))
    opened.opinion = CanalOpinion(1.0, np.array([20.0, 0.0]), np.zeros(2))  # every canal is moderate by its diameter
    return opened


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DICOM files of a patient with letters beyond ASCII in the name."""
    folder = write_cohort(tmp_path_factory.mktemp("cohort")) / "train_images"
    for file in folder.rglob("*.dcm"):
        header = pydicom.dcmread(file)
        header.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in PATIENT.items():
            setattr(header, keyword, value)
        header.AccessionNumber, header.StudyDescription = "A-1", "LWS nativ"
        header.save_as(file)
    return folder


@pytest.fixture(scope="module")
def study(sources: Path, grader: Grader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the study."""
    out = tmp_path_factory.mktemp("out")
    given = find_inputs([sources], out, Conversion(quiet=True))
    corrections = Corrections(given.studies[0].study_id)
    for reader, grades in READ.items():
        for finding, grade in grades.items():
            corrections = corrections.graded(finding, grade, Signature.now(reader))
    write_corrections(out / given.studies[0].study_id, corrections)
    opened = replace(models(knowing(given), grader), measurer=Fixed(SimpleNamespace(runtime=TORCH), None))
    summary = predict(given, out, opened, quiet=True, outputs=[DICOM])
    assert int(summary.exit_code) == 0, summary.line()
    assert not summary.outcomes[0].refused_outputs
    return out / given.studies[0].study_id


def objects(study: Path) -> list[Path]:
    return sorted((study / "dicom").glob("*.dcm"))


def source_headers(sources: Path) -> dict[str, pydicom.Dataset]:
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in sources.rglob("*.dcm")]
    return {header.SOPInstanceUID: header for header in headers}


def groups(study: Path, name: str = "sr.dcm") -> dict[str, object]:
    report = hd.sr.srread(study / "dicom" / name).content
    found = [*report.get_planar_roi_measurement_groups(), *report.get_image_measurement_groups()]
    return {str(group.tracking_identifier): group for group in found}


def test_every_object_passes_the_validator(study: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy: apt-get install dicom3tools")
    for file in objects(study):
        done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        faults = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert not faults, (file.name, faults)
        assert len(done.stderr.splitlines()) > 0  # it names the IOD


def test_dcmtk_reads_the_structured_report(study: Path) -> None:
    if shutil.which("dsrdump") is None:
        pytest.skip("needs dsrdump: apt-get install dcmtk")
    done = subprocess.run(["dsrdump", study / "dicom" / "sr.dcm"], capture_output=True, text=True, check=True)
    assert done.stdout.count('"Measurement Group"') == 25 + 5 * 2 + 1  # findings, canal and disc, lordosis
    assert "Research software, not a medical device" in done.stdout or "Comment" in done.stdout


def test_the_names_of_the_files_are_those_of_the_contract(study: Path) -> None:
    names = [file.name for file in objects(study)]
    key_images = [f"keyimages_{n}.dcm" for n in range(1, 7)]  # the levels and five conditions
    assert names == [*key_images, "report.dcm", "sr.dcm", "sr_reader_1.dcm", "sr_reader_2.dcm"]


def test_every_object_has_the_identity_of_the_study_and_is_marked_as_research(study: Path, sources: Path) -> None:
    source = next(iter(source_headers(sources).values()))
    series = set()
    for file in objects(study):
        header = pydicom.dcmread(file)
        for keyword in (*PATIENT, "StudyInstanceUID", "StudyDate", "StudyID", "AccessionNumber", "StudyDescription"):
            assert header[keyword].value == source[keyword].value, (file.name, keyword)
        assert header.SeriesDescription.startswith("Research: ")
        assert header.SOPInstanceUID.startswith("2.25.")
        series.add((header.Modality, header.SeriesInstanceUID))
    assert sorted(modality for modality, _ in series) == ["DOC", "OT", "SR", "SR", "SR"]


def test_the_report_holds_all_findings_as_findings_json_has_them(study: Path) -> None:
    content = json.loads((study / "findings.json").read_text())
    found = groups(study)
    assert set(TARGETS) <= set(found)
    grades = {"Normal or mild": "normal_mild", "Moderate": "moderate", "Severe": "severe"}
    for one in content["findings"]:
        group = found[one["finding"]]
        severity = [e.value.meaning for e in group.get_qualitative_evaluations() if e.name.meaning.startswith("Sever")]
        assert [grades[word] for word in severity] == [one["grade"]]
        values = {m.name.meaning: m.value for m in group.get_measurements()}
        own = [values[f"Probability of {name}"] for name in ("normal or mild", "moderate", "severe")]
        assert own == pytest.approx([one["natural"][grade.column] for grade in Grade], abs=1e-6)
        assert values["Probability"] == pytest.approx(one["natural"][one["grade"]], abs=1e-6)
        sides = [side.meaning for site in group.finding_sites if (side := site.laterality) is not None]
        assert sides == ([one["side"].title()] if one["side"] else [])


def test_the_report_says_what_the_other_reports_note_of_a_grade(study: Path) -> None:
    found = groups(study)
    notes = {one.finding.name: one.notes for one in read_result(study).findings}
    assert any("diameter" in note for own in notes.values() for note in own)
    for name, own in notes.items():
        text = " ".join(str(item.get("TextValue", "")) for item in found[name][0].ContentSequence)
        assert all(note in text for note in own)


def test_the_report_holds_all_measures_as_findings_json_has_them(study: Path) -> None:
    content = json.loads((study / "findings.json").read_text())["measures"]
    assert content == MEASURES
    found = groups(study)
    sections = {**content["levels"], "whole": content["whole"]}
    expected, read = {}, {}
    for level, values in sections.items():
        for name, one in values.items():
            if isinstance(one, dict):
                unit = UNITS[name.rpartition("_")[2]]
                key = "lordosis" if level == "whole" else f"{name.partition('_')[0]}_measures_{level}"
                row = (one["value"], unit, one["uncertainty"], one["uncertainty"], one["percentile"])
                expected.setdefault(key, []).append(row)
    for key, group in found.items():
        if key in TARGETS:
            continue
        assert [site.value.meaning for site in group.finding_sites][:1] == [
            "Lumbar spine" if key == "lordosis" else f"{key[-5:].upper().replace('_', '/')} disc"
        ]
        for one in group.get_measurements():
            properties = {item.name.value: item for item in one[0].get("ContentSequence", [])}
            sizes = [properties[code].value if code in properties else None for code in ("371886008", "371885007")]
            assert all(properties[c].unit == one.unit for c in ("371886008", "371885007"))
            percentile = properties["121415"].value if "121415" in properties else None
            read.setdefault(key, []).append((one.value, one.unit.value, *sizes, percentile))
    assert {key: sorted(rows) for key, rows in read.items()} == {key: sorted(rows) for key, rows in expected.items()}


def test_a_readers_grades_are_reports_of_a_person_and_the_programs_report_keeps_its_own(study: Path) -> None:
    content = {one["finding"]: one for one in json.loads((study / "findings.json").read_text())["findings"]}
    program = pydicom.dcmread(study / "dicom" / "sr.dcm")
    grades = {"Normal or mild": "normal_mild", "Moderate": "moderate", "Severe": "severe"}
    for n, (reader, own) in enumerate(READ.items(), start=1):
        name = f"sr_reader_{n}.dcm"
        report = pydicom.dcmread(study / "dicom" / name)
        found = groups(study, name)
        said = {key: grades[group.get_qualitative_evaluations()[0].value.meaning] for key, group in found.items()}
        assert said == own == {key: content[key]["reader"]["grade"] for key in own}
        assert {content[key]["reader"]["by"] for key in own} == {reader}
        observers = {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in report.ContentSequence}
        assert str(observers["Person Observer Name"].PersonName) == reader
        assert f"Observer: {reader}" in read_report(study / "dicom" / name).comments
        assert "Device Observer Name" not in observers
        uids = [
            item.ReferencedSOPInstanceUID
            for evidence in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
            for study_item in report.get(evidence, [])
            for series in study_item.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        ]
        assert program.SOPInstanceUID in uids
        programs = groups(study)
        assert all(group.tracking_uid == programs[key].tracking_uid for key, group in found.items())
    with (study.parent / "findings.csv").open() as file:
        table = {row["finding"]: (row["reader_grade"], row["reader"]) for row in csv.DictReader(file)}
    expected = {finding: (grade, reader) for reader, own in READ.items() for finding, grade in own.items()}
    assert {finding: cells for finding, cells in table.items() if any(cells)} == expected


def uids(folder: Path) -> dict[str, tuple[str, str]]:
    """UIDs of each object and its series, by the name of its file."""
    headers = {file.name: pydicom.dcmread(file, stop_before_pixels=True) for file in folder.glob("dicom/*.dcm")}
    return {name: (one.SOPInstanceUID, one.SeriesInstanceUID) for name, one in headers.items()}


def not_worst(study: Path) -> str:
    """A finding that a slice shows, and that is neither the worst of its level nor of its condition."""
    result = read_result(study)
    groups = [*map(result.at, Level), *map(result.of, Condition)]
    worst_ones = [worst(group, read=True) for group in groups]
    rest = [one for one in result.findings if one not in worst_ones and one.covered and one.reader is None]
    return rest[0].finding.name


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("nothing", ()),
        ("time of AB", ("sr_reader_1.dcm",)),
        ("grade of AB", ("sr_reader_1.dcm", "report.dcm", "keyimages")),
        ("grade that no picture shows", ("sr_reader_2.dcm", "report.dcm")),
        ("done", ("report.dcm",)),
    ],
)
def test_a_second_reading_has_new_uids_where_its_content_differs(  # noqa: PLR0917 - fixtures
    study: Path, sources: Path, grader: Grader, tmp_path: Path, change: str, changed: tuple[str, ...]
) -> None:
    before = read_corrections(study / "corrections.json")
    first = before.changes[0]
    later = replace(first.signature, at="2030-01-01T00:00:00Z")
    after = {
        "nothing": before,
        "time of AB": replace(before, changes=(replace(first, signature=later), *before.changes[1:])),
        "grade of AB": replace(before, changes=(replace(first, after="moderate"), *before.changes[1:])),
        "grade that no picture shows": before.graded(not_worst(study), "normal_mild", Signature.now("李")),
        "done": before.marked_done(True, Signature.now("CD")),
    }[change]
    out = tmp_path / "out"
    given = find_inputs([sources], out, Conversion(quiet=True))
    write_corrections(out / study.name, after)
    opened = replace(models(knowing(given), grader), measurer=Fixed(SimpleNamespace(runtime=TORCH), None))
    predict(given, out, opened, quiet=True, outputs=[DICOM])
    old, new = uids(study), uids(out / study.name)
    assert set(old) == set(new)
    different = {name for name in old if old[name] != new[name]}
    assert different == {name for name in old if name.startswith(changed)} if changed else not different
    assert all((old[name][0] == new[name][0]) == (old[name][1] == new[name][1]) for name in old)


def test_points_lie_in_the_patient_where_points_csv_has_them(study: Path, sources: Path) -> None:
    with (study.parent / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("spinal_canal_stenosis", "neural_foraminal_narrowing", "subarticular_stenosis")
    conditions = dict(zip(("canal", "foramen", "recess"), names, strict=True))
    headers, found, checked = source_headers(sources), groups(study), 0
    for row in rows:
        name = "_".join(filter(None, (row["side"], conditions[row["point"]], row["level"])))
        group = found[name]
        region = getattr(group, "roi", None)
        if region is None:
            continue
        expected = np.array([-float(row["x"]), -float(row["y"]), float(row["z"])])  # LPS
        (place,) = [item for item in group[0].ContentSequence if item.ValueType == "SCOORD3D"]
        assert np.abs(np.array(place.GraphicData) - expected).max() < 0.1
        image = headers[region.ContentSequence[0].referenced_sop_instance_uid]
        to_patient = ImageToReferenceTransformer(
            image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing
        )
        off = to_patient(region.value)[0] - expected
        cosines = np.array(image.ImageOrientationPatient).reshape(2, 3)
        assert np.abs(cosines @ off).max() < 0.1  # in the plane of the image
        assert abs(np.cross(*cosines) @ off) <= 5.0 + 1e-6
        assert place.ReferencedFrameOfReferenceUID == image.FrameOfReferenceUID
        checked += 1
    assert checked >= 15


def test_every_image_that_the_report_names_is_listed_as_evidence(study: Path, sources: Path) -> None:
    report = pydicom.dcmread(study / "dicom" / "sr.dcm")
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    series = evidence.ReferencedSeriesSequence
    listed = {item.ReferencedSOPInstanceUID for one in series for item in one.ReferencedSOPSequence}
    regions = [group.roi for group in groups(study).values() if hasattr(group, "roi")]
    named = {region.ContentSequence[0].referenced_sop_instance_uid for region in regions}
    assert named <= listed <= set(source_headers(sources))


def test_key_images_are_pictures_with_text_and_name_their_source(study: Path, sources: Path) -> None:
    known = source_headers(sources)
    for file in study.glob("dicom/keyimages_*.dcm"):
        image = pydicom.dcmread(file)
        assert image.pixel_array.ndim == 3
        assert image.pixel_array.std() > 5
        assert (list(image.ImageType), image.BurnedInAnnotation) == (["DERIVED", "SECONDARY"], "YES")
        assert image.SourceImageSequence[0].ReferencedSOPInstanceUID in known


def test_the_pdf_comes_out_as_it_was(study: Path) -> None:
    document = pydicom.dcmread(study / "dicom" / "report.dcm")
    pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


def test_the_command_prints_a_report_as_a_table(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_app(lambda: app(["sr", str(study / "dicom" / "sr.dcm")]))
    assert not ended.value.code
    text = capsys.readouterr().out
    assert text.count("Lumbar subarticular stenosis") == 10
    table = read_report(study / "dicom" / "sr.dcm")
    rows = list(csv.DictReader(table.to_csv().splitlines()))
    assert len(rows) == 36
    canal_row = next(row for row in rows if row["finding"] == "canal_measures_l4_l5")
    assert (canal_row["Diameter [mm]"], canal_row["Diameter ±"], canal_row["Area [mm2]"]) == ("40.25", "10.06", "42.25")
    assert "Disc height in front [mm]" in text
    with (study.parent / "points.csv").open() as file:
        canal = next(row for row in csv.DictReader(file) if (row["point"], row["level"]) == ("canal", "l3_l4"))
    (row,) = [one for one in rows if one["site"] == "L3/L4 disc, Vertebral canal" and one["evaluation"]]
    assert [float(row[axis]) for axis in "xyz"] == pytest.approx([float(canal[axis]) for axis in "xyz"], abs=0.02)


def test_images_of_two_patients_make_no_objects_and_the_reason_names_nobody(
    sources: Path, grader: Grader, tmp_path: Path
) -> None:
    mixed = tmp_path / "in"
    shutil.copytree(sources, mixed)
    given = find_inputs([mixed], tmp_path / "out", Conversion(quiet=True))
    # Changed after the conversion, which would make two studies of them.
    series = sorted({file.parent for file in mixed.rglob("*.dcm")})
    for file in mixed.rglob("*.dcm"):
        header = pydicom.dcmread(file)
        header.PatientID = f"SECRET-{series.index(file.parent)}"
        header.save_as(file)
    pages = PageOutput([HTML, DicomWriter()])
    summary = predict(given, tmp_path / "out", models(knowing(given), grader), quiet=True, outputs=[pages])
    assert int(summary.exit_code) == 3
    (outcome,) = summary.outcomes
    assert outcome.refused_outputs["dicom"].startswith("expected images of one study of one patient")
    assert "SECRET" not in (tmp_path / "out" / "studies.csv").read_text()
    assert not list((tmp_path / "out").rglob("dicom/*.dcm"))
    assert (tmp_path / "out" / outcome.study_id / "report.html").is_file()
    # It cannot be made the next time either, so the study is not graded again for it.
    again = predict(given, tmp_path / "out", models(knowing(given), grader), quiet=True, outputs=[pages])
    assert (again.kept, int(again.exit_code)) == (1, 3)
    assert int(predict(given, tmp_path / "out", models(knowing(given), grader), quiet=True).exit_code) == 0


def test_nifti_inputs_have_no_identity_to_take_over(grader: Grader, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "in" / "s1")
    summary = predict(inputs(folder), tmp_path / "out", models(oracle(folder), grader), quiet=True, outputs=[DICOM])
    assert int(summary.exit_code) == 3
    assert "came as NIfTI" in summary.outcomes[0].refused_outputs["dicom"]
