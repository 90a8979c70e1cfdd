"""The program removes its own DICOM objects and no file of anybody else."""

from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.prediction.object_files import MANUFACTURER, check_no_inputs_among_objects, remove_objects
from tests.monai_spine.prediction.parts import write_object


def test_images_of_others_stay_also_under_our_names(tmp_path: Path) -> None:
    ours = ["sr.dcm", "sr_reader_2.dcm", "keyimages_11.dcm", "report.dcm", "refusal.dcm", "refusal_image.dcm"]
    for name in ours:
        write_object(tmp_path / "dicom" / name, MANUFACTURER)
        write_object(tmp_path / "other" / "dicom" / name, "A scanner")
    for name in ("IM1.dcm", "sr_reader_x.dcm"):
        write_object(tmp_path / "dicom" / name, MANUFACTURER)
    (tmp_path / "dicom" / "sr_reader_1.dcm").write_bytes(b"damaged")
    remove_objects(tmp_path)
    assert {file.name for file in (tmp_path / "dicom").iterdir()} == {"IM1.dcm", "sr_reader_x.dcm", "sr_reader_1.dcm"}
    remove_objects(tmp_path / "other")
    assert len(list((tmp_path / "other" / "dicom").iterdir())) == len(ours)
    remove_objects(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("source", "files", "refused"),
    [
        ("1.2.3/dicom", "1.2.3/dicom/IM1.dcm", True),
        ("1.2.3/dicom/series", "1.2.3/dicom/series/IM1.dcm", True),
        ("1.2.3", "1.2.3/dicom/series/IM1.dcm", True),
        ("1.2.3", "1.2.3/dicom/sr.dcm", False),  # of an earlier run
        ("1.2.3", "1.2.3/images/IM1.dcm", False),
        ("volumes/1.2.3", "volumes/1.2.3/t2.nii.gz", False),
    ],
)
def test_no_input_lies_where_objects_go(tmp_path: Path, source: str, files: str, refused: bool) -> None:
    (tmp_path / files).parent.mkdir(parents=True)
    (tmp_path / files).write_bytes(b"x")
    check_no_inputs_among_objects([tmp_path / source], tmp_path / "elsewhere")
    if refused:
        with pytest.raises(InvalidOptionError, match="choose another output folder"):
            check_no_inputs_among_objects([tmp_path / source], tmp_path)
    else:
        check_no_inputs_among_objects([tmp_path / source], tmp_path)
