"""The settings that weights depend on: recorded by a training, and followed by everything that uses the weights.

A network that was trained with crops of 32 pixels gives other answers for crops of 64, without any error. So a
training writes the settings of its network and its input beside the weights (see `ModelDescription`). A configuration
that uses the weights takes them from there. A setting that the user gives, and that differs from it, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_spine.bundle.configuration import EvaluatedConfiguration, being_evaluated, leaves, used_ids
from monai_spine.bundle.model_description import ModelDescription, description_path, read_description
from monai_spine.errors import InvalidOptionError, InvalidTableError

_ROOTS = ("network_def", "preprocessing", "conditions")
"""Entries of a bundle's ``inference.json`` that make the answer."""
_OF_TRAINING = {"drop_view", "dropout", "drop_path", "checkpointing"}
"""Settings of networks that do nothing in evaluation."""
_CODE = ("$", "@", "%")


def describe(config: EvaluatedConfiguration) -> ModelDescription:
    """The description of the weights that a training's configuration makes.

    Recorded are the values on which the network and the input of the bundle's ``inference.json`` depend, as far as they
    are data. Of an object, the name of its class is recorded.
    """
    content = config.parser.get()
    inference = _read(config.folder / "inference.json") if config.folder else None
    names = model_entries(inference or content) - {"preprocessing"}  # of training, it may make labels, too
    trained_on = content.get("trained_on")
    return ModelDescription(
        settings=recorded(content, names, config.parser.get_parsed_content),
        configs=config.further_files,
        trained_on=None if trained_on is None else str(trained_on),
    )


def recorded(config: Mapping[str, Any], names: set[str], resolve: Callable[[str], Any]) -> dict[str, Any]:
    """The values within entries of a configuration, by ids as in ``views#0#slices``.

    Parameters
    ----------
    names
        The entries. A reference from one of them to another is left out.
    resolve
        Gives the value of a reference or an expression by the id of its place; recorded are plain values only.
    """
    settings = {}
    for id_, value in _values(config, names):
        plain = value
        if is_code(value):
            if value.startswith("@") and value[1:].partition("#")[0] in names:
                continue
            plain = resolve(id_)
        if is_plain(plain):
            settings[id_] = json.loads(json.dumps(plain))  # tuples become lists
    return settings


def model_entries(config: Mapping[str, Any]) -> set[str]:
    """The entries of a configuration that make the answer of its network, directly or through others."""
    names: set[str] = set()
    waiting = [name for name in _ROOTS if name in config]
    while waiting:
        name = waiting.pop()
        if name in config and name not in names:
            names.add(name)
            waiting += {id_.partition("#")[0] for id_ in used_ids(config[name])}
    return names


def follow_description() -> None:
    """Give the configuration being evaluated the settings of the weights that it uses; call it from ``initialize``.

    Weights are used by a configuration with a ``ckpt_path``. One with a ``description`` takes its settings itself.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the weights have no description beside them, or it cannot be read.
    InvalidOptionError
        See `followed`.
    """
    config = being_evaluated()
    parser = config.parser
    if "ckpt_path" not in parser or "description" in parser or config.folder is None:
        return
    weights = Path(str(parser.get_parsed_content("ckpt_path")))
    if not weights.is_file():  # reading the weights says so
        return
    defaults = _read(config.folder / ("train.json" if "validate" in parser else "inference.json")) or {}
    parser.update(followed(parser.get(), defaults, read_description(weights), weights, config.stated))
    parser.parse(reset=True)


def followed(
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    description: ModelDescription,
    weights: Path,
    stated: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The settings of weights that a configuration has to take, by id.

    Parameters
    ----------
    config
        The configuration, with everything that the user gave.
    defaults
        The bundle's own one. What differs from it was given by the user.
    weights
        The described file, for messages.
    stated
        Ids that the user gave with any value, also the bundle's own.

    Raises
    ------
    InvalidOptionError
        If the user gave a setting with another value, or if the weights need entries that the configuration lacks.
    InvalidTableError
        If the description holds code.
    """
    names = {id_.partition("#")[0] for id_ in description.settings}
    own, usual = dict(_values(config, names)), dict(_values(defaults, names))
    changes: dict[str, Any] = {}
    for id_, trained in description.settings.items():
        if is_code(trained) or not is_plain(trained):
            path = description_path(weights)
            raise InvalidTableError(f"{path}: expected a plain value of {id_}, but found {trained!r}")
        if own.get(id_) == trained:  # also None of an entry that is left out, such as conditions
            continue
        if id_ not in own and not _is_argument(id_, config):
            raise InvalidOptionError(
                f"{weights} was trained with {id_} = {trained!r}, which this configuration does not have; give the "
                f"configuration files of the training{_listed(description.configs)}"
            )
        if id_ in stated or own.get(id_) != usual.get(id_) or id_.endswith("_target_"):
            raise InvalidOptionError(
                f"{weights} was trained with {id_} = {trained!r}, but {own.get(id_)!r} is asked for; leave the setting "
                "out, or name other weights"
            )
        changes[id_] = trained
    trained_items = {id_.rpartition("#")[0] for id_ in description.settings}
    for item in sorted({id_.rpartition("#")[0] for id_ in own}):
        root, _, number = item.partition("#")
        if number.isdigit() and item not in trained_items and f"{root}#0" in trained_items:
            raise InvalidOptionError(
                f"{weights} was trained without {item}, which this configuration has; give the configuration files of "
                f"the training{_listed(description.configs)}"
            )
    # An entry of the user that the training did not have, such as a fourth view.
    added = [id_ for id_, value in own.items() if id_ not in usual and id_ not in description.settings]
    if added and not all(is_code(own[id_]) for id_ in added):
        raise InvalidOptionError(f"{weights} was trained without {added[0]}; leave it out, or name other weights")
    return changes


def _values(config: Mapping[str, Any], names: set[str]) -> list[tuple[str, Any]]:
    """The values within entries, by id; in place of a class its name, since a class may move to another module."""
    return [
        (id_, _class_name(value) if id_.endswith("_target_") else list(value) if isinstance(value, tuple) else value)
        for name in sorted(names & set(config))
        for id_, value in leaves(name, config[name])
        if id_.rpartition("#")[2] not in _OF_TRAINING
    ]


def _is_argument(id_: str, config: Mapping[str, Any]) -> bool:
    """Whether an id may be an argument of an object of the configuration that it leaves at its default."""
    owner: Any = config
    *parts, name = id_.split("#")
    for part in parts:
        if isinstance(owner, Mapping):
            owner = owner.get(part)
        elif isinstance(owner, list) and part.isdigit() and int(part) < len(owner):
            owner = owner[int(part)]
        else:
            return False
    return isinstance(owner, Mapping) and "_target_" in owner and not name.startswith("_")


def _class_name(target: Any) -> str:
    return str(target).rpartition(".")[2]


def _listed(configs: tuple[str, ...]) -> str:
    return f" ({', '.join(configs)})" if configs else ""


def is_code(value: Any) -> bool:
    """Whether a value of a configuration is an expression or a reference."""
    return isinstance(value, str) and value.startswith(_CODE)


def is_plain(value: Any) -> bool:
    """Whether a value is data that JSON can hold: a number, a word, True, False, None, or a list of these."""
    if isinstance(value, list | tuple):
        return all(is_plain(inner) and not is_code(inner) for inner in value)
    return value is None or isinstance(value, str | int | float | bool)


def _read(path: Path) -> dict[str, Any] | None:
    return dict(ConfigParser.load_config_file(path)) if path.is_file() else None
