"""Refuses values that a setting cannot have, such as ``--epochs 0``, with one line before anything is read or made.

Without this check the error is that of the first object that cannot be made of the value, deep inside a library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from monai_spine.bundle.configuration import being_evaluated
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import Condition

Rule = tuple[str, Callable[[Any], bool]]
"""What is expected, in words, and whether a value is that."""


def refuse_impossible() -> None:
    """Check the configuration whose expression is being evaluated; call it from ``initialize``.

    Raises
    ------
    InvalidOptionError
        If settings have values that they cannot have. Expressions and references are not checked.
    """
    if faults := impossible_values(being_evaluated().parser.get()):
        raise InvalidOptionError("; ".join(faults))


def impossible_values(config: Mapping[str, Any]) -> list[str]:
    """What to say of each setting with a value that it cannot have; the top level is checked."""
    faults = []
    for name, (expected, fits) in RULES.items():
        value = config.get(name)
        if name in config and not _is_expression(value) and not fits(value):
            faults.append(f"expected {name} as {expected}, but found {value!r}")
    return faults


def _whole(least: int) -> Rule:
    return f"a whole number of at least {least}", lambda value: _is_whole(value) and value >= least


def _number(least: float, most: float = math.inf, *, above: bool = False) -> Rule:
    bounds = f"above {least:g}" if above else f"of at least {least:g}"
    words = f"a number {bounds}" if most == math.inf else f"a number from {least:g} to {most:g}"
    return words, lambda value: _is_number(value) and (value > least if above else value >= least) and value <= most


def _flag() -> Rule:
    return "True or False", lambda value: isinstance(value, bool)


def _sizes(count: int) -> Rule:
    words = {2: 'two whole numbers, such as "[64,64]"', 3: 'three whole numbers, such as "[12,144,144]"'}[count]
    return words, lambda value: _is_list(value) and len(value) == count and all(_is_whole(n) and n > 0 for n in value)


def _names(known: list[str] | None = None, *, needed: bool = False) -> Rule:
    example = (known or ["resnet18"])[0]
    words = f"a list of names, such as \"['{example}']\"" + (f", out of {', '.join(known)}" if known else "")

    def fits(value: Any) -> bool:
        return (value is None and not needed) or (
            _is_list(value)
            and len(value) > 0
            and all(isinstance(one, str) and (not known or one in known) for one in value)
        )

    return words, fits


RULES: dict[str, Rule] = {
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "accumulation_steps": _whole(1),
    "val_interval": _whole(1),
    "images_per_epoch": _whole(1),
    "validation_images": _whole(1),
    "features": _whole(1),
    "replicates": _whole(1),
    "patience": _whole(0),
    "num_workers": _whole(0),
    "fold": _whole(0),
    "seed": _whole(0),
    "condition_layers": _whole(0),
    "learning_rate": _number(0, above=True),
    "layer_decay": _number(0, 1),
    "weight_decay": _number(0),
    "backbone_rate": _number(0),
    "warmup_epochs": _number(0),
    "any_severe": _number(0),
    "focal": _number(0),
    "cache_gb": _number(0),
    **dict.fromkeys(
        ("dropout", "drop_path", "drop_view", "label_smoothing", "ema_momentum", "cache_rate"), _number(0, 1)
    ),
    **dict.fromkeys(("mix_levels", "mix_halves", "mixup", "cutmix", "holes"), _number(0)),
    **dict.fromkeys(("neighbours", "checkpointing", "channels_last", "compile", "hold_backbones", "amp"), _flag()),
    **dict.fromkeys(
        ("given_points", "balanced_sampling", "cache_features", "overlays", "progress", "up_path"), _flag()
    ),
    "pixels": _sizes(2),
    "grid_size": _sizes(3),
    "backbones": _names(needed=True),
    "conditions": _names([condition.value for condition in Condition]),
}
"""Of all bundles, by name. A setting has the same meaning in each of them."""


def _is_expression(value: Any) -> bool:
    if _is_list(value):
        return any(_is_expression(one) for one in value)
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
