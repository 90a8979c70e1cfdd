"""The search space: configuration entries and their ranges, read from a file and checked before anything runs.

The file is a JSON or YAML object with an entry for each configuration id::

    {"learning_rate": {"type": "float", "low": 0.0001, "high": 0.01, "log": true},
     "network_def#dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
     "batch_size": {"type": "int", "low": 4, "high": 32, "log": true},
     "backbone": {"choices": ["resnet18", "convnext_nano"]},
     "lr_scheduler": {"choices": {"one cycle": {…}, "cosine": {…}}},
     "size": {"sets": {"small": {"pixels": [64, 64], "batch_size": 8},
                       "large": {"pixels": [128, 128], "batch_size": 2}}}}

``choices`` is a list of values, or an object with a name for each value. ``sets`` chooses values for several ids at
once; its own name can be any.

A space is data: a value that MONAI would run as code is refused, unless the caller trusts the file.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_spine.bundle.model_settings import is_code
from monai_spine.bundle.setting_names import near_ids
from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import read_json

if TYPE_CHECKING:
    import optuna

OWN = (
    *("bundle_root", "dataset_dir", "datalist", "ckpt_dir", "output_dir", "cache_dir"),
    *("resume", "logging_file", "fold", "seed"),
)
"""Configuration entries that a search sets itself."""

_NUMBER = ("type", "low", "high", "log", "step")
_SEPARATORS = ("::", "#")
_ABSENT = object()


@dataclass(frozen=True)
class NumberRange:
    """Numbers from ``low`` to ``high``, both included; whole numbers if ``whole``."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> dict[str, Any]:
        """The value that the trial takes, by configuration id."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return {name: trial.suggest_int(name, int(self.low), int(self.high), log=self.log, step=step)}
        return {name: trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)}


@dataclass(frozen=True)
class Choice:
    """One of several options: by its name, the entries that it sets."""

    options: Mapping[str, Mapping[str, Any]]

    def suggest(self, trial: optuna.Trial, name: str) -> dict[str, Any]:
        """The values that the trial takes, by configuration id."""
        return dict(self.options[trial.suggest_categorical(name, list(self.options))])


@dataclass(frozen=True)
class Space:
    """All parameters of a search, by name."""

    parameters: Mapping[str, NumberRange | Choice]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A value for each configuration id."""
        overrides: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            overrides |= parameter.suggest(trial, name)
        return overrides

    def ids(self) -> set[str]:
        """The configuration ids that a trial sets."""
        ids = set()
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Choice):
                ids |= {id_ for option in parameter.options.values() for id_ in option}
            else:
                ids.add(name)
        return ids

    def plain_ids(self) -> set[str]:
        """The ids among them that get a number, a word, or True or False."""
        ids = set()
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Choice):
                values = [pair for option in parameter.options.values() for pair in option.items()]
                ids |= {id_ for id_, value in values if isinstance(value, str | int | float) and not is_code(value)}
            else:
                ids.add(name)
        return ids

    @property
    def fingerprint(self) -> str:
        """A digest of names, ranges and options."""
        return hashlib.sha256(repr(sorted(self.parameters.items())).encode()).hexdigest()


