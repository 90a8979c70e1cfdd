from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_spine.errors import InvalidImageError, MissingInputError
from monai_spine.images.data import pixels
from monai_spine.images.data.pixels import Mode, read_image, read_pixels

ROWS, COLUMNS = 20, 32
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (ROWS, COLUMNS), dtype=np.uint16)


def saved(path: Path, values: np.ndarray | Image.Image, **options: object) -> Path:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_lossless_files_keep_their_values(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, COLOUR)
    assert np.array_equal(read_pixels(path, Mode.COLOUR), COLOUR.transpose(2, 0, 1))
    grey = read_pixels(saved(tmp_path / f"grey_{name}", GREY), Mode.GREY)
    assert np.array_equal(grey, GREY[None])
    assert (grey.dtype, grey.flags.c_contiguous, grey.flags.writeable) == (np.uint8, True, True)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bits_keep_their_precision_on_the_scale_of_8(tmp_path: Path, name: str) -> None:
    read = read_pixels(saved(tmp_path / name, DEEP), Mode.COLOUR)
    assert read.shape == (3, ROWS, COLUMNS)
    assert np.array_equal(np.rint(read[1].astype(np.float64) * 257), DEEP)


def test_floating_point_is_stretched_to_its_own_range(tmp_path: Path) -> None:
    values = RNG.normal(3, 50, (ROWS, COLUMNS)).astype(np.float32)
    read = read_pixels(saved(tmp_path / "f.tif", values), Mode.GREY)
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.allclose(read[0], expected, atol=1e-3)
    with pytest.raises(InvalidImageError, match="finite"):
        read_pixels(saved(tmp_path / "nan.tif", np.where(values > 3, np.nan, values).astype(np.float32)), Mode.GREY)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    alpha = np.full((ROWS, COLUMNS), 255, dtype=np.uint8)
    alpha[:, ::2] = 0
    path = saved(tmp_path / "t.png", np.dstack([COLOUR, alpha]))
    expected = np.where(alpha > 0, COLOUR.transpose(2, 0, 1), 0)
    assert np.array_equal(read_pixels(path, Mode.COLOUR), expected)


@pytest.mark.parametrize(("mode", "name"), [("P", "a.png"), ("1", "a.png"), ("CMYK", "a.jpg"), ("LA", "a.png")])
def test_rare_modes_are_read_as_pillow_shows_them(tmp_path: Path, mode: str, name: str) -> None:
    image = Image.fromarray(COLOUR).convert("L" if mode == "LA" else "RGB").convert(mode)
    path = saved(tmp_path / name, image)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read_pixels(path, Mode.COLOUR), expected)
    assert read_pixels(path, Mode.GREY).shape == (1, ROWS, COLUMNS)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_exif_turns_the_image_upright(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    path = saved(tmp_path / name, COLOUR, exif=exif)
    assert np.array_equal(read_pixels(path, Mode.COLOUR), np.rot90(COLOUR, -1).transpose(2, 0, 1))


def test_a_jpeg_is_decoded_small_but_not_below_the_requested_size(tmp_path: Path) -> None:
    smooth = Image.fromarray(GREY).resize((1600, 1000), Image.Resampling.BICUBIC)
    path = saved(tmp_path / "a.jpg", smooth.convert("RGB"), quality=95)
    reduced = read_pixels(path, Mode.COLOUR, size=224)
    assert reduced.shape == (3, 250, 400)
    whole = np.asarray(smooth.resize((400, 250), Image.Resampling.BOX), dtype=float)
    assert np.abs(reduced[0] - whole).mean() < 2
    assert read_pixels(path, Mode.GREY, size=900).shape == (1, 1000, 1600)


def test_images_that_need_too_much_memory_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 10_000)
    big = np.zeros((400, 400), dtype=np.uint8)
    with pytest.raises(InvalidImageError, match=r"at most 10,000 pixels .* found 400 x 400"):
        read_pixels(saved(tmp_path / "big.png", big), Mode.GREY)
    assert read_pixels(saved(tmp_path / "big.jpg", big), Mode.GREY, size=50).shape == (1, 50, 50)
    with pytest.raises(InvalidImageError, match="400 x 400"):
        read_pixels(saved(tmp_path / "progressive.jpg", big, progressive=True), Mode.GREY, size=50)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_files_that_are_cut_short_are_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, COLOUR)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InvalidImageError, match=f"{name}: .*(damaged|cut short)"):
        read_pixels(path, Mode.COLOUR)


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"hello", "begins like none of them")])
def test_files_that_are_no_images_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InvalidImageError, match=f"a.png: .*{message}"):
        read_pixels(path, Mode.GREY)
    with pytest.raises(MissingInputError, match="no file"):
        read_pixels(tmp_path / "b.png", Mode.GREY)


