"""What handlers share that show the answers of a whole evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events

from monai_spine.training.engine_output import Answers

Cases = Mapping[Any, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
"""Label and probabilities by the case's id, never empty."""


class Review(ABC):
    """Collects what an evaluator answers in all processes, and shows it in the first one when the evaluator is done.

    Parameters
    ----------
    every
        Epochs from one time to the next; MONAI sets an evaluator's epoch to the trainer's.
    """

    def __init__(self, *, every: int = 1) -> None:
        self.every = every
        self._answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Collect while the evaluator runs, show at the end."""
        self._answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._look)

    @abstractmethod
    def show(self, cases: Cases, epoch: int) -> None:
        """Show the answers to these cases."""

    def _look(self, evaluator: Engine) -> None:
        epoch = evaluator.state.epoch
        if epoch % self.every:
            return
        cases = self._answers.cases()
        if idist.get_rank() == 0 and cases:
            self.show(cases, epoch)


def stacked(cases: Cases) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Labels and probabilities, one case after the other."""
    labels, probabilities = zip(*cases.values(), strict=True)
    return np.stack(labels), np.stack(probabilities)
