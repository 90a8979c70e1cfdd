"""Learning rates over a training: courses with a warm-up, torch's one-cycle, and the handler that moves them on."""

import math
from collections.abc import Callable, Mapping, Sized
from typing import Any

from ignite.engine import Engine, Events
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from monai_spine.errors import InvalidOptionError

_START, _PEAK, _END = 1 / 25, 0.3, 1e-4
"""One cycle: the first rate as a share of the highest, the share of the training at which that is reached, and the last
rate as a share of the highest."""
_WITHOUT_END = ("constant", "step", "plateau")
"""Courses that do not depend on the number of epochs. The others end with the training. When a finished training gets
more epochs, such a course begins anew for them, as the warm restarts of Loshchilov and Hutter 2017 (arXiv:1608.03983)
do."""
_BETTER = 1e-4
"""What a figure has to gain to count as better on a plateau."""


class Schedule:
    """Sets an optimizer's learning rates before each step; each group keeps its rate's ratio to the others.

    Parameters
    ----------
    optimizer
        Its rates are the highest ones.
    course
        ``constant``; ``cosine``, down to ``final`` times the rate; ``exponential``, the same in a straight line on a
        logarithmic axis; ``step``, times ``factor`` after every ``every`` epochs; ``one_cycle``, up for 30 % of the
        training and down (Smith 2018, arXiv:1708.07120; rates only); ``plateau``, times ``factor`` whenever the
        validation's figure has not become better for more than ``every`` epochs.
    epochs, steps
        Epochs of the training, and steps of an epoch, or the data loader whose length they are.
    warmup
        Epochs in which the rate grows from 0, before the course begins; may be a fraction. At most half of the
        training: a short one of the same settings, such as a trial, begins sooner.
    final, factor, every
        See ``course``.

    Raises
    ------
    InvalidOptionError
        If the course is not known or a number out of its range.
    """

    COURSES = ("constant", "cosine", "exponential", "step", "one_cycle", "plateau")

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        course: str,
        epochs: int,
        steps: int | Sized,
        warmup: float = 0.0,
        final: float = 0.01,
        factor: float = 0.1,
        every: int = 5,
    ) -> None:
        if course not in self.COURSES:
            raise InvalidOptionError(f"expected a schedule among {', '.join(self.COURSES)}, but found {course!r}")
        if warmup < 0 or not 0 < final <= 1 or not 0 < factor < 1 or every < 1:
            raise InvalidOptionError(
                "expected a warm-up from 0, final from 0 to 1, factor between 0 and 1 and every from 1, but found "
                f"{warmup}, {final}, {factor} and {every}"
            )
        self.optimizer, self.course = optimizer, course
        self.steps, self.final, self.factor, self.every = _count(steps), final, factor, every
        self.warmup = round(min(warmup, epochs / 2) * self.steps)
        self.planned, self.begun = epochs * self.steps, 0
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._done, self._plateau, self._best, self._bad = 0, 1.0, -math.inf, 0
        self._set()

    def share(self, step: int) -> float:
        """The rate of a step, counted from 0, as a share of the highest."""
        if step < self.warmup:
            return (step + 1) / self.warmup  # a first rate of 0 would waste the step
        start = max(self.warmup, self.begun)
        return self._courses[self.course](min(1.0, (step - start) / max(1, self.planned - start)))

    def step(self) -> None:
        """Move on after a step of the optimizer."""
        self._done += 1
        self._set()

    def validated(self, figure: float) -> None:
        """Take a validation's figure, of which more is better; only a plateau uses it."""
        if self.course != "plateau" or self._done < self.warmup or math.isnan(figure):
            return
        if figure > self._best + _BETTER:
            self._best, self._bad = figure, 0
            return
        self._bad += 1
        if self._bad > self.every:
            self._plateau, self._bad = self._plateau * self.factor, 0
            self._set()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and words only."""
        return {
            "done": self._done,
            "plateau": self._plateau,
            "best": self._best,
            "bad": self._bad,
            "rates": self.rates,
            "course": self._course(),
            "planned": self.planned,
            "begun": self.begun,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a run stopped; with more epochs than it had, a course that had ended begins anew."""
        self.begun = int(state["begun"])
        if state["planned"] != self.planned and self.course not in _WITHOUT_END:
            self.begun = int(state["planned"])
        self._done, self._bad = int(state["done"]), int(state["bad"])
        self._plateau, self._best = float(state["plateau"]), float(state["best"])
        self.rates = [float(rate) for rate in state["rates"]]
        self._set()

    def extends(self, state: Mapping[str, Any]) -> bool:
        """Whether this is the schedule of a state with fewer epochs, and may go on from it.

        Courses that do not depend on the number of epochs may at any time, others when they have ended: before, all
        their rates would have been others.
        """
        same = state["rates"] == self.rates and state["course"] == self._course()
        return same and (self.course in _WITHOUT_END or state["done"] == state["planned"])

    def _course(self) -> dict[str, Any]:
        """What the rates depend on, but for the number of epochs."""
        names = ("course", "steps", "warmup", "factor", "every")
        return {name: getattr(self, name) for name in names}

    @property
    def _courses(self) -> dict[str, Callable[[float], float]]:
        return {
            "constant": lambda _: 1.0,
            "plateau": lambda _: self._plateau,
            "cosine": lambda done: _between(1.0, self.final, done),
            "exponential": lambda done: self.final**done,
            # rounded: a step that ends an epoch must not fall below the next one's by a rounding error
            "step": lambda done: (
                self.factor
                ** ((self.warmup + round(done * max(1, self.planned - self.warmup))) // (self.every * self.steps))
            ),
            "one_cycle": lambda done: (
                _between(_START, 1.0, done / _PEAK)
                if done < _PEAK
                else _between(1.0, _END, (done - _PEAK) / (1 - _PEAK))
            ),
        }

    def _set(self) -> None:
        share = self.share(self._done)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share


class OneCycle:
    """torch's one cycle of rates and momentum over a whole training, for any number of steps.

    When a finished training gets more epochs, these are a cycle of their own, as high as the first.

    Parameters
    ----------
    optimizer
        Its groups' rates are the highest ones.
    epochs, steps
        Epochs of the training, and steps of an epoch, or the data loader whose length they are.
    rise
        Share of the training until the highest rate, with at most three decimals.
    """

    def __init__(self, optimizer: Optimizer, *, epochs: int, steps: int | Sized, rise: float) -> None:
        self.optimizer, self.rise = optimizer, rise
        self.highest = [float(group["lr"]) for group in optimizer.param_groups]
        self.planned, self.begun = epochs * _count(steps), 0
        self.cycle = self._cycle(self.planned)

    def _cycle(self, steps: int) -> OneCycleLR:
        # .2001, not .2: OneCycleLR divides by zero where its share of the steps is exactly one step (5 steps of .2)
        share = round(self.rise + 1e-4, 4)
        return OneCycleLR(self.optimizer, max_lr=self.highest, total_steps=steps, pct_start=share)

    def step(self) -> None:
        """Move on after a step of the optimizer."""
        self.cycle.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and words only."""
        return {"planned": self.planned, "begun": self.begun, "cycle": self.cycle.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a run stopped; with more epochs than it had, a new cycle begins."""
        planned, self.begun = int(state["planned"]), int(state["begun"])
        if planned == self.planned:
            self.cycle.load_state_dict(state["cycle"])
        else:
            self.begun, self.cycle = planned, self._cycle(self.planned - planned)

    def extends(self, state: Mapping[str, Any]) -> bool:
        """Whether the cycle of a state has ended, so that a longer training may go on from it."""
        done: int = state["begun"] + state["cycle"]["last_epoch"]
        return done == state["planned"] < self.planned


def may_be_extended(schedule: object) -> bool:
    """Whether a finished run with this schedule may get more epochs."""
    return isinstance(schedule, Schedule | OneCycle | ReduceLROnPlateau)


def extends(schedule: object, state: Mapping[str, Any]) -> bool:
    """Whether a run whose schedule has this state may go on to more epochs than it was planned for.

    Of torch's schedules, `ReduceLROnPlateau` may: its rates do not depend on the number of epochs.
    """
    if isinstance(schedule, Schedule | OneCycle):
        return schedule.extends(state)
    return isinstance(schedule, ReduceLROnPlateau)


class LearningRate:
    """Moves any schedule on: after each iteration of a trainer, or after each validation.

    Parameters
    ----------
    schedule
        A `Schedule`, or one of `torch.optim.lr_scheduler`, whose steps are iterations.
    evaluator
        The validation's engine.
    metric
        Its figure, for a `Schedule` one of which more is better; `ReduceLROnPlateau` knows by itself.
    """

    def __init__(self, schedule: Schedule | OneCycle | LRScheduler, evaluator: Engine, metric: str) -> None:
        self.schedule, self.evaluator, self.metric = schedule, evaluator, metric

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer and the evaluator."""
        if not isinstance(self.schedule, ReduceLROnPlateau):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        if isinstance(self.schedule, ReduceLROnPlateau | Schedule):
            self.evaluator.add_event_handler(Events.COMPLETED, self._take_figure)

    def _step(self) -> None:
        self.schedule.step()

    def _take_figure(self) -> None:
        figure = float(self.evaluator.state.metrics[self.metric])
        if isinstance(self.schedule, Schedule):
            self.schedule.validated(figure)
        elif isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(figure)


def _count(steps: int | Sized) -> int:
    return steps if isinstance(steps, int) else len(steps)


def _between(start: float, end: float, done: float) -> float:
    """From one number to another along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
