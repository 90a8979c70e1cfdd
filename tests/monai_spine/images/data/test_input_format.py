from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_spine.errors import InvalidImageError, InvalidOptionError
from monai_spine.images.data.input_format import Fit, ImageForm, Intensity, _fitted


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    pixels=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    fit=st.sampled_from(list(Fit)),
)
def test_an_even_image_gets_the_requested_size_and_stays_even(shape: tuple, pixels: tuple, fit: Fit) -> None:
    fitted = _fitted(np.full(shape, 77, dtype=np.uint8), pixels, fit)
    assert fitted.shape == (*pixels, shape[0])
    assert set(np.unique(fitted)) <= ({0, 77} if fit is Fit.PAD else {77})
    assert (fitted == 77).any()


def test_padding_keeps_the_aspect_ratio_and_cropping_keeps_the_middle() -> None:
    image = np.zeros((1, 10, 40), dtype=np.uint8)
    image[:, :, 15:25] = 200
    padded, cropped = (_fitted(image, (20, 20), fit)[..., 0] for fit in (Fit.PAD, Fit.CROP))
    assert (padded[:7] == 0).all()
    assert (padded[-7:] == 0).all()
    assert (padded[8:12, 9:11] == 200).all()
    assert (cropped[:, 2:18] == 200).all()


def picture(path: Path, values: np.ndarray) -> list[str]:
    Image.fromarray(values).save(path)
    return [str(path)]


def test_percentiles_make_an_image_of_any_exposure_use_the_whole_scale(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (32, 32)).astype(np.uint16)
    files = picture(tmp_path / "deep.png", values)
    unscaled = ImageForm(channels=1, pixels=(32, 32)).read(files)
    stretched = ImageForm(channels=1, pixels=(32, 32), intensity=Intensity.PERCENTILES).read(files)
    assert unscaled.dtype == np.float16
    assert np.allclose(unscaled[..., 0], values / 257, rtol=1e-3, atol=0.02)
    assert unscaled.max() < 16
    assert stretched.min() == 0
    assert stretched.max() == 255
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(stretched.ravel()[order].astype(float)) >= 0).all()


def test_percentiles_stretch_an_image_of_little_contrast_and_leave_an_even_one_black(tmp_path: Path) -> None:
    values = np.linspace(1000, 1100, 64).astype(np.uint16).reshape(8, 8)
    form = ImageForm(channels=1, pixels=(8, 8), intensity="percentiles")
    stretched = form.read(picture(tmp_path / "flat.png", values))
    assert stretched.min() == 0
    assert stretched.max() == 255
    assert stretched[4, 4] == pytest.approx(255 * 36 / 63, abs=4)
    assert (form.read(picture(tmp_path / "even.png", np.full((8, 8), 9, np.uint8))) == 0).all()
    eight_bits = form.read(picture(tmp_path / "bytes.png", np.linspace(100, 130, 64).astype(np.uint8).reshape(8, 8)))
    assert (eight_bits.dtype, eight_bits.min(), eight_bits.max()) == (np.uint8, 0, 255)


def test_an_image_is_centred_within_a_pixel(tmp_path: Path) -> None:
    files = picture(tmp_path / "white.png", np.full((10, 20), 255, np.uint8))
    padded = ImageForm(channels=1, pixels=(20, 20)).read(files)[..., 0]
    assert np.flatnonzero(padded[:, 0]).tolist() == list(range(5, 15))
    bright = np.zeros((10, 20), np.uint8)
    bright[:, 5:15] = 255
    cropped = ImageForm(channels=1, pixels=(10, 10), fit="crop").read(picture(tmp_path / "middle.png", bright))
    assert (cropped == 255).all()


def test_a_line_keeps_one_pixel_of_its_shorter_side(tmp_path: Path) -> None:
    form = ImageForm(channels=1, pixels=(10, 10))
    wide = picture(tmp_path / "wide.png", np.full((1, 90), 255, np.uint8))
    high = picture(tmp_path / "high.png", np.full((90, 1), 255, np.uint8))
    assert (form.read(wide)[..., 0] > 0).sum(axis=0).tolist() == [1] * 10
    assert (form.read(high)[..., 0] > 0).sum(axis=1).tolist() == [1] * 10


def test_a_grey_file_per_channel_makes_an_image(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{n}.png", np.full((8, 8), 50 * n, np.uint8))[0] for n in range(2)]
    assert ImageForm(channels=2, pixels=(4, 4)).read(files)[0, 0].tolist() == [0, 50]
    with pytest.raises(InvalidImageError, match="expected 3 channels, but found 2"):
        ImageForm(channels=3, pixels=(4, 4)).read(files)


def test_whatever_changes_the_image_changes_the_key() -> None:
    forms = [
        ImageForm(),
        ImageForm(channels=1),
        ImageForm(pixels=(224, 225)),
        ImageForm(fit="crop"),
        ImageForm(intensity="percentiles"),
    ]
    assert len({form.key for form in forms}) == len(forms)
    assert ImageForm(pixels=[224, 224], fit="pad").key == forms[0].key


def test_unknown_words_and_impossible_numbers_are_refused() -> None:
    for wrong in ({"fit": "squeeze"}, {"intensity": "loud"}, {"pixels": (0, 4)}, {"channels": 0}, {"pixels": 4}):
        with pytest.raises(InvalidOptionError):
            ImageForm(**wrong)
    with pytest.raises(InvalidOptionError, match=r"^expected fit as 'pad' or 'crop' or 'stretch', but found 'padd'$"):
        ImageForm(fit="padd")
