"""The loss of classified images, with several remedies for classes of unequal frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import logsigmoid, one_hot

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN
from monai_spine.images.data.dataset import class_weights as chosen_weights
from monai_spine.images.data.dataset import frequencies
from monai_spine.images.data.fold import ImageFold
from monai_spine.training.losses import focal_factor


def classification_loss(
    images: ImageFold,
    *,
    class_weights: str | Sequence[float] | None = None,
    focal: float = 0.0,
    label_smoothing: float = 0.0,
    logit_adjustment: float = 0.0,
) -> ClassificationLoss:
    """The loss of a datalist's task, with the frequencies of the classes among the images to learn from.

    ``class_weights``: see `monai_spine.images.data.dataset.class_weights`; for the others, `ClassificationLoss`.
    """
    classes = len(images.classes)
    return ClassificationLoss(
        several=images.multilabel,
        classes=classes,
        class_weights=chosen_weights(class_weights, images.training, classes),
        focal=focal,
        label_smoothing=label_smoothing,
        logit_adjustment=logit_adjustment,
        prior=frequencies(images.training, classes),
    )


class ClassificationLoss(nn.Module):
    """Cross-entropy of one class per image, or the mean of the binary cross-entropies of several labels per image.

    Unknown labels do not contribute.

    Raises `InvalidOptionError` if a number is out of its range, or there is not one for each class.

    Parameters
    ----------
    several
        Whether an image may have several labels.
    classes
        Number of classes.
    class_weights
        ``(classes,)``: weight of the images of a class, or with several labels the weight of its presence relative to
        its absence; None for equal weights.
    focal
        Exponent of `focal_factor`; 0 for none.
    label_smoothing
        Share of a label that is spread evenly over all classes, or with several labels over presence and absence.
    logit_adjustment
        This times the logarithm of the prior is added to the logits in training. The network then learns to predict
        as if classes were equally frequent (Menon et al. 2021, arXiv:2007.07314, equation 10); 0 for none.
    prior
        ``(classes,)``: frequency of each class, for the adjustment.
    """

    weights: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self,
        *,
        several: bool,
        classes: int,
        class_weights: torch.Tensor | Sequence[float] | None = None,
        focal: float = 0.0,
        label_smoothing: float = 0.0,
        logit_adjustment: float = 0.0,
        prior: torch.Tensor | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if focal < 0 or logit_adjustment < 0 or not 0 <= label_smoothing < 1:
            raise InvalidOptionError(
                "expected focal and logit_adjustment from 0 and label_smoothing from 0 to below 1, "
                f"but found {focal}, {logit_adjustment} and {label_smoothing}"
            )
        self.several, self.classes, self.focal, self.label_smoothing = several, classes, focal, label_smoothing
        weights = torch.ones(classes) if class_weights is None else torch.as_tensor(class_weights).float()
        frequency = torch.full((classes,), 0.5) if prior is None else torch.as_tensor(prior).float()
        for name, values in (("class_weights", weights), ("prior", frequency)):
            if values.shape != (classes,):
                raise InvalidOptionError(f"expected {classes} {name}, one a class, but found {list(values.shape)}")
        self.register_buffer("weights", weights, persistent=False)
        frequency = frequency.clamp(1e-6, 1 - 1e-6)
        prior_logits = frequency.logit() if several else frequency.log()
        self.register_buffer("offset", logit_adjustment * prior_logits, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of logits ``(batch, classes)``, a scalar.

        Labels are classes ``(batch,)``, or ``(batch, classes)``: shares of classes, or for several labels numbers from
        0 to 1. `UNKNOWN` marks an unknown label.
        """
        logits = logits.float() + self.offset.to(logits.device)
        weights = self.weights.to(logits.device)
        return self._binary(logits, labels.float(), weights) if self.several else self._one(logits, labels, weights)

    def _one(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        known = labels != UNKNOWN if labels.ndim == 1 else (labels != UNKNOWN).all(dim=1)
        logits, labels = logits[known], labels[known]
        shares = one_hot(labels, self.classes).float() if labels.ndim == 1 else labels.float()
        spread = (1 - self.label_smoothing) * shares + self.label_smoothing / self.classes
        logs = logits.log_softmax(dim=1)
        losses = -spread * weights * logs * focal_factor((shares * logs.exp()).sum(dim=1, keepdim=True), self.focal)
        return losses.sum() / (shares * weights).sum().clamp_min(1e-12)

    def _binary(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        known = labels != UNKNOWN
        spread = (1 - self.label_smoothing) * labels + self.label_smoothing / 2
        yes = -spread * weights * logsigmoid(logits) * focal_factor(logits.sigmoid(), self.focal)
        no = -(1 - spread) * logsigmoid(-logits) * focal_factor((-logits).sigmoid(), self.focal)
        return ((yes + no) * known).sum() / known.sum().clamp_min(1)
