"""The arguments that the classes and functions of a configuration's objects take."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.bundle.config_item import ComponentLocator
from torch import nn

from monai_spine.errors import similarity

_PASSES_ON = re.compile(r"super\([^)]*\)\.__init__\([^)]*\*\*|\w\.__init__\([^)]*\*\*")
_ALMOST = 0.85
"""How alike one of an object's arguments another name is (`similarity`) that is a mistyped one."""


@dataclass(frozen=True)
class Arguments:
    """What an object of a configuration can be given.

    Attributes
    ----------
    names
        Of its arguments.
    others
        Whether it takes arguments of any other name as well.
    """

    names: tuple[str, ...] = ()
    others: bool = False

    def takes(self, name: str) -> bool:
        """Whether it takes an argument; where it takes any, one that is almost the name of another is mistyped."""
        if name in self.names:
            return True
        return self.others and all(similarity(name, one) < _ALMOST for one in self.names)


def arguments_of(target: Any) -> Arguments:
    """The arguments of a class or function, by its path or by MONAI's short name; any, where they are not known."""
    try:
        made = _located(str(target))
        if inspect.isclass(made):
            return _of_class(made)
        return _merged([inspect.signature(made)], others=None)  # type: ignore[arg-type]
    except (TypeError, ValueError, ErrorDuringImport):
        return Arguments(others=True)


def _located(target: str) -> object:
    """What a configuration's ``_target_`` names, as MONAI's ``ConfigComponent`` finds it."""
    if "." not in target:
        modules = _short_names().get_component_module_name(target)
        if modules:
            target = f"{modules if isinstance(modules, str) else modules[0]}.{target}"
    return locate(target)


@functools.cache
def _short_names() -> ComponentLocator:
    return ComponentLocator(excludes=["monai_spine"])


def _of_class(made: type) -> Arguments:
    """Those of a class and, where it passes further ones on to its base, those of the base, too."""
    signatures: list[inspect.Signature] = []
    for one in made.__mro__:
        if one in (nn.Module, object):  # which refuse them, whatever their signature says
            return _merged(signatures, others=False)
        if "__init__" not in vars(one):
            if "__new__" in vars(one):
                return _merged([*signatures, inspect.signature(one)], others=None)
            continue
        signature = inspect.signature(vars(one)["__init__"])
        signatures.append(signature)
        if not _takes_any(signature) or not _PASSES_ON.search(_source(vars(one)["__init__"])):
            return _merged(signatures, others=None)
    return _merged(signatures, others=None)


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except OSError:
        return ""


def _takes_any(signature: inspect.Signature) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())


def _merged(signatures: Iterable[inspect.Signature], *, others: bool | None) -> Arguments:
    """The named arguments of signatures; where ``others`` is None, the last signature says whether it takes others."""
    several = list(signatures)
    names = [
        one.name
        for signature in several
        for one in signature.parameters.values()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name != "self"
    ]
    return Arguments(
        tuple(dict.fromkeys(names)), bool(several) and _takes_any(several[-1]) if others is None else others
    )