def read_space(path: Path, configs: Sequence[Path], *, trust: bool = False) -> Space:
    """Read and check a search space.

    ``configs``: the bundle's configuration files, in which the ids are looked up.
    ``trust``: whether values may run code: ``$`` expressions, ``%`` macros, and any ``_target_``.
    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if the file is neither JSON nor YAML, has an id that the configuration lacks, or a range
    that is not valid. The message lists all faults.
    """
    content = _content(path)
    faults: list[str] = []
    parameters = {}
    for name, definition in content.items():
        try:
            parameters[str(name)] = _parameter(str(name), definition)
        except ValueError as err:
            faults.append(f"{name}: {err}")
    if not trust:
        faults += [f"{fault}; give --trust if you trust the file" for fault in _code(content)]
    space = Space(parameters)
    contents = [read_json(file) for file in configs]
    known = [id_ for content in contents for id_ in _ids(content)]
    for id_ in sorted(space.ids()):
        if id_ in OWN:
            faults.append(f"{id_} is set by the search itself; remove it")
        elif id_ not in known and not any(_has(content, id_) for content in contents):
            near = near_ids(id_, known)
            faults.append(f"{id_}: the bundle's configuration has no such id; similar ids: {', '.join(near) or 'none'}")
    for id_ in sorted(space.plain_ids()):
        objects = [
            one for content in contents if isinstance(one := _value(content, id_), Mapping) and "_target_" in one
        ]
        if objects:
            own = listed([f"{id_}#{name}" for name in objects[0] if not name.startswith("_")])
            faults.append(f"{id_}: an object, which a plain value cannot replace; choose values of {own}")
    twice = _twice(space)
    faults += [f"{id_}: set by {' and by '.join(names)}" for id_, names in twice.items()]
    if faults:
        raise InvalidTableError(f"{path}: {listed(faults, separator='; ')}")
    return space


_PACKAGES = (
    *("torch.optim", "monai.losses", "monai.networks", "monai.optimizers", "monai.transforms"),
    *("monai_spine.crops", "monai_spine.images", "monai_spine.networks", "monai_spine.training"),
    "monai_spine.transforms",
)
"""Whose classes a space may name as ``_target_``. A function or class of another package, such as ``os.system``, could
run whatever follows."""


def _code(value: Any, place: str = "", is_target: bool = False) -> Iterator[str]:
    """A sentence for each value that MONAI's parser would run as code."""
    if isinstance(value, str):
        if "$" in value or value.lstrip().startswith("%"):
            yield f"{place}: expected a value, but found the expression {value!r:.60}, which is code"
        elif is_target and not _is_harmless(value):
            yield (
                f"{place}: expected the full name of a class of {', '.join(_PACKAGES)} as _target_, but found "
                f"{value!r:.60}, which may be any code"
            )
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        # A parameter such as "lr_scheduler#_target_" has its targets one level below, among its choices.
        named = str(key).replace("::", "#").rpartition("#")[2] == "_target_"
        yield from _code(inner, f"{place}#{key}".lstrip("#"), named or is_target)


def _is_harmless(target: str) -> bool:
    """Whether a name leads to a class that one of `_PACKAGES` defines: modules also hold what they import.

    A name without a module is one of MONAI's, or of nobody's.
    """
    module, _, name = target.rpartition(".")
    if not module:
        from monai.bundle.config_item import ComponentLocator  # imports all of MONAI

        modules = ComponentLocator().get_component_module_name(name) or []
        return all(_is_harmless(f"{one}.{name}") for one in ([modules] if isinstance(modules, str) else modules))
    if not any(module == package or module.startswith(f"{package}.") for package in _PACKAGES):
        return False
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return isinstance(named, type) and named.__module__.startswith(_PACKAGES)


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingInputError(f"expected a search space in JSON or YAML, but there is no file {path}")
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON without tabs is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise InvalidTableError(f"{path} is neither JSON nor YAML: {' '.join(str(err).split())}") from err
    if not isinstance(content, dict) or not content:
        raise InvalidTableError(f"{path}: expected an object with an entry for each id, but found {content!r:.60}")
    return content


def _parameter(name: str, definition: Any) -> NumberRange | Choice:
    if not isinstance(definition, dict):
        raise ValueError(
            f"expected an object such as {{'type': 'float', 'low': 0, 'high': 1}}, but found {definition!r:.60}"
        )
    if "choices" in definition:
        _only(definition, ("choices",), "choices")
        return _choice(name, definition["choices"])
    if "sets" in definition:
        _only(definition, ("sets",), "sets")
        return _sets(definition["sets"])
    return _range(definition)


