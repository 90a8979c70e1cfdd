"""The competition's loss of one group of conditions, and how a few parameters are fitted to it.

The competition's loss is a sum over groups, and no parameter of an ensemble serves two groups. So the parameters of
each group are fitted separately.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from monai_spine.scoring.competition import WEIGHTS, Ints, columns_of
from monai_spine.spine import Group
from monai_spine.training.losses import any_severe, cross_entropies, mean_of_parts, soft_labels

TINY = 1e-12
"""Smaller probabilities count as this one, so that logarithms are finite in float32."""


def minimise(parameters: torch.Tensor, loss: Callable[[], torch.Tensor], tolerance: float) -> None:
    """Change ``parameters`` in place until a step changes the loss or the parameters by less than the tolerance.

    L-BFGS on all rows at once, without anything random: the same input gives the same parameters.
    """
    optimiser = torch.optim.LBFGS(
        [parameters],
        max_iter=50,
        history_size=20,
        tolerance_grad=1e-5,
        tolerance_change=tolerance,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    # One step of L-BFGS holds all iterations.
    optimiser.step(closure)


class GroupLoss:
    """The competition's loss of one group's findings; for the canal, the any-severe part is included.

    Parameters
    ----------
    grades
        ``(studies, 25)``; grades of other groups are not used.
    """

    def __init__(self, grades: Ints, group: Group) -> None:
        self.columns = torch.tensor(columns_of(group))
        self.terms = [cross_entropies, any_severe] if group is Group.SPINAL else [cross_entropies]
        self.labels = soft_labels(torch.from_numpy(np.ascontiguousarray(grades))[:, self.columns])
        self.weights = torch.tensor(WEIGHTS, dtype=torch.float32)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Loss of the group's logits ``(studies, n, 3)``, where ``n`` is the number of the group's findings."""
        parts = [term(logits.float(), self.labels, self.weights) for term in self.terms]
        losses, totals = (torch.stack(part) for part in zip(*parts, strict=True))
        return mean_of_parts(losses, totals, torch.ones(len(parts)))
