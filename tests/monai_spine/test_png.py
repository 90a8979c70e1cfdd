"""PNG against Pillow, which reads what was written."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from monai_spine.png import png_bytes

SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))
SHAPES = SIZES | SIZES.map(lambda size: (*size, 3))


@given(arrays(np.uint8, SHAPES), st.booleans())
def test_pillow_reads_the_pixels_that_were_written(picture: np.ndarray, turned: bool) -> None:
    picture = picture[::-1, ::-1] if turned else picture  # whose memory runs backwards
    with Image.open(io.BytesIO(png_bytes(picture))) as image:
        image.verify()  # compares the checksums
    with Image.open(io.BytesIO(png_bytes(picture))) as image:
        assert image.mode == ("L" if picture.ndim == 2 else "RGB")
        assert np.array_equal(np.asarray(image), picture)