def _range(definition: dict[str, Any]) -> NumberRange:
    number_type = definition.get("type")
    if number_type not in {"float", "int"}:
        raise ValueError(f"expected 'choices', 'sets', or the type 'float' or 'int', but found {number_type!r}")
    _only(definition, _NUMBER, f"the type {number_type}")
    low, high = (_number(definition, key) for key in ("low", "high"))
    step = _number(definition, "step") if definition.get("step") is not None else None
    log = definition.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"expected log as true or false, but found {log!r}")
    if not low < high:
        raise ValueError(f"expected low below high, but found {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"expected low above 0 on a logarithmic scale, but found {low:g}")
    if log and step is not None:
        raise ValueError("expected either log or step")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"expected a step between 0 and high - low, but found {step:g}")
    if number_type == "int" and any(value != int(value) for value in (low, high, step or 1)):
        raise ValueError("expected whole numbers for the type int")
    return NumberRange(low, high, log, step, number_type == "int")


def _number(definition: dict[str, Any], key: str) -> float:
    try:
        value = float(definition[key])  # YAML reads 1e-4 as text
    except KeyError as err:
        raise ValueError(f"expected {key!r}") from err
    except (TypeError, ValueError) as err:
        raise ValueError(f"expected {key} as a number, but found {definition[key]!r}") from err
    if not math.isfinite(value) or isinstance(definition[key], bool):
        raise ValueError(f"expected {key} as a finite number, but found {definition[key]!r}")
    return value


def _choice(name: str, choices: Any) -> Choice:
    if isinstance(choices, dict):
        named = {str(label): value for label, value in choices.items()}
    elif isinstance(choices, list):
        named = {value if isinstance(value, str) else json.dumps(value): value for value in choices}
        if len(named) < len(choices):
            raise ValueError("expected each choice once")
    else:
        raise ValueError(f"expected choices as a list, or as an object of names and values, but found {choices!r:.60}")
    if len(named) < 2:
        raise ValueError(f"expected at least two choices, but found {len(named)}")
    return Choice({label: {name: value} for label, value in named.items()})


def _sets(sets: Any) -> Choice:
    if not isinstance(sets, dict) or not all(isinstance(one, dict) and one for one in sets.values()):
        raise ValueError("expected sets as an object of names, each with an object of ids and values")
    if len(sets) < 2:
        raise ValueError(f"expected at least two sets, but found {len(sets)}")
    return Choice({str(label): {str(id_): value for id_, value in one.items()} for label, one in sets.items()})


def _only(definition: dict[str, Any], known: Sequence[str], subject: str) -> None:
    others = [str(key) for key in definition if key not in known]
    if others:
        raise ValueError(f"expected {', '.join(known)} for {subject}, but found {', '.join(others)}")


def _twice(space: Space) -> dict[str, list[str]]:
    """The ids that several parameters set, with the names of these."""
    setters: dict[str, list[str]] = {}
    for name, parameter in space.parameters.items():
        for id_ in sorted(Space({name: parameter}).ids()):
            setters.setdefault(id_, []).append(name)
    return {id_: names for id_, names in setters.items() if len(names) > 1}


def _has(config: Any, id_: str) -> bool:
    """Whether the configuration has an entry with a path such as ``train#dataloader#batch_size``."""
    return _value(config, id_) is not _ABSENT


def _value(config: Any, id_: str) -> Any:
    """The entry with such a path; `_ABSENT` if there is none."""
    for separator in _SEPARATORS:
        id_ = id_.replace(separator, "\0")
    for key in id_.split("\0"):
        if isinstance(config, Mapping) and key in config:
            config = config[key]
        elif isinstance(config, list) and key.isdecimal() and int(key) < len(config):
            config = config[int(key)]
        else:
            return _ABSENT
    return config


def _ids(config: Any, prefix: str = "") -> Iterator[str]:
    """The paths of all entries."""
    items = config.items() if isinstance(config, Mapping) else enumerate(config) if isinstance(config, list) else ()
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _ids(value, f"{prefix}{key}#")
