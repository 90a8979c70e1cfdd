"""What a comparison needs to know of the items that every candidate predicts, whether studies or images."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError
from monai_spine.experiments.comparison.candidate import Part

Predicted = Mapping[int, Sequence[tuple[Part, Path]]]
"""By fold, each network of a candidate with its ``predictions.csv``."""
Records = list[dict[str, Any]]


class Assessment(ABC):
    """The items that every candidate predicts, and how the predictions are assessed.

    These are the items of the datalist's ``test`` section if it has labels, else those of the folds left out of
    training.
    """

    lower_is_better: bool
    """Whether less of the figure `key` is better."""
    sides: dict[int, tuple[Records, Records]]
    """By fold that is left out, the items to train on, and those of the fold. Each is one training."""

    @property
    @abstractmethod
    def key(self) -> str:
        """The figure that orders the candidates; ``<key>_low`` and ``<key>_high`` are its interval."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of that figure in a picture."""

    @property
    @abstractmethod
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""

    @property
    def folds(self) -> list[int]:
        """The folds that are left out, one training for each."""
        return list(self.sides)

    def sizes(self, fold: int) -> tuple[int, int]:
        """How many items are trained on, and how many validate."""
        training, validation = self.sides[fold]
        return len(training), len(validation)

    @abstractmethod
    def evaluated(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the items into an evaluation; none if these are the items of the fold."""

    @abstractmethod
    def predictions(self, predicted: Predicted) -> Any:
        """A candidate's predictions of all items.

        The items of several folds are joined; predictions of the same test items by the networks of several folds are
        averaged. Raises `MissingInputError` or `InvalidTableError` if a file is missing or does not fit.
        """

    @abstractmethod
    def rows(self, predictions: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
        """The figures of every candidate, by its name, with intervals and the difference to the best."""

    @abstractmethod
    def context(self) -> dict[str, Any]:
        """On which items, and what the figures are to be compared with."""

    @abstractmethod
    def lines(self) -> dict[str, float]:
        """The same for the picture: names and values of vertical lines."""


def check_unseen(test: Records, training: Records, key: str, groups: str, items: str) -> None:
    """Raise `InvalidTableError` if the test and the training have items of one group, by their entry ``key``."""
    shared = {record[key] for record in test} & {record[key] for record in training}
    if shared:
        raise InvalidTableError(
            f"{len(shared)} {groups} of the test have {items} in training, too, such as {min(shared)}; remove these"
        )
