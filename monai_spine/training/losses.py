"""Losses for missing labels, for soft labels of mixed studies, and with the competition's weights."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import Grade, Group, columns_of


class CompetitionLoss(nn.Module):
    """The competition's score as a loss on logits: three weighted cross-entropies and the any-severe-spinal term.

    For one batch it equals `monai_spine.scoring.competition.competition_score` of the softmax of the logits (up to
    the parts' own weights). A label that is `MISSING` has no gradient. A part without any label in the batch is left
    out. A soft label counts as shares of rows, one share for each grade.

    Where several processes train together, the batch is that of all of them: each process gets the loss of the whole
    batch, and the mean of the gradients over the processes is the whole batch's. All processes must call the loss.

    Parameters
    ----------
    grade_weights
        Weight of a row whose grade is normal/mild, moderate, severe.
    any_severe
        Weight of the any-severe-spinal term against each of the other three; 0 leaves it out.
    marked
        Weight, against each of the three, of the term that draws attention to the marked slices: the mean over the
        findings of -log of the share of attention that they get. 0 leaves it out. The network must tell these shares,
        as `LevelGrader` does.
    label_smoothing
        As in `torch.nn.functional.cross_entropy`, for the three cross-entropies.
    focal
        Exponent of `focal_factor`; 0 for none.
    ordinal
        How much of the three cross-entropies is replaced by those of "moderate or severe" and of "severe", each against
        the rest, from 0 to 1. They grow with the distance between two grades.

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
        marked: float = 0.0,
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
        self.any_severe, self.marked = any_severe, marked
        self.label_smoothing = label_smoothing
        self.columns = {group: columns_of(group) for group in Group}

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits ``(batch, 25, 3)``: a scalar.

        A fourth number of each finding is the logarithm of the attention on its marked slices, or 0 if it has none.

        ``labels`` are ``(batch, 25)`` of 0, 1, 2 or `MISSING`, or soft ones, ``(batch, 25, 3)``. Their sums are the
        weights of the findings: 1, less for a label that is known in part, or 0 for one that is missing.
        """
        logits, labels = logits.float(), soft_labels(labels)
        attention, logits = logits[..., len(Grade) :], logits[..., : len(Grade)]
        weights = self.weights.to(logits.device)
        options = {"label_smoothing": self.label_smoothing, "focal": self.focal, "ordinal": self.ordinal}
        terms = [
            cross_entropies(logits[:, columns], labels[:, columns], weights, **options)
            for columns in self.columns.values()
        ]
        shares = [1.0] * len(terms)
        if self.any_severe > 0:
            spinal = self.columns[Group.SPINAL]
            terms.append(any_severe(logits[:, spinal], labels[:, spinal], weights))
            shares.append(self.any_severe)
        if self.marked > 0:
            terms.append((-attention.sum(), (attention < 0).float().sum()))
            shares.append(self.marked)
        losses, totals = (torch.stack(part) for part in zip(*terms, strict=True))
        return _mean(losses, totals, logits.new_tensor(shares))


def cross_entropies(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    focal: float = 0.0,
    ordinal: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the weighted losses of soft labels ``(..., 3)``, and of their weights; see `CompetitionLoss`."""
    totals = labels @ weights
    smooth = torch.lerp(labels, labels.sum(dim=-1, keepdim=True) / len(Grade), label_smoothing)
    losses = -(smooth * weights * logits.log_softmax(dim=-1)).sum(dim=-1)
    if focal > 0:
        losses = losses * focal_factor((logits.softmax(dim=-1) * _shares(labels)).sum(dim=-1), focal)
    if ordinal > 0:
        losses = torch.lerp(losses, totals * _ordinal(logits, _shares(labels)), ordinal)
    return losses.sum(), totals.sum()


def _shares(labels: torch.Tensor) -> torch.Tensor:
    """Soft labels of sum 1, whatever they weigh; those that are missing stay 0."""
    return labels / labels.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(labels.dtype).tiny)


