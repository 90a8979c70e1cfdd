"""Patients with every identifying element, in five character sets: pages, DICOM objects and TensorBoard name nobody."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from PIL import ImageDraw
from reportlab.pdfbase.ttfonts import TTFont
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_prep.collection.assembly import Run
from data_prep.study_table.datalist import build
from monai_spine.dicom_out.identity import _MAY_BE_EMPTY, _WHERE_KNOWN
from monai_spine.dicom_out.writer import DicomWriter
from monai_spine.grading.grader import Grader
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.run import predict
from monai_spine.report.output import HTML, PDF, PageOutput
from monai_spine.spine import TARGETS
from tests.bundles.runs import run
from tests.data_prep.test_no_identity_leaves import CHARACTER_SETS, everything_written, header_of, leaks
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.dicom_out.test_objects import knowing
from tests.monai_spine.prediction.parts import models, write_bundle

pytestmark = pytest.mark.slow

BINARY = (".png", ".jpg", ".pdf", ".dcm", ".pt")


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom study for each character set, in folders with plain names."""
    folder = tmp_path_factory.mktemp("dicom")
    for number, charset in enumerate(CHARACTER_SETS):
        cohort = write_cohort(tmp_path_factory.mktemp("cohort") / "rsna", seed=number)
        for file in (cohort / "train_images").rglob("*.dcm"):
            header = pydicom.dcmread(file)
            described = header.SeriesDescription
            given = header_of(number, charset)
            for keyword, value in given.items():
                setattr(header, keyword, value)
            header.SeriesDescription = f"{described} {given['SeriesDescription']}"[:64]
            header.save_as(file)
        (cohort / "train_images").rename(folder / str(number))
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """All texts that are drawn into pictures and PDF."""
    texts: list[str] = []
    picture, pdf = ImageDraw.ImageDraw.text, TTFont.splitString

    def into_picture(self: ImageDraw.ImageDraw, xy: object, text: str, *more: object, **options: object) -> None:
        texts.append(text)
        picture(self, xy, text, *more, **options)

    def into_pdf(self: TTFont, text: str, *more: object, **options: object) -> object:
        texts.append(text if isinstance(text, str) else text.decode())
        return pdf(self, text, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", into_picture)
    monkeypatch.setattr(TTFont, "splitString", into_pdf)
    return texts


def test_pages_and_dicom_objects_name_nobody_where_no_name_belongs(
    dicom: Path, tmp_path: Path, drawn: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    grader = Grader.from_bundle(write_bundle(tmp_path / "bundle"))
    out = tmp_path / "out"
    given = find_inputs([dicom], out, Conversion(quiet=True))
    outputs = [PageOutput([HTML, PDF, DicomWriter()])]
    summary = predict(given, out, models(knowing(given), grader), quiet=True, outputs=outputs)
    assert [outcome.refused for outcome in summary.outcomes] == [""] * len(CHARACTER_SETS)
    assert not any(outcome.refused_outputs for outcome in summary.outcomes)
    assert len(drawn) > 1000
    pages = re.sub("base64,[A-Za-z0-9+/=]+", "", everything_written(out, BINARY))  # pictures, whose texts are in drawn
    assert leaks(pages + caplog.text + "\n".join(drawn)) == []
    objects = sorted(out.rglob("*.dcm"))
    assert len(objects) >= 3 * len(CHARACTER_SETS)
    for file in objects:
        header = pydicom.dcmread(file)
        assert leaks(str(header.PatientName))  # the identity of the study is taken over, as archives need it
        for keyword in (*_MAY_BE_EMPTY, *_WHERE_KNOWN, "PixelData", "EncapsulatedDocument"):
            if keyword in header:
                del header[keyword]
        assert leaks(str(header)) == [], file.name


def test_tensorboard_and_all_else_of_a_training_name_nobody(
    dicom: Path, tmp_path: Path, drawn: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    grades = dict.fromkeys(TARGETS, "Moderate")
    rows = [{"study": n, "path": dicom / str(n), **grades} for n in range(len(CHARACTER_SETS))]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    build(tmp_path / "own.csv", tmp_path / "data", Run(2, 0, 1, None, False, True))
    out = tmp_path / "run"
    (out / "models").mkdir(parents=True)
    run("train", run_id="training", bundle_root=str(out), dataset_dir=str(tmp_path / "data"), epochs=1)
    (folder,) = {event.parent for event in out.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder), size_guidance={"images": 1, "tensors": 0}).Reload()
    tags = [str(tags) for tags in events.Tags().values()]
    tags += [str(events.Tensors(tag)) for tag in events.Tags()["tensors"]]
    assert events.Tags()["images"]
    assert drawn
    texts = [*tags, *drawn, caplog.text, everything_written(tmp_path / "data", BINARY)]
    texts += [path.read_text() for path in out.rglob("*") if path.suffix in {".json", ".jsonl", ".csv", ".txt"}]
    assert leaks("\n".join(texts)) == []
