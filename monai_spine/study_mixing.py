"""Batches in which studies lend each other levels and halves, with the labels that belong to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_spine.crops import View
from monai_spine.crops.view import ABSENT
from monai_spine.geometry import Plane
from monai_spine.spine import FINDINGS, MISSING, Level, Side

_LEVELS = tuple(Level)
_OF_LEVEL = torch.tensor([_LEVELS.index(finding.level) for finding in FINDINGS])
_RIGHT = torch.tensor([finding.condition.side is Side.RIGHT for finding in FINDINGS])
_MIDDLE = torch.tensor([finding.condition.side is None for finding in FINDINGS])


class StudyMixing:
    """Prepares a trainer's batch: what MONAI's engines take as ``prepare_batch``.

    Every mixture keeps labels true: a borrowed level brings its five labels; a borrowed right half its right ones, and
    the label of the canal counts only if both studies have the same ("sequence cutmix" of the RSNA 2024 winners).

    Parameters
    ----------
    views
        In the order of the slices in ``image``; see `LevelStackd`.
    level
        Probability that a level comes from another study of the batch.
    half
        Probability that the right half of a level comes from another study.
    hole
        Probability that a slice loses a square of half its side (coarse dropout); it becomes 0, which is dark tissue.
    """

    def __init__(self, *, views: Sequence[View], level: float = 0.0, half: float = 0.0, hole: float = 0.0) -> None:
        for name, share in (("level", level), ("half", half), ("hole", hole)):
            if not 0 <= share <= 1:
                raise ValueError(f"expected {name} from 0 to 1, but given {share}")
        self.views, self.level, self.half, self.hole = tuple(views), level, half, hole

    def __call__(
        self, batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``image`` ``(batch, 5, slices, rows, columns)`` and ``label`` ``(batch, 25)`` on the device."""
        image, label = (
            torch.as_tensor(batch[key]).to(device=device, non_blocking=non_blocking) for key in ("image", "label")
        )
        image, label = self._levels(image, label)
        image, label = self._halves(image, label)
        return self._holes(image), label

    def _levels(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        taken, other = self._drawn(image, self.level)
        image = torch.where(taken[:, :, None, None, None], image[other], image)
        return image, torch.where(taken[:, _OF_LEVEL.to(taken.device)], label[other], label)

    def _halves(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        taken, other = self._drawn(image, self.half)
        lent = image[other]
        mixed = torch.where(self._right_half(image), lent, image)
        half_there = (_absent(image) | _absent(lent)) & ~self._whole_slices(image)
        mixed = torch.where(half_there, torch.full_like(mixed, ABSENT), mixed)
        image = torch.where(taken[:, :, None, None, None], mixed, image)
        right, middle = _RIGHT.to(label.device), _MIDDLE.to(label.device)
        theirs = label[other]
        canal = torch.where(theirs == label, label, torch.full_like(label, MISSING))
        mixture = torch.where(right, theirs, torch.where(middle, canal, label))
        return image, torch.where(taken[:, _OF_LEVEL.to(taken.device)], mixture, label)

    def _drawn(self, image: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Which levels ``(batch, 5)`` are mixed, and with which study of the batch ``(batch,)``."""
        count = len(image)
        taken = torch.rand(count, len(_LEVELS), device=image.device) < share
        return taken, torch.arange(count, device=image.device).roll(1)

    def _right_half(self, image: torch.Tensor) -> torch.Tensor:
        """Where the patient's right is, ``(slices, rows, columns)``.

        Sagittal slices run from left to right; columns of axial ones run to the left. See `View`.
        """
        parts = []
        rows, columns = image.shape[-2:]
        for view in self.views:
            half = torch.zeros(view.slices, rows, columns, dtype=torch.bool, device=image.device)
            if view.plane is Plane.SAGITTAL:
                half[(view.slices + 1) // 2 :] = True
            else:
                half[:, :, : columns // 2] = True
            parts.append(half)
        return torch.cat(parts)

    def _whole_slices(self, image: torch.Tensor) -> torch.Tensor:
        """Slices that belong to one half as a whole, ``(slices, 1, 1)``."""
        whole = [view.plane is Plane.SAGITTAL for view in self.views for _ in range(view.slices)]
        return torch.tensor(whole, device=image.device)[:, None, None]

    def _holes(self, image: torch.Tensor) -> torch.Tensor:
        if self.hole <= 0:
            return image
        shape, (rows, columns) = image.shape[:3], image.shape[-2:]
        top = (torch.rand(shape, device=image.device) * rows / 2).long()[..., None, None]
        left = (torch.rand(shape, device=image.device) * columns / 2).long()[..., None, None]
        y = torch.arange(rows, device=image.device)[:, None]
        x = torch.arange(columns, device=image.device)
        inside = (y >= top) & (y < top + rows // 2) & (x >= left) & (x < left + columns // 2)
        struck = (torch.rand(shape, device=image.device) < self.hole)[..., None, None]
        return torch.where(inside & struck & (image != ABSENT), torch.zeros_like(image), image)


def _absent(image: torch.Tensor) -> torch.Tensor:
    """Slices that are not there, ``(batch, 5, slices, 1, 1)``."""
    return (image == ABSENT).all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
