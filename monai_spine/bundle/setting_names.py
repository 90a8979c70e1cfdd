"""Names of settings within a bundle's configuration: those of its objects, and which ones a wrong name may mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monai_spine.errors import nearest

OFFERED = 3
"""How many near names an error offers."""
_SAME_WORD = 0.9
"""How alike the first word of a name is to one that is offered for it (`nearest`)."""


def settings_within(id_: str, value: Any) -> Iterator[str]:
    """The arguments of objects within an entry, such as ``loss#focal``, but for references and for handlers.

    Objects within groups are among them, such as ``train#augmentation``.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).startswith("_") or name == "handlers":  # a name may be a number, as the epochs of unfreeze
                continue
            if isinstance(inner, Mapping) and "_target_" in inner:
                yield f"{id_}#{name}"
            if isinstance(inner, Mapping) or holds_objects(inner):
                yield from settings_within(f"{id_}#{name}", inner)
            elif "_target_" in value and not (isinstance(inner, str) and inner.startswith(("@", "%"))):
                yield f"{id_}#{name}"
    elif holds_objects(value):
        for n, inner in enumerate(value):
            yield from settings_within(f"{id_}#{n}", inner)


def holds_objects(value: Any) -> bool:
    """Whether a value is a list of objects or groups."""
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def unknown_setting(id_: str, offered: Sequence[str]) -> str:
    """What to say of an id that is none of those that are offered."""
    near = near_ids(id_, offered)
    offer = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else "; see the bundle's docs/README.md"
    return f"no setting {id_!r}{offer}"


def near_ids(id_: str, offered: Sequence[str]) -> list[str]:
    """The ids that an unknown one may mean: with the same last name, or near ones in its group, or near ones anywhere.

    So the name of a setting without its group is found, too: ``mixup`` for ``mixing#mixup``.
    """
    group, _, name = id_.rpartition("#")
    same = [one for one in dict.fromkeys(offered) if one.rpartition("#")[2] == name]
    if same:
        depth = min(one.count("#") for one in same)
        return [one for one in same if one.count("#") == depth][:OFFERED]
    of_group = [one for one in offered if one.rpartition("#")[0] == group] if group else []
    return (
        nearest(name, of_group, most=OFFERED, spellings=_last_name)
        or nearest(name, offered, most=OFFERED, spellings=_names)
        or nearest(name, of_group, most=OFFERED, least=_SAME_WORD, spellings=_first_word)
        or nearest(name, offered, most=OFFERED, least=_SAME_WORD, spellings=_first_word)
    )


def _last_name(id_: str) -> list[str]:
    return [id_.rpartition("#")[2]]


def _names(id_: str) -> list[str]:
    return [id_.rpartition("#")[2], id_.replace("#", "_")]  # also ema_momentum for ema#momentum


def _first_word(id_: str) -> list[str]:
    return [id_.rpartition("#")[2].partition("_")[0]]  # mixup for mixup_alpha
