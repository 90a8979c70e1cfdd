"""Refuses settings that no bundle has, such as ``--epoch 3`` for ``--epochs 3``, before anything is read or written.

MONAI accepts any option: an unknown one becomes an entry of the configuration that nothing uses, and the run goes on
with the default of the setting that was meant.
"""

from __future__ import annotations

import difflib
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
from monai_spine.errors import InvalidOptionError
from monai_spine.files import read_json

_WORKFLOW = {"imports", "initialize", "run", "finalize", "training", "evaluation", "inference", "trained_on"}
"""What MONAI, or a user, runs by name; and what a user may say of the data that a model learns from."""
_OFFERED = 3
"""How many near names an error offers."""
_WITHOUT_EFFECT = {
    *(
        "imports",
        "initialize",
        "run",
        "finalize",
        "training",
        "training_run",
        "tensorboard",
        "mlflow",
        "listeners",
        "network",
    ),
    *("bundle_root", "dataset_dir", "datalist", "ckpt_dir", "cache_dir", "output_dir", "logging_file"),
    *("device", "num_workers", "progress", "cache_gb", "cache_rate", "figures_every", "embedding_images"),
    *("resume", "weights", "epochs", "trained_on"),
}
"""Entries on which a training's result does not depend, or not as far as it is resumed: the places of files, how fast
it runs, what it shows, and the weights with which it began. The state of a run holds the number of epochs itself."""


def refuse_unknown() -> None:
    """Check the configuration whose expression is being evaluated; call it from ``initialize``.

    Raises
    ------
    InvalidOptionError
        If it has an entry that the bundle's own files do not have and that no other entry uses.
    """
    config = being_evaluated()
    if unknown := unknown_entries(config.parser.get(), bundle_entries(config.folder)):
        raise InvalidOptionError("; ".join(unknown))


def unknown_entries(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What to say of each entry that nothing knows.

    Checks the top level, groups such as ``train``, and arguments that were added to objects of the top level.

    Parameters
    ----------
    config
        The merged configuration.
    defaults
        The entries of the bundle's own files, those of inference as well as those of training: a preset that a network
        was trained with is named for inference, too, and sets learning rates that only training reads.
    """
    groups = {id_ for id_, value in defaults.items() if _is_group(value)}
    own = set(_ids(defaults, groups))
    known = own | set(used_ids(config)) | _WORKFLOW | _asked_for_by_monai()
    unknown = [id_ for id_ in _ids(config, groups) if id_ not in known and not id_.startswith("_")]
    offered = [*sorted(own - _WORKFLOW), *_arguments(defaults)]
    return [*(_sentence(id_, offered) for id_ in unknown), *_unknown_arguments(config, defaults)]


def _arguments(config: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of the top level's objects, such as ``loss#focal``; references stand for entries of the top."""
    for id_, value in config.items():
        if isinstance(value, Mapping) and "_target_" in value:
            yield from (f"{id_}#{name}" for name, one in value.items() if name[0] != "_" and not _is_item(one))


def _unknown_arguments(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """What to say of arguments that the bundle does not give an object, and that its class does not take."""
    for id_, value, default in _objects(config, defaults):
        if not (isinstance(value, Mapping) and isinstance(default, Mapping) and "_target_" in default):
            continue
        added = [name for name in value if name not in default and not name.startswith("_")]
        # Only now, since a class must be imported to know its arguments.
        taken = _taken(value.get("_target_")) if added else None
        if taken is not None:
            yield from (
                _sentence(f"{id_}#{name}", [f"{id_}#{one}" for one in taken]) for name in added if name not in taken
            )


def _objects(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The entries of the top level and the items of its lists, by id, with those of the bundle."""
    for id_, value in config.items():
        default = defaults.get(id_)
        yield id_, value, default
        if isinstance(value, list) and isinstance(default, list):
            yield from ((f"{id_}#{n}", *pair) for n, pair in enumerate(zip(value, default, strict=False)))


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
        The settings at the top of the configuration, for people: numbers, words, and lists of them.
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
    """The plain values at the top of a configuration, with what expressions and references among them give."""
    shown = {}
    for name, entry in parser.get().items():
        if name in _WITHOUT_EFFECT or name.startswith("_") or isinstance(entry, Mapping):
            continue
        value = parser.get_parsed_content(name) if is_code(entry) else entry
        if is_plain(value):
            shown[name] = bool(value) if name == "pretrained" else value  # which may be the path of a file
    return shown


def _sentence(id_: str, offered: list[str]) -> str:
    group, _, name = id_.rpartition("#")
    if group and name in offered:  # train#batch_size for batch_size
        return f"no setting {id_!r}; did you mean {name!r}?"
    # A name without a group may have been meant for an argument: focal for loss#focal.
    ids = [one for one in offered if not group or one.rpartition("#")[0] == group]
    last = {one.rpartition("#")[2]: one for one in reversed(ids)}
    near = [last[one] for one in difflib.get_close_matches(name, last, _OFFERED)]
    offer = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else "; see the bundle's docs/README.md"
    return f"no setting {id_!r}{offer}"


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


def _asked_for_by_monai() -> set[str]:
    """Ids that MONAI's workflows and its experiment tracking read by name."""
    properties: list[dict[Any, Any]] = [*TrainProperties.values(), *InferProperties.values()]
    tracking: dict[str, Any] = DEFAULT_MLFLOW_SETTINGS
    ids = {str(asked[BundlePropertyConfig.ID]).replace("::", "#") for asked in properties}
    return ids | set(tracking["configs"]) | {"save_execute_config"}


def bundle_entries(folder: Path | None) -> dict[str, Any]:
    """The entries of all configuration files in a bundle's folder, presets aside; none without a folder."""
    entries: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")) if folder else ():
        content = read_json(path) if path.name != "metadata.json" else {}
        for id_, value in content.items():
            first, *inner = id_.lstrip("+").replace("::", "#").split("#")
            if not inner:
                earlier = entries.get(first, {})
                entries[first] = {**earlier, **value} if _is_group(earlier) and _is_group(value) else value
            elif _is_group(entries.setdefault(first, {inner[0]: []})):
                entries[first] = {inner[0]: [], **entries[first]}
    return entries
