"""The parts of `LevelGrader` that read a view of a level: its slices as a sequence, or as one volume."""

from __future__ import annotations

import torch
from monai.networks.nets import ResNet
from torch import nn

from monai_spine.errors import InvalidOptionError
from monai_spine.networks.slice_pooling import SlicePooling

SEQUENCES = ("mean", "lstm", "transformer")

_POSITION = 0.5
"""Initial standard deviation of the position vectors of slices: that of projected features, so that a condition can
attend to one side from the start. On 240 phantoms, 7 epochs reached a score of .499; with .02, 10 epochs reached .513
(one run each)."""


class ViewReader(nn.Module):
    """From the features of a view's slices to a token for each condition."""

    def __init__(
        self,
        width: int,
        slices: int,
        *,
        features: int,
        sequence: str,
        pooling: str,
        dropout: float,
        tokens: int,
        validity: bool,
    ) -> None:
        super().__init__()
        if sequence not in SEQUENCES:
            raise InvalidOptionError(f"expected sequence out of {SEQUENCES}, but found {sequence!r}")
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, features))
        self.position = nn.Parameter(torch.randn(slices, features) * _POSITION)
        self.sequence: nn.Module | None = None
        if sequence == "lstm":
            self.sequence = _BothWays(features)
        elif sequence == "transformer":
            self.sequence = _Attentive(features, dropout)
        self.pool = SlicePooling(pooling, features, queries=tokens, validity=validity)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(n, conditions, features)`` and weights ``(n, conditions, slices)`` of ``(n, slices, width)``."""
        there = mask[:, :, None]
        # where, not a product: a backbone that sees nothing but absent slices may give features that are not finite
        features = torch.where(there, features, torch.zeros_like(features))
        tokens = (self.project(features) + self.position) * there
        if self.sequence is not None:
            tokens = tokens + self.sequence(tokens, mask) * there
        pooled: tuple[torch.Tensor, torch.Tensor] = self.pool(tokens, mask)
        return pooled


class VolumeReader(nn.Module):
    """From the slices of a view of a level, as one volume, to a token for each condition or grade."""

    def __init__(self, features: int, tokens: int) -> None:
        super().__init__()
        # Without an early stride: a crop has few slices. GroupNorm: a batch has few studies.
        self.body = ResNet(
            "basic",
            [1, 1, 1, 1],
            [16, 32, 64, 128],
            n_input_channels=1,
            conv1_t_size=(3, 7, 7),  # type: ignore[arg-type]  # MONAI's annotation is tuple[int]
            conv1_t_stride=(1, 2, 2),  # type: ignore[arg-type]
            no_max_pool=True,
            feed_forward=False,
            norm=("group", {"num_groups": 8}),
        )
        self.project = nn.Linear(128, tokens * features)
        self.tokens = tokens

    def forward(self, stack: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens ``(n, tokens, features)`` of slices ``(n, slices, rows, columns)``; absent ones are 0."""
        volume = torch.where(mask[:, :, None, None], stack, torch.zeros_like(stack))[:, None]
        return self.project(self.body(volume).flatten(1)).unflatten(1, [self.tokens, -1])


class _BothWays(nn.Module):
    """A bidirectional LSTM over the slices; absent ones are zeros."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, features // 2, batch_first=True, bidirectional=True)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens of the same shape."""
        read: torch.Tensor = self.lstm(tokens * mask[:, :, None])[0]
        return read


class _Attentive(nn.Module):
    """Two layers of a transformer over the slices, which do not attend to absent ones."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = transformer(features, 2, dropout)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens of the same shape."""
        # softmax over no slice at all is not a number, so a sequence without any attends to all of them
        nothing = ~mask.any(dim=1, keepdim=True)
        read: torch.Tensor = self.layers(tokens, src_key_padding_mask=~(mask | nothing))
        return read


def transformer(features: int, layers: int, dropout: float) -> nn.TransformerEncoder:
    """Layers of a transformer over tokens ``(n, tokens, features)``."""
    layer = nn.TransformerEncoderLayer(
        features, 4, 2 * features, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