@pytest.mark.parametrize("others", [1, 2])
def test_pages_of_one_size_are_refused(tmp_path: Path, others: int) -> None:
    path = saved(tmp_path / "a.tif", GREY, save_all=True, append_images=[Image.fromarray(GREY)] * others)
    with pytest.raises(InvalidImageError, match=f"expected one image, but found {others + 1}"):
        read_pixels(path, Mode.GREY)


def test_a_smaller_second_page_is_a_preview_that_does_not_matter(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", GREY, save_all=True, append_images=[Image.fromarray(GREY[::2, ::2])])
    assert np.array_equal(read_pixels(path, Mode.GREY), GREY[None])


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_nifti_slices_have_the_radiological_orientation_however_they_are_stored(
    tmp_path: Path, signs: tuple[int, int], plane: str
) -> None:
    seen = GREY  # columns run to the patient's left (back), rows backwards (downwards)
    stored = seen.T[:: -signs[0], :: -signs[1]]
    axes = (0, 1, 2) if plane == "axial" else (1, 2, 0)
    affine = np.zeros((4, 4))
    affine[axes[0], 0], affine[axes[1], 1], affine[axes[2], 2], affine[3, 3] = signs[0] * 0.5, signs[1] * 0.5, 4, 1
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(stored[:, :, None].copy(), affine), path)
    assert np.array_equal(read_pixels(path, Mode.GREY)[0], seen)


def test_a_nifti_of_two_axes_is_a_slice_as_one_of_three(tmp_path: Path) -> None:
    flat, deep = tmp_path / "flat.nii", tmp_path / "deep.nii"
    nib.save(nib.Nifti1Image(GREY.T.copy(), np.diag([-1.0, -1.0, 1.0, 1.0])), flat)
    nib.save(nib.Nifti1Image(GREY.T[:, :, None].copy(), np.diag([-1.0, -1.0, 1.0, 1.0])), deep)
    assert np.array_equal(read_pixels(flat, Mode.COLOUR), np.stack([GREY] * 3))
    assert np.array_equal(read_pixels(flat, Mode.GREY), read_pixels(deep, Mode.GREY))


def test_a_nifti_of_16_bits_is_stretched_to_its_own_range(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.array([[[-100], [0]], [[100], [300]]], dtype=np.int16), np.eye(4)), path)
    read = read_pixels(path, Mode.GREY)
    assert sorted(read.ravel().tolist()) == [0, 63.75, 127.5, 255]
    assert read.dtype == np.float32


def test_a_large_nifti_is_refused_by_its_number_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(GREY[:, :, None].copy(), np.eye(4)), path)
    monkeypatch.setattr(pixels, "MAX_PIXELS", ROWS * COLUMNS)
    assert read_pixels(path, Mode.GREY).shape == (1, COLUMNS, ROWS)
    monkeypatch.setattr(pixels, "MAX_PIXELS", ROWS * COLUMNS - 1)
    with pytest.raises(InvalidImageError, match="expected one grey slice"):
        read_pixels(path, Mode.GREY)


def test_a_volume_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.uint8), np.eye(4)), path)
    with pytest.raises(InvalidImageError, match="expected one grey slice"):
        read_pixels(path, Mode.GREY)


def test_files_of_one_sample_are_its_channels(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.png", GREY + n) for n in range(3)]
    assert np.array_equal(read_image(files, Mode.COLOUR), np.stack([GREY, GREY + 1, GREY + 2]))
    other = saved(tmp_path / "other.png", GREY[:-1])
    with pytest.raises(InvalidImageError, match=r"other.png: expected 32 x 20 .* found 32 x 19"):
        read_image([files[0], other], Mode.COLOUR)
