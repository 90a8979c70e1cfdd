"""What a bundle's configuration says before anything is trained: its ids, and by which figure it chooses weights."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Settings, training_configs
from monai_spine.errors import InvalidOptionError, SpineError, listed

_HIGHER = "best_model#higher_is_better"
_LOWER = ("loss", "score", "brier", "ece", "error", "distance", "mm")
"""Of figures whose names hold one of these, less is better."""


class Configuration:
    """A bundle's training, read and merged but not built.

    Raises
    ------
    MissingInputError
        If a file is not there.
    """

    def __init__(self, bundle: Path, presets: Sequence[Path], settings: Settings, datalist: Path) -> None:
        from monai.bundle import ConfigParser

        self.presets = training_configs(bundle, presets)[1:]
        self.settings = {name: plain(value) for name, value in settings}
        own = {"dataset_dir": str(datalist.parent), "datalist": str(datalist)}
        self._parser = ConfigParser()
        self._parser.read_config([str(path) for path in training_configs(bundle, presets)])
        self._parser.update(self.settings)
        self._parser.update(own)

    def has(self, id_: str) -> bool:
        """Whether there is such an entry."""
        return id_ in self._parser

    def key_metric(self) -> tuple[str, bool]:
        """The figure by which the bundle chooses its best weights, and whether more of it is better.

        Raises
        ------
        InvalidOptionError
            If the configuration does not say.
        """
        try:
            name = self._parser.get_parsed_content("best_model#metric")
            higher = self.has(_HIGHER) and self._parser.get_parsed_content(_HIGHER)
        except SpineError:
            raise
        except Exception as err:
            raise InvalidOptionError(
                f"the bundle does not say by which figure it chooses its weights ({err}); give --metric and --direction"
            ) from err
        return str(name), bool(higher)

    def override(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All that differs from the bundle's ``train.json``: presets, settings, and what was chosen, the last first."""
        merged: dict[str, Any] = {}
        for path in self.presets:
            merged |= json.loads(path.read_text(encoding="utf-8"))
        return {**merged, **self.settings, **chosen}


def direction_of(metric: str) -> bool:
    """Whether more of a figure is better, by its name."""
    return not any(word in metric.lower() for word in _LOWER)


def plain(text: str) -> Any:
    """A setting's value: a number, a list …, or else the word itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check_settings(settings: Settings, chosen: Sequence[str]) -> None:
    """Make sure that nothing is both set and searched for.

    Raises
    ------
    InvalidOptionError
        If something is.
    """
    both = sorted({name for name, _ in settings} & set(chosen))
    if both:
        raise InvalidOptionError(f"{listed(both)}: both set and in the search space; leave one of them out")
