"""Refuses settings that no bundle has, such as ``--epoch 3`` for ``--epochs 3``, before anything is read or written.

MONAI accepts any option: an unknown one becomes an entry of the configuration that nothing uses, and the run goes on
with the default of the setting that was meant.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from monai.bundle import ConfigParser, run
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import BundlePropertyConfig

from monai_spine.bundle.configuration import being_evaluated, leaves, used_ids
from monai_spine.bundle.known_settings import WORKFLOW, KnownSettings, groups, ids, known_settings
from monai_spine.bundle.model_description import ModelDescription
from monai_spine.bundle.model_settings import describe, is_code, is_plain
from monai_spine.bundle.object_arguments import Arguments, arguments_of
from monai_spine.bundle.provenance import PHANTOM
from monai_spine.bundle.setting_names import OFFERED, holds_objects, settings_within
from monai_spine.errors import InvalidOptionError

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
        If it has an entry that the run's own files do not have and that no other entry uses, or if an option of an
        inference is a setting of the training.
    """
    config = being_evaluated()
    content = config.parser.get()
    known = known_settings(config.folder, config.files, training=is_training(content))
    own = known_settings(config.folder, config.files, training=True)
    if unknown := [
        *unknown_entries(content, known),
        *(own.unknown(id_) for id_ in sorted(config.stated) if id_ in own.elsewhere and id_ not in known.elsewhere),
    ]:
        raise InvalidOptionError("; ".join(unknown))


def refuse_none(arguments: Sequence[str], config: ConfigParser) -> None:
    """Check the command line of ``monai.bundle`` for values that MONAI leaves out; call it from ``initialize``.

    Parameters
    ----------
    arguments
        Those of the process, with the name of its program.
    config
        The merged configuration.

    Raises
    ------
    InvalidOptionError
        If an option is ``None``, and the setting is not: it would keep its value without a word.
    """
    program, *words = arguments
    if Path(program).parts[-3:] != ("monai", "bundle", "__main__.py"):
        return
    of_monai = set(inspect.signature(run).parameters)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, sign, value = word.partition("=")
        if not name.startswith("--") or (value if sign else following) != "None" or name[2:] in of_monai:
            continue
        if name[2:] not in config or config[name[2:]] is not None:
            raise InvalidOptionError(f"MONAI leaves out {name} None; write {name} '$None'")


def restore_none() -> None:
    """Make None of options ``$None`` of the configuration being evaluated, as in a file; call it from ``initialize``.

    Otherwise they would count as other settings than those of weights, or of a run to resume.
    """
    config = being_evaluated()
    parser = config.parser
    if none := [id_ for id_ in config.stated if id_ in parser and parser[id_] == "$None"]:
        parser.update(dict.fromkeys(none))
        parser.parse(reset=True)


def unknown_entries(config: Mapping[str, Any], known: KnownSettings) -> list[str]:
    """What to say of each entry that nothing knows.

    Checks the top level, groups such as ``train``, and the arguments of objects. A plain value in the place of an
    object, such as ``--loss 2``, is refused as well.

    Parameters
    ----------
    config
        The merged configuration.
    known
        Of the bundle's own files.
    """
    defaults = known.entries
    of = groups(defaults)
    right = {*ids(defaults, of), *used_ids(config), *WORKFLOW, *_asked_for_by_monai(training=is_training(config))}
    unknown = [id_ for id_ in ids(config, of) if id_ not in right and not id_.startswith("_")]
    faults = [known.unknown(id_) for id_ in unknown]
    return [*faults, *_faults_of_objects(config, known)]


def _faults_of_objects(config: Mapping[str, Any], known: KnownSettings) -> Iterator[str]:
    """What to say of objects of the bundle that became plain values, and of arguments that their classes do not take.

    Arguments that the bundle itself gives are right.
    """
    for id_, value, default in _objects("", config, known.entries):
        if is_plain(value) and value is not None and not is_code(value):
            own = list(settings_within(id_, default))[:OFFERED]
            near = f", such as {' or '.join(map(repr, own))}" if own else ""
            yield f"expected {id_} as an object, but found {value!r}; give one of its settings{near}"
        if not isinstance(value, Mapping):
            continue
        yield from _overridden(id_, value, default)
        added = [name for name in value if name not in default and not str(name).startswith("_")]
        # Only now, since a class must be imported to know its arguments.
        taken = arguments_of(value.get("_target_")) if added else Arguments()
        yield from (known.unknown(f"{id_}#{name}", taken.names) for name in added if not taken.takes(str(name)))


def _overridden(id_: str, value: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[str]:
    """What to say of settings of an optimizer that its groups of parameters set, too: those of the groups win."""
    own = value.get("params")
    if not isinstance(own, Mapping) or "_target_" not in own:
        return
    if "weight_decay" in own and "weight_decay" in value:
        yield f"setting '{id_}#weight_decay' has no effect; did you mean '{id_}#params#weight_decay'?"
    if "learning_rate" in own and value.get("lr") != default.get("lr"):
        yield f"setting '{id_}#lr' has no effect; did you mean 'learning_rate'?"


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
        within = settings_within(name, entry) if isinstance(entry, Mapping) else () if holds_objects(entry) else (name,)
        for id_ in within:
            if id_ in _WITHOUT_EFFECT or (id_.startswith(("train#", "validate#")) and not id_.startswith(_SHOWN)):
                continue
            value = parser.get_parsed_content(id_) if is_code(parser[id_]) else parser[id_]
            if is_plain(value):
                shown[id_] = bool(value) if id_ == "pretrained" else value  # which may be the path of a file
    return shown


def is_training(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is one of training, or of an evaluation that takes over a training's."""
    return "validate" in config


def _asked_for_by_monai(*, training: bool) -> set[str]:
    """Ids that MONAI's workflows and its experiment tracking read by name."""
    properties: list[dict[Any, Any]] = [*TrainProperties.values(), *(() if training else InferProperties.values())]
    tracking: dict[str, Any] = DEFAULT_MLFLOW_SETTINGS
    read = {str(asked[BundlePropertyConfig.ID]).replace("::", "#") for asked in properties}
    return read | set(tracking["configs"]) | {"save_execute_config"}
