"""The file beside weights that says how to use them: ``model.json`` for ``model.pt``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.weights_checksum import stored_digest

SCHEMA = "monai_spine/model/1"
_OF_A_RUN = {"latest", "previous"}
"""Names of the states of a run, which are described by the ``model.json`` beside them."""


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """How weights were trained, as far as using them depends on it. It holds data alone, never code.

    Attributes
    ----------
    settings
        Values by name, such as ``pixels`` or ``views#0#slices``.
    configs
        Names of the configuration files of the training after ``train.json``, such as presets.
    trained_on
        What the weights were trained on, as in the metadata of a bundle; None if nobody said.
    sha256
        The checksums of the weights that it describes: one; two for the moment in which a training replaces them;
        none if they are not known.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    trained_on: str | None = None
    sha256: tuple[str, ...] = ()


def description_path(weights: str | Path) -> Path:
    """The description's path for a file of weights: ``model.json`` for ``model.pt``, and for the state of a run."""
    path = Path(weights)
    return path.with_name("model.json") if path.stem in _OF_A_RUN else path.with_suffix(".json")


def write_description(weights: str | Path, description: ModelDescription) -> None:
    """Write the description beside the weights, whole or not at all."""
    content = {"schema": SCHEMA, **dataclasses.asdict(description)}
    write_text(description_path(weights), json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_description(weights: str | Path) -> ModelDescription:
    """Read the description beside weights.

    Raises
    ------
    MissingInputError
        If there is none. The weights would then be used with the settings of the bundle, whatever they were trained
        with.
    InvalidTableError
        If the file is not a description, or one of other weights.
    """
    path = description_path(weights)
    if not path.is_file():
        raise MissingInputError(
            f"expected {path.name} beside {weights}, with the settings of its training: training writes both, copy both"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (schema := content.pop("schema")) != SCHEMA:
            raise ValueError(f"its schema is {schema!r}")
        if not isinstance(content["settings"], dict):
            raise ValueError("its settings are no object")
        tuples = {name: tuple(content.get(name) or ()) for name in ("configs", "sha256")}
        description = ModelDescription(**{**content, **tuples})
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise InvalidTableError(f"{path}: expected {SCHEMA}, but it cannot be read ({err})") from err
    own = Path(weights)
    # The state of a run has weights of its own; if weights are missing, their reader raises the error.
    known = stored_digest(own) if own.is_file() and path == own.with_suffix(".json") else ""
    if known and description.sha256 and known not in description.sha256:
        raise InvalidTableError(f"{path} describes other weights than {own.name}: copy both files of one training")
    return description
