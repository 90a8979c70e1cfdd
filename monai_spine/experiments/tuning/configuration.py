"""A bundle's configuration before anything is trained: its ids, and the figure by which it chooses the best weights."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Settings, training_configs
from monai_spine.errors import InvalidOptionError, SpineError, listed

_HIGHER = "best_model#higher_is_better"
_LOWER = ("loss", "score", "brier", "ece", "error", "distance", "mm")
"""If the name of a figure contains one of these words, less of it is better."""


class Configuration:
    """The configuration of a bundle's training, read and merged but not built.

    Raises
    ------
    MissingInputError
        If a file does not exist.
    """

    def __init__(self, bundle: Path, presets: Sequence[Path], settings: Settings, datalist: Path) -> None:
        from monai.bundle import ConfigParser

        self.presets = training_configs(bundle, presets)[1:]
        self.settings = {name: parsed_value(value) for name, value in settings}
        own = {"dataset_dir": str(datalist.parent), "datalist": str(datalist)}
        self._parser = ConfigParser()
        self._parser.read_config([str(path) for path in training_configs(bundle, presets)])
        self._parser.update(self.settings)
        # Some bundles derive the key figure from the data, so the datalist must be known.
        self._parser.update(own)

    def has(self, id_: str) -> bool:
        """Whether there is such an entry."""
        return id_ in self._parser

    def key_metric(self) -> tuple[str, bool]:
        """The figure by which the bundle chooses its best weights, and whether more of it is better.

        Raises
        ------
        InvalidOptionError
            If the configuration has no such figure.
        """
        try:
            name = self._parser.get_parsed_content("best_model#metric")
            higher = self.has(_HIGHER) and self._parser.get_parsed_content(_HIGHER)
        except SpineError:
            raise
        except Exception as err:  # MONAI's parser raises errors of many kinds
            raise InvalidOptionError(
                f"expected the bundle to have a figure by which it chooses its weights, but found none ({err}); "
                "give --metric and --direction"
            ) from err
        return str(name), bool(higher)

    def override(self) -> dict[str, Any]:
        """All that differs from the bundle's ``train.json``: presets, and settings, which win."""
        merged: dict[str, Any] = {}
        for path in self.presets:
            merged |= json.loads(path.read_text(encoding="utf-8"))
        return {**merged, **self.settings}


def direction_of(metric: str) -> bool:
    """Whether more of a figure is better, guessed from its name."""
    return not any(word in metric.lower() for word in _LOWER)


def parsed_value(text: str) -> Any:
    """A setting's value: a number, a list and so on, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check_settings(settings: Settings, chosen: Sequence[str]) -> None:
    """Make sure that no configuration entry is both set and searched for.

    Raises
    ------
    InvalidOptionError
        If an entry is both.
    """
    both = sorted({name for name, _ in settings} & set(chosen))
    if both:
        raise InvalidOptionError(f"{listed(both)}: both set and in the search space; remove it from one of them")
