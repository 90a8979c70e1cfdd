"""Refuses settings that no bundle has, such as ``--epoch 3`` for ``--epochs 3``, before anything is read or written.

MONAI accepts any option: an unknown one becomes an entry of the configuration that nothing uses, and the run goes on
with the default of the setting that was meant.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

import ignite.distributed as idist
from monai.bundle import ConfigParser
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import BundlePropertyConfig

from monai_spine.bundle.configuration import being_evaluated, leaves, used_ids
from monai_spine.bundle.model_description import ModelDescription
from monai_spine.bundle.model_settings import describe, is_code, is_plain
from monai_spine.bundle.provenance import PHANTOM
from monai_spine.bundle.setting_names import OFFERED, holds_objects, settings_within, unknown_setting
from monai_spine.errors import InvalidOptionError
from monai_spine.files import read_json

_WORKFLOW = {"imports", "initialize", "run", "finalize", "training", "evaluation", "inference", "trained_on"}
"""What MONAI, or a user, runs by name; and what a user may say of the data that a model learns from."""
_WITHOUT_EFFECT = {
    *("imports", "initialize", "run", "finalize", "training", "training_run", "tensorboard", "network"),
    *("bundle_root", "dataset_dir", "datalist", "ckpt_dir", "cache_dir", "output_dir", "logging_file"),
    *("device", "num_workers", "progress", "cache_rate", "store#cache_gb", "pictures", "embedding"),
    *("resume", "weights", "epochs", "trained_on"),
}
"""Entries on which a training's result does not depend, or not as far as it is resumed: the places of files, how fast
it runs, what it shows, and the weights with which it began. The state of a run holds the number of epochs itself."""
_OF_NO_INTEREST = {"postprocessing", "preprocessing", "stacking", "best_model"}
"""Objects whose arguments are no hyper-parameters."""
_SHOWN = ("train#augmentation", "train#trainer#accumulation_steps")
"""Of the groups of training and validation, the settings that are."""


def refuse_unknown() -> None:
    """Check the configuration whose expression is being evaluated; call it from ``initialize``.

    Raises
    ------
    InvalidOptionError
        If it has an entry that the bundle's own files do not have and that no other entry uses.
    """
    config = being_evaluated()
    content = config.parser.get()
    if unknown := unknown_entries(content, bundle_entries(config.folder, training=is_training(content))):
        raise InvalidOptionError("; ".join(unknown))


def unknown_entries(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What to say of each entry that nothing knows.

    Checks the top level, groups such as ``train``, and the arguments of objects. A plain value in the place of an
    object, such as ``--loss 2``, is refused as well.

    Parameters
    ----------
    config
        The merged configuration.
    defaults
        The entries of the bundle's own files, see `bundle_entries`.
    """
    groups = _groups(defaults)
    known = (
        set(_ids(defaults, groups))
        | set(used_ids(config))
        | _WORKFLOW
        | _asked_for_by_monai(training=is_training(config))
    )
    unknown = [id_ for id_ in _ids(config, groups) if id_ not in known and not id_.startswith("_")]
    return [*(unknown_entry(id_, defaults) for id_ in unknown), *_faults_of_objects(config, defaults)]


def unknown_entry(id_: str, defaults: Mapping[str, Any]) -> str:
    """What to say of an id that nothing knows; see `unknown_entries`."""
    return unknown_setting(id_, _offered_ids(defaults))


def _offered_ids(defaults: Mapping[str, Any]) -> list[str]:
    """All settings of a bundle: the top level, groups such as ``train``, and the arguments of objects."""
    own = set(_ids(defaults, _groups(defaults))) - _WORKFLOW
    return [*(one for id_, value in defaults.items() for one in settings_within(id_, value)), *sorted(own)]


def _groups(defaults: Mapping[str, Any]) -> set[str]:
    return {id_ for id_, value in defaults.items() if _is_group(value)}


def _faults_of_objects(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """What to say of objects of the bundle that became plain values, and of arguments that their classes do not take.

    Arguments that the bundle itself gives are right.
    """
    for id_, value, default in _objects("", config, defaults):
        if is_plain(value) and value is not None and not is_code(value):
            own = list(settings_within(id_, default))[:OFFERED]
            near = f", such as {' or '.join(map(repr, own))}" if own else ""
            yield f"expected {id_} as an object, but found {value!r}; give one of its settings{near}"
        if not isinstance(value, Mapping):
            continue
        added = [name for name in value if name not in default and not str(name).startswith("_")]
        # Only now, since a class must be imported to know its arguments.
        taken = _taken(value.get("_target_")) if added else None
        if taken is not None:
            ids = [f"{id_}#{one}" for one in taken]
            offered = [*ids, *_offered_ids(defaults)]
            yield from (unknown_setting(f"{id_}#{name}", offered) for name in added if name not in taken)


def _objects(prefix: str, config: Any, defaults: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """What stands in the place of each object of the bundle, at any depth, by id; and the bundle's own object."""
    if isinstance(config, Mapping) and isinstance(defaults, Mapping):
        pairs = [(name, config[name], default) for name, default in defaults.items() if name in config]
    elif isinstance(config, list) and isinstance(defaults, list):
        pairs = [(str(n), *pair) for n, pair in enumerate(zip(config, defaults, strict=False))]
    else:
        return
    for name, value, default in pairs:
        if isinstance(default, Mapping) and "_target_" in default:
            yield f"{prefix}{name}", value, default
        yield from _objects(f"{prefix}{name}#", value, default)


def _taken(target: Any) -> list[str] | None:
    """The arguments that a class or a function takes; None for any, or where that is not known."""
    try:
        parameters = inspect.signature(locate(str(target))).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError, ErrorDuringImport):
        return None
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters) else [one.name for one in parameters]


