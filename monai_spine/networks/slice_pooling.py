"""Pools a sequence of slices into one token for each condition."""

from typing import ClassVar

import torch
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
