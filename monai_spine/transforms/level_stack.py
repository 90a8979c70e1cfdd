"""The transform that joins the crops of a study to the one tensor that a grader takes; it follows `LevelCropsd`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import MISSING, Condition


class LevelStackd(MapTransform):
    """Concatenate the slices of all views of a level.

    Expects what `LevelCropsd` leaves: for each view ``NAME`` ``(5, slices, rows, columns)`` and ``NAME_mask``
    ``(5, slices)``, and ``label`` ``(5, 5)`` of levels and conditions. Sets ``image``, float32 ``(5, slices of all
    views, rows, columns)`` with `ABSENT` in every pixel of a slice that no stack shows, and ``label``, int64 ``(25,)``
    in the order of `FINDINGS`. The views themselves are removed from the record.

    Parameters
    ----------
    views
        In the order in which the network takes them.
    conditions
        Names of the conditions whose labels count; labels of other conditions become `MISSING`. None for all.

    Raises
    ------
    InvalidOptionError
        If the views differ in rows or columns, or a condition is unknown.
    """

    def __init__(self, *, views: Sequence[View], conditions: Sequence[str] | None = None) -> None:
        super().__init__([view.name for view in views])
        sizes = {view.pixels for view in views}
        if len(sizes) != 1:
            raise InvalidOptionError(f"expected views of one size in pixels, but found {sorted(sizes)}")
        known = [condition.value for condition in Condition]
        if conditions is not None and not set(conditions) <= set(known):
            raise InvalidOptionError(f"expected conditions out of {known}, but found {list(conditions)}")
        self.left_out = [n for n, name in enumerate(known) if conditions is not None and name not in conditions]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Join the crops of a study."""
        record = dict(data)
        stacks = []
        for name in self.keys:
            crops, mask = torch.as_tensor(record.pop(name)), torch.as_tensor(record.pop(f"{name}_mask"))
            stacks.append(torch.where(mask[:, :, None, None], crops.clamp(0.0, 1.0), torch.tensor(ABSENT)))
        record["image"] = torch.cat(stacks, dim=1)
        if "label" in record:
            table = torch.as_tensor(record["label"]).clone()
            table[:, self.left_out] = MISSING
            record["label"] = table.T.flatten()
        return record
