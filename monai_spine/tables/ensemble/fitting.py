"""Fitting a few parameters to the competition's loss, one group of conditions at a time.

The loss is a sum over groups, and no parameter serves two of them, so each group's can be fitted by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from monai_spine.scoring.competition import WEIGHTS, Ints
from monai_spine.spine import Group
from monai_spine.tables.out_of_fold import columns_of
from monai_spine.training.losses import any_severe, cross_entropies, mean_of_parts, soft_labels

TINY = 1e-12
"""Below it, a probability's logarithm says nothing more."""


def minimise(parameters: torch.Tensor, loss: Callable[[], torch.Tensor], tolerance: float) -> None:
    """Change ``parameters`` in place until a step changes loss and parameters by less than the tolerance.

    L-BFGS on all rows at once: nothing is random.
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

    optimiser.step(closure)


class GroupLoss:
    """The competition's loss of one group's findings; for the canal with the any-severe term.

    Parameters
    ----------
    grades
        ``(studies, 25)``; those of other groups do not matter.
    """

    def __init__(self, grades: Ints, group: Group) -> None:
        self.columns = torch.tensor(columns_of(group))
        self.terms = [cross_entropies, any_severe] if group is Group.SPINAL else [cross_entropies]
        self.labels = soft_labels(torch.from_numpy(np.ascontiguousarray(grades))[:, self.columns])
        self.weights = torch.tensor(WEIGHTS, dtype=torch.float32)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Loss of the group's logits ``(studies, n, 3)``."""
        parts = [term(logits.float(), self.labels, self.weights) for term in self.terms]
        losses, totals = (torch.stack(part) for part in zip(*parts, strict=True))
        return mean_of_parts(losses, totals, torch.ones(len(parts)))
