import numpy as np
import pytest

from monai_spine.images.evaluation.contact_sheet import Tile, contact_sheet, displayed


def test_a_sheet_holds_every_tile_with_its_frame() -> None:
    picture = np.full((20, 10, 3), 128, np.uint8)
    right, wrong = (
        contact_sheet([Tile((picture,), ("x",), True)]),
        contact_sheet([Tile((picture,), ("x" * 99,), False)]),
    )
    assert right.shape == wrong.shape
    assert (right[4, 4] != wrong[4, 4]).any()
    assert right[4, 4].argmax() == 1
    assert wrong[4, 4].argmax() == 0
    many = contact_sheet([Tile((picture, picture), ("x", "y"), None)] * 7)
    assert many.shape[1] <= 1200
    assert (many == 128).all(axis=-1).sum() > 7 * 2 * 80 * 170


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_number_of_channels_can_be_displayed(channels: int) -> None:
    picture = displayed(np.linspace(-2, 3, channels * 12).reshape(channels, 3, 4))
    assert picture.shape == (3, 4, 3)
    assert picture.min() == 0
    assert (picture[..., 0] == picture[..., 1]).all() == (channels == 1)
