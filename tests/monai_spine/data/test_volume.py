import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_spine.data.volume import open_volume, read_slice, read_volume, slice_axis, slice_geometry, stored_voxels
from monai_spine.errors import InvalidVolumeError, MissingInputError, NoAffineError, TwoAffinesError
from monai_spine.geometry import Plane, plane_of, to_voxel, to_world
from tests.cohorts import write_volume


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_volume(tmp_path / "a.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1, 2, 3, 1.0]))


def test_voxels_and_affine_are_nibabels(path: Path) -> None:
    volume, image = read_volume(path), nib.load(path)
    assert np.array_equal(volume.voxels, image.get_fdata())
    assert np.array_equal(volume.affine, image.affine)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"gone\.nii"):
        read_volume(tmp_path / "gone.nii")


def test_a_file_cut_short_is_refused(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (30, 30, 30)).astype(np.int16)
    write_volume(path, noise, np.eye(4))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InvalidVolumeError, match="damaged or cut short"):
        read_volume(path)


def test_an_uncompressed_file_cut_short_is_refused(path: Path) -> None:
    short = path.with_name("short.nii")
    short.write_bytes(gzip.decompress(path.read_bytes())[:-10])
    with pytest.raises(InvalidVolumeError, match="damaged or cut short"):
        read_volume(short)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish" * 100, gzip.compress(b"rubbish" * 100)], ids=["empty", "rubbish", "gzip"]
)
def test_what_is_no_nifti_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidVolumeError, match="expected a NIfTI volume"):
        open_volume(path)


def test_a_4d_file_is_refused_with_its_shape(path: Path) -> None:
    write_volume(path, np.zeros((2, 3, 4, 5), dtype=np.int16), np.eye(4))
    with pytest.raises(InvalidVolumeError, match=r"\(2, 3, 4, 5\)"):
        open_volume(path)


def test_a_flat_affine_is_refused(path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 3, 4), dtype=np.int16), None)
    image.header.set_sform(np.diag([1, 1, 0, 1.0]), code=1)
    nib.save(image, path)
    with pytest.raises(InvalidVolumeError, match="determinant"):
        open_volume(path)


def test_voxels_that_are_not_numbers_are_refused(path: Path) -> None:
    write_volume(path, np.full((2, 3, 4), np.nan, dtype=np.float32), np.eye(4))
    with pytest.raises(InvalidVolumeError, match="finite"):
        read_volume(path)


@pytest.mark.parametrize("size", [0, -3])
def test_an_axis_without_voxels_is_refused(path: Path, size: int) -> None:
    whole = bytearray(nib.load(path).to_bytes())
    whole[42:44] = np.int16(size).tobytes()  # dim[1]
    target = path.with_name("empty.nii")
    target.write_bytes(whole)
    with pytest.raises(InvalidVolumeError, match="3-D volume"):
        read_volume(target)


SAGITTAL = np.array([[0, 0, -4.0, 16], [-0.6, 0, 0, 90], [0, -0.6, 0, 100], [0, 0, 0, 1]])


def sagittal(path: Path, shape: tuple[int, ...] = (9, 11, 5), affine: np.ndarray = SAGITTAL) -> nib.Nifti1Image:
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    write_volume(path, voxels, affine)
    return nib.load(path)


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR", "SAL", "ARS"])
def test_slices_follow_the_coarsest_axis_however_the_volume_is_turned(tmp_path: Path, codes: str) -> None:
    image = sagittal(tmp_path / "stored.nii.gz")
    order = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(SAGITTAL), nib.orientations.axcodes2ornt(codes)
    )
    path = tmp_path / "turned.nii.gz"
    nib.save(image.as_reoriented(order), path)
    affine, shape = slice_geometry(open_volume(path))
    assert (plane_of(affine), shape[2]) == (Plane.SAGITTAL, 5)
    volume = read_volume(path)
    assert volume.voxels.shape == shape
    world = to_world(SAGITTAL, [4, 7, 3])
    turned = np.rint(to_voxel(volume.affine, world)).astype(int)
    assert volume.voxels[tuple(turned)] == image.dataobj[4, 7, 3]
    one = read_slice(path, int(turned[2]))
    assert np.array_equal(one.voxels[..., 0], volume.voxels[..., turned[2]])
    assert np.allclose(to_world(one.affine, [turned[0], turned[1], 0]), world)


