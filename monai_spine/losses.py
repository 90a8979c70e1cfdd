"""Losses that know missing labels and the competition's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.scoring import WEIGHTS
from monai_spine.spine import FINDINGS, MISSING, Grade, Group


class CompetitionLoss(nn.Module):
    """The competition's score as a loss on logits: three weighted cross-entropies and the any-severe-spinal term.

    For one batch it equals `monai_spine.scoring.competition_score` of the softmax of the logits (up to the parts'
    own weights). A label that is `MISSING` has no gradient; a part without any label in the batch is left out.

    Parameters
    ----------
    grade_weights
        Weight of a row whose grade is normal/mild, moderate, severe.
    any_severe
        Weight of the any-severe-spinal term against each of the other three; 0 leaves it out.
    label_smoothing
        As in `torch.nn.functional.cross_entropy`, for the three cross-entropies.
    focal
        Exponent by which rows that are nearly right count less (Lin et al. 2017, arXiv:1708.02002); 0 for none.
    ordinal
        Share of the three cross-entropies that is that of "moderate or worse" and of "severe", each against the rest,
        which minds how far off a grade is; 0 for none.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    weights: torch.Tensor

    def __init__(
        self,
        *,
        grade_weights: Sequence[float] = tuple(WEIGHTS),
        any_severe: float = 1.0,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        ordinal: float = 0.0,
    ) -> None:
        super().__init__()
        if len(grade_weights) != len(Grade):
            raise ValueError(f"expected {len(Grade)} grade weights, but given {len(grade_weights)}")
        self.register_buffer("weights", torch.tensor(grade_weights, dtype=torch.float32), persistent=False)
        if focal < 0 or not 0 <= ordinal <= 1:
            raise ValueError(f"expected focal of at least 0 and ordinal from 0 to 1, but given {focal} and {ordinal}")
        self.focal, self.ordinal = focal, ordinal
        self.any_severe = any_severe
        self.label_smoothing = label_smoothing
        self.columns = {
            group: [n for n, finding in enumerate(FINDINGS) if finding.condition.group is group] for group in Group
        }

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits ``(batch, 25, 3)`` against labels ``(batch, 25)`` of 0, 1, 2 or `MISSING`: a scalar."""
        logits = logits.float()
        weights = self.weights.to(logits.device)
        terms = [
            (1.0, self._group(logits[:, columns], labels[:, columns], weights)) for columns in self.columns.values()
        ]
        if self.any_severe > 0:
            spinal = self.columns[Group.SPINAL]
            terms.append((self.any_severe, _any_severe(logits[:, spinal], labels[:, spinal], weights)))
        held = [(weight, term) for weight, term in terms if term is not None]
        if not held:
            return logits.sum() * 0
        return torch.stack([weight * term for weight, term in held]).sum() / sum(weight for weight, _ in held)

    def _group(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
        known = labels != MISSING
        if not known.any():
            return None
        logits, grades = logits[known], labels[known].long()
        losses = cross_entropy(logits, grades, weight=weights, reduction="none", label_smoothing=self.label_smoothing)
        if self.focal > 0:
            losses = losses * (1 - logits.softmax(dim=-1).gather(1, grades[:, None])[:, 0]) ** self.focal
        if self.ordinal > 0:
            losses = (1 - self.ordinal) * losses + self.ordinal * weights[grades] * _ordinal(logits, grades)
        return losses.sum() / weights[grades].sum()


def _ordinal(logits: torch.Tensor, grades: torch.Tensor) -> torch.Tensor:
    """Mean of the cross-entropies of each threshold between grades, ``(rows,)``."""
    terms = []
    for threshold in list(Grade)[1:]:
        above = logits[:, threshold:].logsumexp(dim=-1) - logits[:, :threshold].logsumexp(dim=-1)
        truth = (grades >= threshold).float()
        terms.append(binary_cross_entropy_with_logits(above, truth, reduction="none"))
    return torch.stack(terms).mean(dim=0)


def severe_logit(logits: torch.Tensor) -> torch.Tensor:
    """Logit of "severe" against the two others, ``(..., 3)`` to ``(...)``: z_severe - logsumexp(z_0, z_1)."""
    return logits[..., Grade.SEVERE] - logits[..., : Grade.SEVERE].logsumexp(dim=-1)


def _any_severe(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
    known = labels != MISSING
    studies = known.any(dim=1)
    if not studies.any():
        return None
    labels, known, logits = labels[studies], known[studies], logits[studies]
    worst = labels.where(known, torch.zeros_like(labels)).amax(dim=1).long()
    predicted = severe_logit(logits).masked_fill(~known, -torch.inf).amax(dim=1)
    losses = binary_cross_entropy_with_logits(predicted, (worst == Grade.SEVERE).float(), reduction="none")
    return (losses * weights[worst]).sum() / weights[worst].sum()
