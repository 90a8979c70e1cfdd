from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from data_prep.dicom.refusals import Refused
from data_prep.images.dicom_picture import write_picture
from monai_spine.errors import SpineError
from monai_spine.images.data.datalist import read_image_datalist
from monai_spine.images.data.pixels import Mode, read_pixels
from tests.data_prep.dicom_factory import blank, series, set_pixels, write_one
from tests.data_prep.images.picture_sets import picture, write_folders
from tests.data_prep.images.test_folders_command import prepare, report

VALUES = np.arange(0, 4000, 40).reshape(10, 10)


def xray(values: np.ndarray = VALUES, **attributes: object) -> Dataset:
    """An image without a place in the patient, as a radiograph is."""
    image = blank(*values.shape)
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    set_pixels(image, values)
    return image


def shown(tmp_path: Path, image: Dataset) -> np.ndarray:
    write_one(tmp_path / "a.dcm", image)
    write_picture(tmp_path / "a.dcm", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.mode == "I;16"
        return np.asarray(opened).astype(np.float64) / 65535


def test_without_a_window_the_range_of_the_values_is_shown(tmp_path: Path) -> None:
    assert np.allclose(shown(tmp_path, xray()), VALUES / VALUES.max(), atol=1e-5)


def test_the_window_applies_to_rescaled_values(tmp_path: Path) -> None:
    image = xray(RescaleSlope="2", RescaleIntercept="-1000", WindowCenter=["500", "9"], WindowWidth=["1001", "9"])
    expected = np.clip((VALUES * 2 - 1000 - 499.5) / 1000 + 0.5, 0, 1)
    assert np.allclose(shown(tmp_path, image), expected, atol=1e-5)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(tmp_path: Path, function: str) -> None:
    from pydicom.pixels import apply_voi_lut

    image = xray(WindowCenter="2000", WindowWidth="1500", VOILUTFunction=function)
    expected = apply_voi_lut(VALUES.astype(np.uint16), image).astype(np.float64) / 4095
    assert np.allclose(shown(tmp_path, image), expected, atol=1e-3)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = shown(tmp_path, xray())
    assert np.allclose(shown(tmp_path, xray(PhotometricInterpretation="MONOCHROME1")), 1 - plain, atol=1e-4)


def test_what_is_no_single_grey_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.dcm").write_bytes(b"rubbish" * 40)
    with pytest.raises(Refused):
        write_picture(tmp_path / "b.dcm", tmp_path / "b.png")
    with pytest.raises(Refused, match="COLOUR"):
        shown(tmp_path, xray(PhotometricInterpretation="RGB"))
    assert not (tmp_path / "b.png").exists()


def folders(root: Path) -> Path:
    for n in range(8):
        image = xray(picture(n).astype(np.int64) * 8, PatientID=f"Q7{n // 2}SECRET", PatientName="Doe^Jane")
        (root / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        write_one(root / "ab"[n % 2] / (f"{n}.dcm" if n < 6 else f"1.2.{n}"), image)
    return root


def test_dicom_becomes_pictures_and_its_patients_groups_without_identity(tmp_path: Path) -> None:
    data = folders(tmp_path / "d")
    Image.fromarray(picture(50)).save(data / "a/plain.png")
    assert prepare("folders", data, tmp_path / "out", "--folds", 2)[0] == 0
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    made = [r for r in datalist.training if r["image"][0].startswith(str(tmp_path / "out/images"))]
    assert len(made) == 8
    assert sorted({r["group"] for r in made}) == [f"patient {n}" for n in range(1, 5)]
    sources = report(tmp_path / "out")["converted"]
    for record in made:
        source = data / sources[Path(record["image"][0]).name]
        assert datalist.classes[record["label"]] == source.parent.name
        told = int(source.stem) if source.suffix == ".dcm" else int(source.suffix[1:])
        assert np.abs(read_pixels(record["image"][0], Mode.GREY)[0] - stretched(picture(told))).max() < 0.01
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or not any(word in file.read_bytes() for word in (b"SECRET", b"Doe"))


def stretched(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) * (255 / (float(values.max()) - values.min()))


def test_pictures_of_an_earlier_run_are_replaced_and_other_files_never(tmp_path: Path) -> None:
    data = folders(tmp_path / "d")
    prepare("folders", data, tmp_path / "out", "--folds", 2)
    (data / "a/0.dcm").unlink()
    prepare("folders", data, tmp_path / "out", "--folds", 2)
    assert len(list((tmp_path / "out/images").iterdir())) == 7
    (tmp_path / "out/images/mine.txt").write_text("keep")
    with pytest.raises(SpineError, match="other files are there"):
        prepare("folders", data, tmp_path / "out", "--folds", 2)
    assert (tmp_path / "out/images/mine.txt").read_text() == "keep"


def test_slices_of_a_series_and_damaged_files(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "d", {"a": 3, "b": 3})
    write_one(data / "a/slice.dcm", series(1)[0])
    (data / "b/cut.dcm").write_bytes((data / "a/slice.dcm").read_bytes()[:-40])
    assert prepare("folders", data, tmp_path / "out", "--folds", 2)[0] == 3
    (finding,) = (f for f in report(tmp_path / "out")["findings"] if f["code"] == "UNREADABLE")
    assert (finding["images"], finding["found"][:9]) == (["b/cut.dcm"], "TRUNCATED")
