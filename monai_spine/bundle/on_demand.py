"""Models that each process opens for itself, when it needs them: networks are not sent between processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OnDemand:
    """Opens models in the process that needs them, once.

    Attributes
    ----------
    opener
        A function of a module, such as `monai_spine.prediction.models.open_models`.
    options
        Its arguments by name; equal ones share their models.
    """

    opener: Callable[..., Any]
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, opener: Callable[..., Any], options: Mapping[str, Any]) -> OnDemand:
        """With options as the opener takes them; paths become absolute, since a worker has another working folder."""
        return cls(opener, tuple((name, _absolute(value)) for name, value in sorted(options.items())))

    def __call__(self) -> Any:
        """The models of this process."""
        return _opened(self.opener, self.options)


@lru_cache(maxsize=1)
def _opened(opener: Callable[..., Any], options: tuple[tuple[str, Any], ...]) -> Any:
    return opener(**dict(options))


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    if isinstance(value, list | tuple):
        return tuple(_absolute(one) for one in value)
    return value
