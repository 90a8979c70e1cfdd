"""Labels as shares of grades: what is left of two studies' labels when their images are mixed."""

from __future__ import annotations

import torch

from monai_spine.spine import Grade


def soft_labels(labels: torch.Tensor) -> torch.Tensor:
    """Shares ``(batch, 25, 3)`` of the grades, float32; those of a label that is missing are 0.

    Parameters
    ----------
    labels
        ``(batch, 25)`` of 0, 1, 2 or `MISSING`, or shares already.
    """
    if labels.ndim == 3:
        return labels.float()
    return (labels[..., None] == torch.arange(len(Grade), device=labels.device)).float()


def blended(labels: torch.Tensor, others: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Soft labels ``(batch, 25, 3)`` of which a share ``(batch, 25)`` is the others'; missing where one is missing."""
    both = (labels.sum(dim=-1) > 0) & (others.sum(dim=-1) > 0)
    part = torch.where(both, share, torch.zeros_like(share))[..., None]
    return torch.where(((share == 0) | both)[..., None], torch.lerp(labels, others, part), torch.zeros_like(labels))


def worst(labels: torch.Tensor) -> torch.Tensor:
    """Shares ``(batch, 3)`` of a study's worst grade from soft labels ``(batch, levels, 3)``.

    A study is as likely to be "severe" or worse than "normal/mild" as its likeliest level: that is how the competition
    reads a prediction, so that one answer can meet both the labels of the levels and this one.
    """
    at_least = labels.flip(-1).cumsum(dim=-1).flip(-1).amax(dim=1)
    return at_least - torch.nn.functional.pad(at_least[:, 1:], (0, 1))