def _mean(losses: torch.Tensor, totals: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The parts' weighted means, averaged with their shares over the parts that have any label."""
    if not _several_processes():
        return mean_of_parts(losses, totals, shares)
    # A loss that divides by the labels it has is not the mean of what two processes find: both sums are added up first.
    everywhere = torch.stack([losses.detach(), totals])
    torch.distributed.all_reduce(everywhere)
    whole = mean_of_parts(everywhere[0], everywhere[1], shares)
    mine = mean_of_parts(losses * torch.distributed.get_world_size(), everywhere[1], shares)
    return mine + (whole - mine).detach()  # the value of the whole batch, with the gradient of this process's part


def mean_of_parts(losses: torch.Tensor, totals: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Each part's sum of losses by its sum of weights, averaged with the shares over parts of any weight; or 0."""
    labelled = totals > 0
    parts = losses / totals.where(labelled, torch.ones_like(totals))
    shares = shares * labelled
    return (shares * parts).sum() / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)


def _several_processes() -> bool:
    return (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    )


def _ordinal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of the cross-entropies of each threshold between grades, ``(batch, rows)``."""
    terms = []
    for threshold in list(Grade)[1:]:
        above = logits[..., threshold:].logsumexp(dim=-1) - logits[..., :threshold].logsumexp(dim=-1)
        truth = labels[..., threshold:].sum(dim=-1)
        terms.append(binary_cross_entropy_with_logits(above, truth, reduction="none"))
    return torch.stack(terms).mean(dim=0)


def severe_logit(logits: torch.Tensor) -> torch.Tensor:
    """Logit of "severe" against the two others, ``(..., 3)`` to ``(...)``: z_severe - logsumexp(z_0, z_1)."""
    # not from probabilities, whose logarithm is infinite once they round to 0 or 1
    return logits[..., Grade.SEVERE] - logits[..., : Grade.SEVERE].logsumexp(dim=-1)


def any_severe(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the weighted losses of "any severe" of soft labels ``(studies, levels, 3)``, and of their weights.

    A study counts as much as that of its labelled levels which counts least.
    """
    counts = labels.sum(dim=-1)
    known = counts > 0
    # a level without a label may hold the severe finding or not, so it must not decide
    highest = severe_logit(logits).masked_fill(~known, -torch.inf).amax(dim=1)
    # without any label the highest logit is -inf, whose gradient is not a number even with a weight of 0
    predicted = torch.where(known.any(dim=1), highest, torch.zeros_like(highest))
    least = counts.masked_fill(~known, 1.0).amin(dim=1, keepdim=True)
    rows = worst_grade(_shares(labels)) * weights * least
    losses = rows[:, Grade.SEVERE] * softplus(-predicted) + rows[:, : Grade.SEVERE].sum(dim=1) * softplus(predicted)
    return losses.sum(), rows.sum()


def focal_factor(probability: torch.Tensor, focal: float) -> torch.Tensor:
    """The weight ``(1 - p_t) ** focal`` of a focal loss (Lin et al. 2017, arXiv:1708.02002, equation 4).

    ``probability`` is p_t, that of the true class: an answer that is nearly right weighs little. 0 weighs all alike.
    """
    return (1 - probability) ** focal if focal else torch.ones_like(probability)


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
    """Soft labels ``(batch, 25, 3)`` of mixed studies: a share ``(batch, 25)`` is the others'.

    Where one of the two is missing, the mixed label is missing.
    """
    both = (labels.sum(dim=-1) > 0) & (others.sum(dim=-1) > 0)
    part = torch.where(both, share, torch.zeros_like(share))[..., None]
    return torch.where(((share == 0) | both)[..., None], torch.lerp(labels, others, part), torch.zeros_like(labels))


def worst_grade(labels: torch.Tensor) -> torch.Tensor:
    """Shares ``(batch, 3)`` of a study's worst grade from soft labels ``(batch, levels, 3)``.

    The share of "severe" is the greatest of all levels, and so is that of "moderate or severe". The competition reads a
    prediction in the same way, so that one answer can fit both the labels of the levels and this one.
    """
    at_least = labels.flip(-1).cumsum(dim=-1).flip(-1).amax(dim=1)
    return at_least - torch.nn.functional.pad(at_least[:, 1:], (0, 1))
