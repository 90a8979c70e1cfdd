"""What a precision-recall curve is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.scoring.competition import Floats


@dataclass(frozen=True)
class Curve:
    """Which cases are positive, and how much a network took each for it.

    Attributes
    ----------
    positive, score
        ``(cases,)`` each; scores from 0 to 1.
    """

    positive: npt.NDArray[np.bool_]
    score: Floats

    @property
    def defined(self) -> bool:
        """Whether there are positives and others."""
        return bool(0 < self.positive.sum() < len(self.positive))
