"""The contact sheet: a tile for every plane that is shown."""

import numpy as np
import torch

from monai_spine.crops.contact_sheet import contact_sheet
from monai_spine.spine import Level
from tests.monai_spine.transforms.test_level_crops import VIEWS


def crops(covered: bool = True) -> dict:
    given: dict = {}
    for n, view in enumerate(VIEWS):
        given[view.name] = torch.full((5, *view.shape), 0.5)
        given[f"{view.name}_mask"] = torch.full((5, view.slices), covered)
        given[f"{view.name}_series"] = torch.full((5,), n if covered else -1)
    return given


def test_every_level_and_plane_has_its_tile_in_the_proportions_of_its_mm() -> None:
    sheet = np.asarray(contact_sheet(crops(), VIEWS, per_view=3, side=40))
    grey = (sheet == round(0.5**0.8 * 255)).all(axis=2) | (sheet == int(0.5**0.8 * 255)).all(axis=2)
    widths = [round(40 * view.size_mm[1] / view.size_mm[0]) for view in VIEWS]
    assert grey.sum() == 5 * sum(3 * (width - 2) * 38 for width in widths)
    assert len(sheet) == 40 * len(Level) + 40


def test_what_is_not_covered_does_not_look_like_tissue() -> None:
    sheet = np.asarray(contact_sheet(crops(covered=False), VIEWS, side=40)).astype(int)
    tile = sheet[44:74, 60:80]
    assert (np.ptp(tile, axis=2) > 10).any()
    assert not np.array_equal(sheet, np.asarray(contact_sheet(crops(), VIEWS, side=40)))
