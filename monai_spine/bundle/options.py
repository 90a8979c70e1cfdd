"""Refuses settings that no bundle has, such as ``--epoch 3`` for ``--epochs 3``, before anything is read or written.

MONAI accepts any option: an unknown one becomes an entry of the configuration that nothing uses, and the run goes on
with the default of the setting that was meant.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import BundlePropertyConfig

from monai_spine.errors import InvalidOptionError
from monai_spine.files import read_json

_REFERENCE = re.compile(r"[@%]([A-Za-z_][\w#:]*)")
_WORKFLOW = {"imports", "initialize", "run", "finalize", "training", "evaluation", "inference"}
"""What MONAI, or a user, runs by name."""
_OFFERED = 3
"""How many near names an error offers."""
_WITHOUT_EFFECT = {
    *("imports", "initialize", "run", "finalize", "training", "training_run", "tensorboard", "listeners", "network"),
    *("bundle_root", "dataset_dir", "datalist", "ckpt_dir", "cache_dir", "output_dir", "logging_file"),
    *("device", "num_workers", "progress", "cache_gb", "cache_rate", "figures_every", "embedding_images"),
    *("resume", "resumed", "weights", "epochs"),
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
    parser, folder = _being_evaluated()
    if unknown := unknown_entries(parser.get(), _defaults(folder)):
        raise InvalidOptionError("; ".join(unknown))


def unknown_entries(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What to say of each entry that nothing knows; checks the top level and groups such as ``train``.

    Arguments of classes and functions are not looked at: Python refuses a wrong one when it calls them.

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
    known = own | set(_used(config)) | _WORKFLOW | _asked_for_by_monai()
    unknown = [id_ for id_ in _ids(config, groups) if id_ not in known and not id_.startswith("_")]
    return [_sentence(id_, sorted(own - _WORKFLOW)) for id_ in unknown]


def result_settings(datalist: str | None = None) -> dict[str, str]:
    """What the result of a training depends on, as texts by name; an expression of its configuration calls this.

    These are the configuration's entries, the number of processes, and a digest of the datalist.

    Parameters
    ----------
    datalist
        The path of the datalist; None for a training that has none.
    """
    parser, _ = _being_evaluated()
    settings = {
        id_: json.dumps(value, sort_keys=True, default=repr)
        for name, entry in parser.get().items()
        if name not in _WITHOUT_EFFECT and not name.startswith("_")
        for id_, value in _leaves(name, entry)
    }
    settings["processes"] = str(idist.get_world_size())
    if datalist is not None and Path(datalist).is_file():
        content = hashlib.sha256(Path(datalist).read_bytes()).hexdigest()
        settings["datalist"] = f"a file with the SHA-256 {content[:16]}"
    return settings


def _leaves(id_: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values within an entry, with ids as in ``views#0#slices``; handlers only watch, so they are left out."""
    if id_.endswith(("#handlers", "#_desc_")):
        return
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{id_}#{key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for n, inner in enumerate(value):
            yield from _leaves(f"{id_}#{n}", inner)
    else:
        yield id_, value


def _sentence(id_: str, offered: list[str]) -> str:
    group, mark, name = id_.rpartition("#")
    if group and name in offered:  # train#batch_size for batch_size
        return f"no setting {id_!r}; did you mean {name!r}?"
    names = [one.removeprefix(group + mark) for one in offered if one.rpartition("#")[0] == group]
    near = [group + mark + one for one in difflib.get_close_matches(name, names, _OFFERED)]
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


def _used(value: Any) -> Iterator[str]:
    """All ids that the texts of a configuration refer to, and the ids around them."""
    if isinstance(value, str):
        for reference in _REFERENCE.findall(value):
            parts = reference.replace("::", "#").rstrip(":").split("#")
            yield from ("#".join(parts[: n + 1]) for n in range(len(parts)))
    elif isinstance(value, Mapping):
        for id_, inner in value.items():
            if id_ != "_meta_":
                yield from _used(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _used(inner)


def _asked_for_by_monai() -> set[str]:
    """Ids that MONAI's workflows and its experiment tracking read by name."""
    properties: list[dict[Any, Any]] = [*TrainProperties.values(), *InferProperties.values()]
    tracking: dict[str, Any] = DEFAULT_MLFLOW_SETTINGS
    ids = {str(asked[BundlePropertyConfig.ID]).replace("::", "#") for asked in properties}
    return ids | set(tracking["configs"]) | {"save_execute_config"}


def _defaults(folder: Path | None) -> dict[str, Any]:
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


def _being_evaluated() -> tuple[ConfigParser, Path | None]:
    """The parser whose expression called this, and the folder of its first configuration file, where that is known.

    MONAI gives an expression the values of other entries, but not the configuration itself; it stands on the call
    stack, in the frames of the parser and of the workflow that evaluate the expression.
    """
    parser = folder = None
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if parser is None and isinstance(owner, ConfigParser):
            parser = owner
        if isinstance(owner, ConfigWorkflow):
            folder = Path(owner.config_root_path)
            break
        frame = frame.f_back
    if parser is None:
        raise RuntimeError("expected to be called by an expression of a MONAI configuration")
    return parser, folder
