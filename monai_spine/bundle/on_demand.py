"""Models that each process opens for itself, when it needs them: networks are not sent between processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

_ONE_AT_A_TIME = threading.RLock()
"""A cache alone lets threads that come at the same time open the same models, each its own."""


@dataclass(frozen=True)
class OnDemand:
    """Opens models in the process that needs them, once.

    Attributes
    ----------
    opener
        The path of a function, such as ``monai_spine.prediction.models.open_models``. Its module is imported when the
        models are opened, so that other processes can begin before this one has imported what it needs.
    options
        Its arguments by name; equal ones share their models.
    """

    opener: str
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, opener: str, options: Mapping[str, Any]) -> OnDemand:
        """With options as the opener takes them."""
        own = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        return cls(opener, tuple(sorted(own.items())))

    def absolute(self) -> OnDemand:
        """With absolute paths, for a process with another working folder."""
        return OnDemand(self.opener, tuple((name, _absolute(value)) for name, value in self.options))

    def replaced(self, **options: Any) -> OnDemand:
        """With some options in the place of its own."""
        return OnDemand.of(self.opener, dict(self.options) | options)

    def __call__(self) -> Any:
        """The models of this process."""
        with _ONE_AT_A_TIME:
            return _opened(self.opener, self.options)

    def close(self) -> None:
        """Let the models of this process go."""
        with _ONE_AT_A_TIME:
            _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(opener: str, options: tuple[tuple[str, Any], ...]) -> Any:
    module, _, name = opener.rpartition(".")
    return getattr(import_module(module), name)(**dict(options))


def _absolute(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_absolute, value))
    return value.absolute() if isinstance(value, Path) else value