def test_without_a_coarsest_axis_the_stated_one_counts(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii.gz", np.ones((4, 5, 6), dtype=np.int16), np.eye(4))
    image = open_volume(path)
    assert slice_axis(image) == 2
    assert slice_axis(image, Plane.SAGITTAL) == 0
    image.header.set_dim_info(slice=1)
    assert slice_axis(image) == 1
    assert slice_axis(image, Plane.AXIAL) == 2


def test_a_volume_without_qform_and_sform_is_refused(path: Path) -> None:
    image = nib.load(path)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(voxels, None, image.header), path)
    with pytest.raises(NoAffineError, match="qform_code is 0 and sform_code 0"):
        open_volume(path)


@pytest.mark.parametrize(("shift", "refused"), [(0.99, False), (1.01, True)])
def test_qform_and_sform_may_differ_by_a_millimetre(tmp_path: Path, shift: float, refused: bool) -> None:
    image = sagittal(tmp_path / "a.nii.gz")
    moved = SAGITTAL.copy()
    moved[1, 3] += shift
    image.set_sform(SAGITTAL, 1)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "b.nii.gz")
    if refused:
        with pytest.raises(TwoAffinesError, match=r"one corner 1\.0 mm apart"):
            open_volume(tmp_path / "b.nii.gz")
    else:
        open_volume(tmp_path / "b.nii.gz")


def test_a_mirrored_qform_is_named(tmp_path: Path) -> None:
    image = sagittal(tmp_path / "a.nii.gz")
    image.set_sform(SAGITTAL, 1)
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ SAGITTAL, 1)
    nib.save(image, tmp_path / "b.nii.gz")
    with pytest.raises(TwoAffinesError, match="mirror image"):
        open_volume(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(
    ("change", "message"), [((0, 3, np.nan), "finite"), ((0, 3, np.inf), "finite"), ((2, 2, 1e6), "millimetre")]
)
def test_an_impossible_place_is_refused(path: Path, change: tuple[int, int, float], message: str) -> None:
    row, column, value = change
    image = nib.load(path)
    affine = image.affine.copy()
    affine[row, column] = value
    changed = nib.Nifti1Image(np.asarray(image.dataobj), None)
    changed.header.set_sform(affine, code=1)
    nib.save(changed, path)
    with pytest.raises(InvalidVolumeError, match=message):
        open_volume(path)


def test_one_volume_over_time_is_a_volume(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), path.with_name("time.nii.gz"))
    other = path.with_name("time.nii.gz")
    assert np.array_equal(read_volume(other).voxels, read_volume(path).voxels)
    assert np.array_equal(stored_voxels(open_volume(other), other), image.dataobj)


def test_a_packed_file_needs_no_gz_in_its_name(path: Path) -> None:
    packed = path.with_name("packed.nii")
    packed.write_bytes(path.read_bytes())
    assert np.array_equal(read_volume(packed).voxels, read_volume(path).voxels)
    assert np.array_equal(read_slice(packed, 1).voxels, read_slice(path, 1).voxels)
    assert np.array_equal(stored_voxels(open_volume(packed), packed), nib.load(path).dataobj)
    upper = path.with_name("A.NII.GZ")
    upper.write_bytes(path.read_bytes())
    assert np.array_equal(read_volume(upper).voxels, read_volume(path).voxels)


def test_a_volume_in_two_files_says_what_to_do(path: Path) -> None:
    image = nib.load(path)
    pair = path.with_name("a.img")
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), pair)
    with pytest.raises(InvalidVolumeError, match=r"join them into one \.nii\.gz"):
        open_volume(pair)


def test_colours_are_named_and_not_called_damage(tmp_path):
    colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii.gz")
    with pytest.raises(InvalidVolumeError, match=r"expected numbers as voxels, but found colours \(R, G, B\)"):
        read_volume(tmp_path / "rgb.nii.gz")
