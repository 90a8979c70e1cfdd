"""Moves a schedule on: after each step, and after each validation."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_spine.training.schedules import Schedule


class LearningRate:
    """Tells a schedule of each iteration of a trainer, and of a figure of its validations.

    Parameters
    ----------
    schedule
        To be moved on.
    evaluator
        The validation's engine.
    metric
        Its figure of which more is better.
    """

    def __init__(self, schedule: Schedule, evaluator: Engine, metric: str) -> None:
        self.schedule, self.evaluator, self.metric = schedule, evaluator, metric

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer and the evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        self.evaluator.add_event_handler(Events.COMPLETED, self._look)

    def _step(self) -> None:
        self.schedule.step()

    def _look(self) -> None:
        self.schedule.look(float(self.evaluator.state.metrics[self.metric]))
