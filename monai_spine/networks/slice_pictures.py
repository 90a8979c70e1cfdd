"""From the slices of a view to the pictures that a backbone reads, and the features of those that are seen.

Slices that are absent are not seen. TorchScript compiles these functions as parts of `LevelGrader`.
"""

from __future__ import annotations

import torch
from torch import nn


def pictures_of(stack: torch.Tensor, seen: torch.Tensor, *, neighbours: bool) -> torch.Tensor:
    """A backbone's input, ``(n, slices, channels, rows, columns)``, of slices ``(n, slices, rows, columns)``.

    Slices that are not ``seen`` ``(n, slices)`` are 0. With ``neighbours``, a slice has three channels.
    """
    pictures = torch.where(seen[:, :, None, None], stack, torch.zeros_like(stack))[:, :, None]
    return _with_neighbours(pictures, seen) if neighbours else pictures


def _with_neighbours(pictures: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Slices ``(n, slices, 1, rows, columns)`` with those before and after as channels, itself where there is none."""
    before = torch.cat([pictures[:, :1], pictures[:, :-1]], dim=1)
    after = torch.cat([pictures[:, 1:], pictures[:, -1:]], dim=1)
    has_before = torch.cat([mask[:, :1], mask[:, :-1]], dim=1)[:, :, None, None, None]
    has_after = torch.cat([mask[:, 1:], mask[:, -1:]], dim=1)[:, :, None, None, None]
    return torch.cat(
        [torch.where(has_before, before, pictures), pictures, torch.where(has_after, after, pictures)], dim=2
    )


def standardised(stack: torch.Tensor, seen: torch.Tensor, levels: int) -> torch.Tensor:
    """A view ``(batch * levels, slices, rows, columns)``; each study with a mean of .5 and a deviation of .25.

    Only slices that are ``seen`` ``(batch * levels, slices)`` count, and only they change.
    """
    of_study = [-1, levels * stack.shape[1]]
    weight = seen.to(stack.dtype)
    total = weight.reshape(of_study).sum(dim=1).clamp(min=1.0)
    mean = (stack.mean(dim=(2, 3)) * weight).reshape(of_study).sum(dim=1) / total
    square = ((stack * stack).mean(dim=(2, 3)) * weight).reshape(of_study).sum(dim=1) / total
    deviation = (square - mean * mean).clamp(min=1e-6).sqrt()
    mean = mean[:, None].repeat(1, levels).reshape(-1, 1, 1, 1)
    deviation = deviation[:, None].repeat(1, levels).reshape(-1, 1, 1, 1)
    return torch.where(seen[:, :, None, None], 0.5 + 0.25 * (stack - mean) / deviation, stack)


def features_of_seen(body: nn.Module, pictures: torch.Tensor, seen: torch.Tensor, *, width: int) -> torch.Tensor:
    """Features ``(n, width)`` of ``(n, channels, rows, columns)``; 0 for pictures that are not ``seen`` ``(n,)``."""
    # Exported and compiled networks need a fixed number of pictures, so that all of them go through the body.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        features: torch.Tensor = body(pictures)
        return features
    chosen = torch.nonzero(seen)[:, 0]
    if len(chosen) == 0:
        # DistributedDataParallel waits for a gradient of every parameter, so there is one of 0
        nothing = sum((parameter.sum() * 0.0 for parameter in body.parameters()), pictures.new_zeros(()))
        return nothing.expand(len(pictures), width)
    several = chosen if len(chosen) > 1 else chosen.repeat(2)  # batch normalisation of a single value is an error
    of_chosen: torch.Tensor = body(pictures[several])[: len(chosen)]
    return of_chosen.new_zeros(len(pictures), of_chosen.shape[1]).index_copy(0, chosen, of_chosen)
