"""What a comparison needs to know of the items that every candidate predicts, whether studies or images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from monai_spine.experiments.comparison.candidate import Part

Predicted = Mapping[int, Sequence[tuple[Part, Path]]]
"""By fold, each network of a candidate with its ``predictions.csv``."""


class Assessment(Protocol):
    """The items that every candidate predicts, and how the predictions are assessed."""

    @property
    def key(self) -> str:
        """The figure that orders the candidates; ``<key>_low`` and ``<key>_high`` are its interval."""

    @property
    def title(self) -> str:
        """The name of that figure in a picture."""

    @property
    def lower_is_better(self) -> bool:
        """Whether less of that figure is better."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""

    @property
    def folds(self) -> Sequence[int]:
        """The folds that are left out, one training for each."""

    def evaluated(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the items into an evaluation; none if these are the items of the fold."""

    def sizes(self, fold: int) -> tuple[int, int]:
        """How many items are trained on, and how many validate."""

    def predictions(self, predicted: Predicted) -> Any:
        """A candidate's predictions of all items."""

    def rows(self, predictions: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
        """The figures of every candidate, by its name."""

    def context(self) -> dict[str, Any]:
        """What the figures are to be compared with."""

    def lines(self) -> dict[str, float]:
        """The same for the picture: names and values of vertical lines."""
