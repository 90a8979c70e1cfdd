"""Who says what a candidate is worth: by the kind of the datalist, studies or images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.scoring.bootstrap import Estimate


class Judge(Protocol):
    """Holds the items that every candidate is asked about, and what is known of them."""

    @property
    def key(self) -> str:
        """The figure that orders the candidates; ``<key>_low`` and ``<key>_high`` are its interval."""

    @property
    def title(self) -> str:
        """What that figure is called in a picture."""

    @property
    def lower_is_better(self) -> bool:
        """Of that figure."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""

    @property
    def folds(self) -> Sequence[int]:
        """Those that are left out, one training each."""

    def asked(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the items into an evaluation; none for the fold's own."""

    def sizes(self, fold: int) -> tuple[int, int]:
        """Items to train on, and to validate on."""

    def answers(self, said: Mapping[int, Sequence[tuple[Part, Path]]]) -> Any:
        """What a candidate says of all items: by fold, each network and its ``predictions.csv``."""

    def rows(self, answers: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
        """Figures of every candidate."""

    def context(self) -> dict[str, Any]:
        """What the figures are to be held against."""

    def lines(self) -> dict[str, float]:
        """The same, for the picture."""


def judge_of(datalist: Path, folds: Sequence[int], test: Path | None = None, floor: Path | None = None) -> Judge:
    """The judge for a datalist; arguments and errors as of `StudyJudge` and `ImageJudge`."""
    if not datalist.is_file():
        raise MissingInputError(f"expected a datalist, but there is no file {datalist}")
    try:
        of_images = "classes" in json.loads(datalist.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as err:
        raise InvalidTableError(f"{datalist} is not JSON: {err}") from err
    if not of_images:
        from monai_spine.experiments.comparison.study_judge import StudyJudge

        return StudyJudge(datalist, folds, test, floor)
    if floor:
        raise InvalidOptionError("--floor is for studies of phantoms; leave it out for images")
    from monai_spine.experiments.comparison.image_judge import ImageJudge

    return ImageJudge(datalist, folds, test)


def named(name: str, found: Estimate) -> dict[str, float | None]:
    """A figure and the ends of its interval as columns; None where not defined."""
    return {name + end: value for end, value in zip(("", "_low", "_high"), found.as_dict().values(), strict=True)}
