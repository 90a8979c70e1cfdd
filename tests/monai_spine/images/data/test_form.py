from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_spine.errors import InvalidImageError, InvalidOptionError
from monai_spine.images.data.form import Fit, ImageForm, Intensity, _fitted


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    pixels=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    fit=st.sampled_from(list(Fit)),
)
def test_an_even_image_comes_in_the_size_asked_for_and_stays_even(shape: tuple, pixels: tuple, fit: Fit) -> None:
    fitted = _fitted(np.full(shape, 77, dtype=np.uint8), pixels, fit)
    assert fitted.shape == (*pixels, shape[0])
    assert set(np.unique(fitted)) <= ({0, 77} if fit is Fit.PAD else {77})
    assert (fitted == 77).any()


def test_padding_keeps_proportions_and_cropping_keeps_the_middle() -> None:
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
    given = ImageForm(channels=1, pixels=(32, 32)).read(files)
    stretched = ImageForm(channels=1, pixels=(32, 32), intensity=Intensity.PERCENTILES).read(files)
    assert given.dtype == np.float16
    assert np.allclose(given[..., 0], values / 257, rtol=1e-3, atol=0.02)
    assert given.max() < 16
    assert stretched.min() == 0
    assert stretched.max() == 255
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(stretched.ravel()[order].astype(float)) >= 0).all()


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


def test_words_and_numbers_that_mean_nothing_are_refused() -> None:
    for wrong in ({"fit": "squeeze"}, {"intensity": "loud"}, {"pixels": (0, 4)}, {"channels": 0}, {"pixels": 4}):
        with pytest.raises(InvalidOptionError):
            ImageForm(**wrong)
