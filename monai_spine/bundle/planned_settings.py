"""The settings of a training, checked before its process starts and before any folder is made.

The process checks them again by the same rules (`options`, `setting_values`): it may be started without us.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_spine.bundle.known_settings import known_settings
from monai_spine.bundle.options import unknown_entries
from monai_spine.bundle.run import Settings
from monai_spine.bundle.setting_values import impossible_values
from monai_spine.errors import InvalidOptionError
from monai_spine.files import read_json


def parsed_value(text: str) -> Any:
    """A setting's value: a number, a list and so on, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def planned_configuration(configs: Sequence[Path], settings: Settings) -> ConfigParser:
    """The configuration of a training, read and merged but not built.

    Parameters
    ----------
    configs
        Configuration files, the bundle's own one first.
    settings
        Entries that win over all files.

    Raises
    ------
    InvalidTableError
        If a file is no JSON.
    InvalidOptionError
        If a setting belongs to a group that is not there.
    """
    for path in configs:
        if path.suffix == ".json":
            read_json(path)  # whose error names the file and the place
    parser = ConfigParser()
    parser.read_config([str(path) for path in configs])
    for name, value in settings:
        try:
            parser[name] = parsed_value(value)
        except (KeyError, ValueError, IndexError) as err:  # of a group, or an item of a list, that is not there
            known = known_settings(configs[0].parent, configs, training=True)
            raise InvalidOptionError(known.unknown(name)) from err
    return parser


def refuse_settings(configs: Sequence[Path], settings: Settings) -> None:
    """Check all entries of a planned training; see `planned_configuration`.

    Raises
    ------
    InvalidOptionError
        If an entry is not known to the bundle, with near names, or has a value that it cannot have.
    InvalidTableError
        If a file is no JSON.
    """
    config = planned_configuration(configs, settings).get()
    known = known_settings(configs[0].parent, configs, training=True)
    if faults := [*unknown_entries(config, known), *impossible_values(config)]:
        raise InvalidOptionError("; ".join(faults))
