"""Label maps, compared with the volumes that the converter makes of the same series."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from data_prep.dicom.convert import convert
from data_prep.phantom.cohort import generate
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.quirks import NONE, Quirk
from monai_spine.spine import SeriesType
from tests.data_prep.tiny_phantom import tiny_images

QUIRKS = [NONE, {Quirk.SUB_STACKS}, {Quirk.MIXED_SHAPE}, {Quirk.SEVERAL_AXIAL, Quirk.SUB_STACKS}, {Quirk.ENHANCED}]
QUIRKS += [{Quirk.ODD_NUMBERS, Quirk.EMPTY_FOLDER}, {Quirk.REPEATED_SLICE, Quirk.L6, Quirk.SPONDYLOLISTHESIS}]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("maps")
    with tiny_images():
        forced = [frozenset(quirks) for quirks in QUIRKS]
        generate(out / "rsna", len(QUIRKS), 8, forced=forced, label_maps=True, quiet=True)
    convert(out / "rsna" / "train_images", out / "nifti", name_by="folder", quiet=True)
    return out


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.nii.gz")}


def test_every_volume_has_its_label_map_and_the_other_way_round(cohort):
    volumes = files(cohort / "nifti")
    assert len(volumes) > 3 * len(QUIRKS)
    assert files(cohort / "rsna" / "label_maps") == volumes


def test_maps_stand_on_the_grid_of_their_volumes(cohort):
    for name in files(cohort / "nifti"):
        volume, labels = nib.load(cohort / "nifti" / name), nib.load(cohort / "rsna" / "label_maps" / name)
        assert labels.shape == volume.shape
        assert np.allclose(labels.affine, volume.affine, atol=2e-3)
        assert labels.get_data_dtype() == np.uint8


def test_labels_lie_on_what_they_name(cohort):
    series = pd.read_csv(cohort / "rsna" / "train_series_descriptions.csv", dtype=str)
    compared = 0
    for row in series.itertuples():
        name = f"{row.study_id}/{row.series_id}.nii.gz"
        if row.series_description != SeriesType.SAGITTAL_T1.title or name not in files(cohort / "nifti"):
            continue
        image = nib.load(cohort / "nifti" / name).get_fdata()
        labels = np.asarray(nib.load(cohort / "rsna" / "label_maps" / name).dataobj)
        fat, muscle, air = (image[labels == tissue].mean() for tissue in (Tissue.FAT, Tissue.MUSCLE, Tissue.AIR))
        assert fat > 1.2 * muscle
        assert muscle > 2 * air
        compared += 1
    assert compared >= 5


def test_every_label_has_a_name_of_its_own(cohort):
    table = pd.read_csv(cohort / "rsna" / "label_maps" / "names.csv")
    assert table["label"].is_unique
    assert table["name"].is_unique
    assert {"air", "csf", "nucleus_l4_l5", "nucleus_1_above_l1_l2", "nucleus_1_below_l5_s1"} <= set(table["name"])
    used = set()
    for path in (cohort / "rsna" / "label_maps").rglob("*.nii.gz"):
        used |= set(np.unique(np.asarray(nib.load(path).dataobj)).tolist())
    assert used <= set(table["label"])
    assert len(used) > 15


def test_without_the_option_there_are_none(tmp_path):
    with tiny_images():
        generate(tmp_path / "cohort", 1, 8, quiet=True)
    assert not (tmp_path / "cohort" / "label_maps").exists()
