"""Real series of several vendors: right by their headers and by reference volumes, or refused for the right reason."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.dicom.convert import convert
from tests.data_prep import oracle

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom_corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no DICOM corpus at {CORPUS}")

EXPECTED = {
    "o01_sag_t1_hfs": ["converted"],
    "o02_ax_fmri4d_ge": ["converted"],
    "o03_localizer_ge_ff": ["LOCALIZER"] * 3,
    "o04_dualecho_magphase_philips": ["converted"] * 4,
    "o05_sag_gre_5slices": ["converted"],
    "o06_mosaic_ax_siemens": ["MOSAIC"],
    "o08_transfer_syntaxes": ["MOSAIC"],
    "o09_jpeg_lossless_sag": ["converted"],
    "o10_jpegls_sag": ["converted"],
    "o11_enh_philips_b0": ["converted"] * 2,
    "o12_enh_philips_anat": ["converted"],
    "o14_gap_ct": ["MISSING_SLICE"],
    "o15_tilt_ct": ["SHEARED"],
    "o16_multiecho_missing_slice": ["MISSING_SLICE", "TOO_FEW_SLICES", "TOO_FEW_SLICES"],
    "o18_oblique_hitachi": ["converted"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_series_is_right_or_rightly_refused(tmp_path: Path, name: str) -> None:
    source = CORPUS / name / "dicom"
    convert(source, tmp_path, format="nii", quiet=True)
    counts = oracle.check(source, tmp_path)
    assert oracle.verdicts(tmp_path) == EXPECTED[name]
    assert {row["path"] for row in oracle.files(tmp_path)} == {path.name for path in source.iterdir()}
    assert counts["used"] + counts["duplicate"] + counts["refused"] + counts["ignored"] == sum(counts.values())


def test_enhanced_time_series_is_right(tmp_path: Path) -> None:
    source = CORPUS / "o13_enh_siemens_xa30_sag4d" / "dicom"
    convert(source, tmp_path, format="nii", quiet=True)
    assert oracle.check(source, tmp_path) == {"used": 315}
    assert nib.load(next(tmp_path.rglob("*.nii"))).shape == (86, 86, 63, 5)


REFERENCED = ["o02_ax_fmri4d_ge", "o05_sag_gre_5slices", "o09_jpeg_lossless_sag", "o10_jpegls_sag"]
REFERENCED += ["o11_enh_philips_b0", "o12_enh_philips_anat", "o04_dualecho_magphase_philips", "o18_oblique_hitachi"]


@pytest.mark.parametrize("name", REFERENCED)
def test_volumes_agree_with_those_that_others_made(tmp_path: Path, name: str) -> None:
    convert(CORPUS / name / "dicom", tmp_path, format="nii", quiet=True)
    ours = [nib.as_closest_canonical(nib.load(path)) for path in sorted(tmp_path.rglob("*.nii"))]
    for path in sorted((CORPUS / name / "ref").glob("*.nii*")):
        reference = nib.as_closest_canonical(nib.squeeze_image(nib.load(path)))
        assert any(agree(volume, reference) for volume in ours), path.name


def agree(volume: nib.Nifti1Image, reference: nib.Nifti1Image) -> bool:
    """Same grid, and the same values up to the scale and offset that vendors' private rescaling leaves open."""
    if volume.shape != reference.shape or not np.allclose(volume.affine, reference.affine, atol=0.05):
        return False
    mine, theirs = volume.get_fdata().ravel(), reference.get_fdata().ravel()
    slope, offset = np.polyfit(mine, theirs, 1)
    return bool(np.abs(mine * slope + offset - theirs).max() <= 2e-3 * np.ptp(theirs))
