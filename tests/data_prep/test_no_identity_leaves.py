"""Patients with every identifying element, in five character sets: no output of any command names them."""

import gzip
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pandas as pd
import pydicom
import pytest

from data_prep.dicom.headers import identity
from tests.data_prep import dicom_factory as factory

CHARACTER_SETS = {
    "ISO_IR 100": ("Müller-Lüdenscheidt^Jörg", "Mueller-Luedenscheidt JORG"),
    "ISO_IR 101": ("Wałęsa^Żaneta", "Walesa ZANETA"),
    "ISO_IR 144": ("Ivanova^Jekaterina=Иванова^Екатерина", "ivanova Иванова"),
    "ISO_IR 192": ("O'Brien^Xu^Sørenyi", "OBRIEN xu SØRENYI"),
    "ISO 2022 IR 87": ("Yamada^Taroukichi=山田^太郎", "taroukichi YAMADA"),
}
BIRTH_DATES = ("19500203", "1950-02-03", "03.02.1950", "3/2/50", "1950")


def elements(charset: str) -> dict[str, str]:
    """All identifying elements, each with words of its own."""
    values = {}
    for number, tag in enumerate(identity.TAGS):
        vr, keyword = pydicom.datadict.dictionary_VR(tag), pydicom.datadict.keyword_for_tag(tag)
        word = f"quorz{chr(97 + number // 26)}{chr(97 + number % 26)}"
        values[keyword] = f"{word}^{word[::-1]}" if vr == "PN" else word
    own = f"quorzid{'abcde'[list(CHARACTER_SETS).index(charset)]}"
    name = CHARACTER_SETS[charset][0]
    return values | {"PatientName": name, "PatientBirthDate": "19500203", "PatientID": own}


def header_of(number: int, charset: str) -> dict[str, object]:
    """Identifying elements, and free texts that repeat them."""
    typed = CHARACTER_SETS[charset][1]
    values = elements(charset)
    physician = values["ReferringPhysicianName"].split("^")[0].upper()
    texts = {
        "SeriesDescription": f"T2 {typed} {BIRTH_DATES[number]} {physician}"[:64],
        "BodyPartExamined": f"LSPINE {values['PatientID'].upper()}"[:16],
        "SequenceName": values["OperatorsName"].split("^")[0],
        "ScanOptions": [values["AccessionNumber"].upper(), "FS"],
        "ImageType": ["ORIGINAL", "PRIMARY", "M", values["PatientID"].upper()],
        "Manufacturer": f"Phantom {values['InstitutionName']}",
        "ManufacturerModelName": f"Model {values['OtherPatientNames'].replace('^', ' ')}",
        "ContrastBolusAgent": f"none for {values['PatientID']}",
        "ConvolutionKernel": values["StationName"],
    }
    charsets = ["", charset] if "2022" in charset else charset
    return {"SpecificCharacterSet": charsets, **values, **texts}


def patient(number: int, charset: str, **attributes: object) -> list[pydicom.Dataset]:
    """A series of such a patient."""
    uids = {"StudyInstanceUID": f"1.2.3.{number}.1", "SeriesInstanceUID": f"1.2.3.{number}.2"}
    shape = {"rows": 160, "columns": 160, "spacing": (1.0, 1.0), "slices": 9}
    return factory.series(seed=number, **shape, **header_of(number, charset) | uids | attributes)


def words() -> set[str]:
    """All words that must not leave, in ASCII and lower case."""
    texts = [value for charset in CHARACTER_SETS for value in elements(charset).values()]
    texts += [text for pair in CHARACTER_SETS.values() for text in pair]
    folded = (unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower() for text in texts)
    return {word for text in folded for word in re.findall("[a-z]{2,}|[0-9]{4,}", text)} | {*BIRTH_DATES}