@dataclass(frozen=True)
class RunSettings:
    """The settings of a training.

    Attributes
    ----------
    result
        What its result depends on, as texts by name.
    description
        Of the weights that it makes.
    shown
        The settings of the configuration, for people: numbers, words, and lists of them.
    """

    result: Mapping[str, str] = field(default_factory=dict)
    description: ModelDescription = field(default_factory=ModelDescription)
    shown: Mapping[str, Any] = field(default_factory=dict)


def run_settings(datalist: str | None = None) -> RunSettings:
    """The settings of the training whose configuration is being evaluated.

    The result depends on the configuration's entries, the number of processes, and the content of the datalist.

    Parameters
    ----------
    datalist
        The path of the datalist; None for a training on phantoms that are drawn while it runs.
    """
    config = being_evaluated()
    settings = {
        id_: json.dumps(value, sort_keys=True, default=repr)
        for name, entry in config.parser.get().items()
        if name not in _WITHOUT_EFFECT and not name.startswith("_")
        for id_, value in leaves(name, entry)
        if id_ not in _WITHOUT_EFFECT
    }
    settings["processes"] = str(idist.get_world_size())
    if datalist is not None and Path(datalist).is_file():
        content = hashlib.sha256(Path(datalist).read_bytes()).hexdigest()
        settings["datalist"] = f"a file with the SHA-256 {content[:16]}"
    description = describe(config)
    if datalist is None and description.trained_on is None:
        description = replace(description, trained_on=PHANTOM)
    return RunSettings(settings, description, _shown(config.parser))


def _shown(parser: ConfigParser) -> dict[str, Any]:
    """The plain values of a configuration, with what expressions give, at the top and as arguments of its objects."""
    shown = {}
    for name, entry in parser.get().items():
        if name in _WITHOUT_EFFECT or name.startswith("_") or name in _OF_NO_INTEREST:
            continue
        ids = settings_within(name, entry) if isinstance(entry, Mapping) else () if holds_objects(entry) else (name,)
        for id_ in ids:
            if id_ in _WITHOUT_EFFECT or (id_.startswith(("train#", "validate#")) and not id_.startswith(_SHOWN)):
                continue
            value = parser.get_parsed_content(id_) if is_code(parser[id_]) else parser[id_]
            if is_plain(value):
                shown[id_] = bool(value) if id_ == "pretrained" else value  # which may be the path of a file
    return shown


def _ids(config: Mapping[str, Any], groups: set[str]) -> Iterator[str]:
    """The entries of the top level, and those of its groups as ``train#trainer``."""
    for id_, value in config.items():
        yield id_
        if id_ in groups and isinstance(value, Mapping):
            yield from (f"{id_}#{inner}" for inner in value if not inner.startswith("_"))


def _is_group(value: Any) -> bool:
    """Whether an entry is a group of others, such as ``train``: not an object, nor metadata, nor a plain value."""
    return isinstance(value, Mapping) and "_target_" not in value and any(_is_item(inner) for inner in value.values())


def _is_item(value: Any) -> bool:
    return isinstance(value, Mapping | list) or (isinstance(value, str) and value.startswith(("@", "$", "%")))


def is_training(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is one of training, or of an evaluation that takes over a training's."""
    return "validate" in config


def _asked_for_by_monai(*, training: bool) -> set[str]:
    """Ids that MONAI's workflows and its experiment tracking read by name."""
    properties: list[dict[Any, Any]] = [*TrainProperties.values(), *(() if training else InferProperties.values())]
    tracking: dict[str, Any] = DEFAULT_MLFLOW_SETTINGS
    ids = {str(asked[BundlePropertyConfig.ID]).replace("::", "#") for asked in properties}
    return ids | set(tracking["configs"]) | {"save_execute_config"}


def bundle_entries(folder: Path | None, *, training: bool) -> dict[str, Any]:
    """The entries of all configuration files in a bundle's folder, presets aside; none without a folder.

    Parameters
    ----------
    training
        Leaves out those of inference, which have no effect on a training. Inference, however, knows those of training:
        a preset that a network was trained with may be named for it, too, and sets learning rates.
    """
    entries: dict[str, Any] = {}
    others = {"metadata.json", *(["inference.json"] if training else [])}
    for path in sorted(folder.glob("*.json")) if folder else ():
        content = read_json(path) if path.name not in others else {}
        for id_, value in content.items():
            first, *inner = id_.lstrip("+").replace("::", "#").split("#")
            if not inner:
                earlier = entries.get(first, {})
                entries[first] = {**earlier, **value} if _is_group(earlier) and _is_group(value) else value
            elif _is_group(entries.setdefault(first, {inner[0]: []})):
                entries[first] = {inner[0]: [], **entries[first]}
    return entries
