"""YAML into dataclasses: every key is known, every value has the type of its field, and each mistake is one line."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, near_names, one_line

Section = TypeVar("Section")


def number(default: float, least: float, most: float) -> Any:
    """A field of a dataclass: a number within bounds."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML would use the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises
    ------
    MissingInputError, InvalidTableError
        If there is no such file, or it is not YAML.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a configuration in YAML, but there is no file {path}")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidTableError(f"{path} is not YAML: {one_line(error)}") from error


def section(made: type[Section], content: object, place: str) -> Section:
    """A dataclass from a mapping; ``place`` is where it stands, for messages.

    Raises
    ------
    InvalidOptionError
        If a key is not known or missing, or a value has another type or is out of bounds.
    """
    own = {one.name: one for one in dataclasses.fields(made)}  # type: ignore[arg-type]
    if not isinstance(content, Mapping):
        raise InvalidOptionError(f"{place}: expected keys such as {next(iter(own))!r}, but found {content!r}")
    for key in content:
        if key not in own:
            raise InvalidOptionError(f"{place}: unknown key {key!r}{near_names(str(key), own)}")
    hints = get_type_hints(made)
    values = {}
    for name, one in own.items():
        if content.get(name) is not None:
            values[name] = _value(hints[name], content[name], _below(place, name), one.metadata)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise InvalidOptionError(f"{place}: expected the key {name!r}, but it is missing")
    return made(**values)


def _below(place: str, name: str) -> str:
    return f"{place}, {name}" if place.endswith((".yaml", ".yml")) else f"{place}.{name}"


def _value(hint: Any, value: object, place: str, bounds: Mapping[str, Any]) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return section(hint, value, place)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InvalidOptionError(f"{place}: expected a list, but found {value!r}")
        one = get_args(hint)[0]
        return tuple(_value(one, item, f"{place}[{n}]", bounds) for n, item in enumerate(value))
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise InvalidOptionError(f"{place}: expected names and values, but found {value!r}")
        return {str(key): str(item) for key, item in value.items()}
    return _scalar(hint, value, place, bounds)


def _scalar(hint: type, value: object, place: str, bounds: Mapping[str, Any]) -> Any:
    # YAML reads `yes` as true and `1e3` as text: what a person meant is not guessed.
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    fits = isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and hint is not bool):
        name = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}[hint]
        raise InvalidOptionError(f"{place}: expected {name}, but found {value!r}")
    if bounds and not bounds["least"] <= value <= bounds["most"]:
        least, most = (f"{bounds[name]:g}" for name in ("least", "most"))
        raise InvalidOptionError(f"{place}: expected a number from {least} to {most}, but found {value!r}")
    return value