def leaks(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return sorted(
        word for word in words() if re.search(rf"(?<![a-z0-9.]){re.escape(word)}(?![a-z0-9.])", folded)
        or (len(word) > 5 and word.isalpha() and word in folded)
    )  # fmt: skip


def everything_written(out: Path, without: tuple[str, ...] = (".png", ".jpg")) -> str:
    """Names of all files, and their texts."""
    texts = []
    for path in out.rglob("*"):
        texts.append(path.name)
        if path.is_file() and path.suffix not in without:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            # The header of a volume is text; its voxels are not.
            texts.append(data[: 352 if ".nii" in path.name else None].decode("utf-8", "ignore"))
    return "\n".join(texts)


def run(program: str, *arguments: object) -> str:
    start = {
        "data_prep": ["-m", "data_prep"],
        "monai_spine": ["-c", "from monai_spine.commands.main import main; main()"],
    }
    done = subprocess.run(
        [sys.executable, *start[program], *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in") / "dicom"
    for number, charset in enumerate(CHARACTER_SETS):
        names = [f"{n}.dcm" for n in range(1, 10)]
        factory.write(folder / "train_images" / str(number) / "7", patient(number, charset), names=names)
    return folder


def test_the_patients_have_forty_elements_that_the_headers_hold(dicom: Path) -> None:
    assert len(identity.TAGS) >= 40
    header = pydicom.dcmread(dicom / "train_images" / "0" / "7" / "1.dcm")
    assert all(tag in header for tag in identity.TAGS)
    assert leaks(str(header.SeriesDescription))


def test_conversion_and_scan_name_nobody(dicom: Path, tmp_path: Path) -> None:
    said = run("data_prep", "scan", dicom) + run("data_prep", "convert", dicom, tmp_path / "out")
    assert leaks(said + everything_written(tmp_path / "out")) == []
    manifest = pd.read_csv(tmp_path / "out" / "manifest.csv")
    assert set(manifest["description"].str[:2]) == {"T2"}


@pytest.mark.slow
def test_tables_of_studies_and_checks_name_nobody(dicom: Path, tmp_path: Path) -> None:
    rows = [{"study": number, "path": dicom / "train_images" / str(number)} for number in range(5)]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    said = run("data_prep", "study-table", tmp_path / "own.csv", tmp_path / "own")
    said += run("data_prep", "check", tmp_path / "own" / "datalist.json", "-o", tmp_path / "check")
    assert leaks(said + everything_written(tmp_path / "own") + everything_written(tmp_path / "check")) == []


@pytest.mark.slow
def test_the_competitions_layout_names_nobody(dicom: Path, tmp_path: Path) -> None:
    series = [{"study_id": n, "series_id": 7, "series_description": "Sagittal T2/STIR"} for n in range(5)]
    (dicom / "train_images").rename(dicom / "test_images")
    pd.DataFrame(series).to_csv(dicom / "test_series_descriptions.csv", index=False)
    said = run("data_prep", "rsna", dicom, tmp_path / "out")
    (dicom / "test_images").rename(dicom / "train_images")
    assert leaks(said + everything_written(tmp_path / "out")) == []


@pytest.mark.slow
def test_single_images_name_nobody(dicom: Path, tmp_path: Path) -> None:
    for number, label in enumerate(("yes", "no", "yes", "no")):
        for name in (1, 2, 3):
            target = tmp_path / "in" / label / f"{number}-{name}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((dicom / "train_images" / str(number) / "7" / f"{name}.dcm").read_bytes())
    said = run("data_prep", "images", "folders", tmp_path / "in", tmp_path / "out", "--folds", 2)
    assert leaks(said + everything_written(tmp_path / "out")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("default_runtime")
def test_locating_and_grading_name_nobody(dicom: Path, tmp_path: Path) -> None:
    one = dicom / "train_images" / "0"
    run("data_prep", "convert", one, tmp_path / "volumes")
    said = run("monai_spine", "locate", tmp_path / "volumes", "-o", tmp_path / "points")
    said += run("monai_spine", "predict", "-i", one, "-o", tmp_path / "graded")
    assert leaks(said + everything_written(tmp_path / "points") + everything_written(tmp_path / "graded")) == []


def test_without_a_series_uid_the_folders_name_does_not_name_the_volume(tmp_path: Path) -> None:
    for uids in (
        {"SeriesInstanceUID": ""},
        {"StudyInstanceUID": ""},
        {"StudyInstanceUID": "", "SeriesInstanceUID": ""},
    ):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        factory.write(tmp_path / "in" / "Mueller_Joerg", patient(0, "ISO_IR 100", **uids))
        run("data_prep", "convert", tmp_path / "in", out)
        (volume,) = out.rglob("*.nii.gz")
        assert "mueller" not in str(volume.relative_to(out)).lower()
        assert "mueller" not in (out / "manifest.csv").read_text().lower()
