"""The parts of `LevelGrader` that read a view of a level: its slices as a sequence, or as one volume."""

from __future__ import annotations

from typing import ClassVar

import torch
from monai.networks.nets import ResNet
from torch import nn

from monai_spine.errors import InvalidOptionError


class SlicePooling(nn.Module):
    """Pools slices without those that are absent.

    Parameters
    ----------
    method
        ``mean`` and ``max`` pool alike for all queries. ``attention`` weighs the slices for each query by
        ``w tanh(V h)``, ``gated`` by ``w (tanh(V h) * sigmoid(U h))`` (Ilse et al. 2018, arXiv:1802.04712, equations 8
        and 9; one set of weights for each query as in CLAM, Lu et al. 2021, doi:10.1038/s41551-020-00682-w).
    features
        Size of a token.
    queries
        Number of tokens to pool into, such as one for each condition.
    validity
        Whether a head learns, from the grades alone, which slices show what a query asks for. It multiplies their
        weights by a number from 0 to 1, so that a sequence without any such slice has a small token.

    Raises
    ------
    InvalidOptionError
        If there is no such method.
    """

    METHODS: ClassVar[tuple[str, ...]] = ("mean", "max", "attention", "gated")

    def __init__(self, method: str, features: int, *, queries: int, validity: bool = False) -> None:
        super().__init__()
        if method not in self.METHODS:
            raise InvalidOptionError(f"expected pooling out of {self.METHODS}, but found {method!r}")
        self.method, self.queries = method, queries
        # The names of the layers are keys of the shipped weights.
        hidden = max(16, features // 2)
        self.look = nn.Linear(features, hidden) if method in ("attention", "gated") else None
        self.gate = nn.Linear(features, hidden) if method == "gated" else None
        self.weigh = nn.Linear(hidden, queries) if method in ("attention", "gated") else None
        self.valid = nn.Linear(features, queries) if validity else None
        self.answer = nn.Linear(features, queries * features)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(n, queries, features)`` and weights ``(n, queries, slices)`` of tokens ``(n, slices, features)``.

        ``mask`` ``(n, slices)`` is True where there is a slice. The weights of a sequence without any slice are 0.
        """
        weights = self._weights(tokens, mask)
        if self.valid is not None:
            weights = weights * torch.sigmoid(self.valid(tokens)).transpose(1, 2)
        if self.method == "max":
            most = tokens.masked_fill(~mask[:, :, None], _lowest(tokens)).amax(dim=1)
            pooled = torch.where(mask.any(dim=1, keepdim=True), most, torch.zeros_like(most))
            pooled = pooled[:, None].expand(-1, self.queries, -1)
        else:
            pooled = weights @ tokens
        matrix = self.answer.weight.view(self.queries, pooled.shape[-1], pooled.shape[-1])
        answers = torch.einsum("nqf,qgf->nqg", pooled, matrix) + self.answer.bias.view(self.queries, -1)
        return answers, weights

    def _weights(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.look is None or self.weigh is None:
            scores = torch.zeros_like(mask, dtype=tokens.dtype)[:, None].expand(-1, self.queries, -1)
        else:
            hidden = torch.tanh(self.look(tokens))
            if self.gate is not None:
                hidden = hidden * torch.sigmoid(self.gate(tokens))
            scores = self.weigh(hidden).transpose(1, 2)
        # not -inf: softmax over nothing but -inf is not a number, also in the gradient
        return torch.softmax(scores.masked_fill(~mask[:, None], _lowest(tokens)), dim=-1) * mask[:, None]


def _lowest(tokens: torch.Tensor) -> float:
    """The lowest number of the tokens' type."""
    if torch.jit.is_scripting():  # TorchScript has no finfo; exported networks compute in float32
        return -3.4028234663852886e38
    return torch.finfo(tokens.dtype).min


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
