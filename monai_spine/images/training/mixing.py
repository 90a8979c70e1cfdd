"""Mixing of the images of a batch, and of their labels, with each other."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN


class ImageMixing:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).

    A batch is mixed with itself in reverse order, with one share for the whole batch, drawn from Beta(alpha, alpha).
    Labels become shares of classes. With several labels an image, a label that is unknown in one of the two images is
    unknown in the mixture.

    ``mixup``, ``cutmix``: alpha of each; 0 for none. With both, one of them is drawn for each batch.
    ``probability``: probability that a batch is mixed.
    Raises `InvalidOptionError` if a number is out of its range.
    """

    def __init__(self, *, classes: int, mixup: float = 0.0, cutmix: float = 0.0, probability: float = 1.0) -> None:
        if min(mixup, cutmix) < 0 or not 0 <= probability <= 1:
            raise InvalidOptionError(
                "expected mixup and cutmix from 0 and a probability from 0 to 1, "
                f"but found {mixup}, {cutmix} and {probability}"
            )
        self.classes, self.probability = classes, probability
        self.kinds = [(alpha, made) for alpha, made in ((mixup, _blended), (cutmix, _patched)) if alpha > 0]

    def __call__(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixed images ``(batch, channels, rows, columns)`` and shares of labels ``(batch, classes)``.

        If nothing is mixed, labels keep their shape, ``(batch,)`` or ``(batch, classes)``.
        """
        if not self.kinds or torch.rand(()) >= self.probability:
            return image, label
        alpha, mix = self.kinds[int(torch.randint(len(self.kinds), ()))]
        image, share = mix(image, float(torch.distributions.Beta(alpha, alpha).sample()))
        return image, self._shares(label, share)

    def _shares(self, label: torch.Tensor, share: float) -> torch.Tensor:
        shares = (one_hot(label, self.classes) if label.ndim == 1 else label).float()
        other = shares.flip(0)
        mixed = share * shares + (1 - share) * other
        return mixed.masked_fill((shares == UNKNOWN) | (other == UNKNOWN), UNKNOWN)


def _blended(image: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    return share * image + (1 - share) * image.flip(0), share


def _patched(image: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    """Images with a rectangle from the other image, and the share of pixels that stays: the edge cuts the rectangle."""
    rows, columns = image.shape[-2:]
    side = (1 - share) ** 0.5
    (top, bottom), (left, right) = (_span(n, side) for n in (rows, columns))
    mixed = image.clone()
    mixed[..., top:bottom, left:right] = image.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (rows * columns)


def _span(length: int, share: float) -> tuple[int, int]:
    middle, half = int(torch.randint(length, ())), round(length * share / 2)
    return max(0, middle - half), min(length, middle + half)
