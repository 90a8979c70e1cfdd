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
    """What to say of each setting with a value that it cannot have."""
    faults = []
    for id_, (expected, fits) in RULES.items():
        try:
            value = setting_of(config, id_)
        except KeyError:
            continue
        if not _is_expression(value) and not fits(value):
            faults.append(f"expected {id_} as {expected}, but found {value!r}")
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
    **dict.fromkeys(("epochs", "batch_size", "val_interval", "images_per_epoch", "validation_images"), _whole(1)),
    **dict.fromkeys(("replicates", "network_def#features", "train#trainer#accumulation_steps"), _whole(1)),
    **dict.fromkeys(("patience", "num_workers", "fold", "seed", "network_def#condition_layers"), _whole(0)),
    "learning_rate": _number(0, above=True),
    **dict.fromkeys(("optimizer#weight_decay", "optimizer#params#weight_decay"), _number(0)),
    **dict.fromkeys(("optimizer#params#backbone_rate", "lr_scheduler#warmup", "store#cache_gb"), _number(0)),
    **dict.fromkeys(("loss#any_severe", "loss#focal", "augmentation_strength", "marked_weight"), _number(0)),
    # probabilities of the grader's; of the image classifier's, alphas of beta distributions
    **dict.fromkeys(("mixing#levels", "mixing#halves", "mixing#mixup", "mixing#cutmix", "mixing#holes"), _number(0, 1)),
    **dict.fromkeys(("mixing#manifold_mixup", "mixing#shuffle_slices", "mixing#repeat_outer"), _number(0, 1)),
    **dict.fromkeys(("mixing#mixup_alpha", "mixing#cutmix_alpha"), _number(0)),
    **dict.fromkeys(("network_def#dropout", "network_def#drop_path", "network_def#drop_view"), _number(0, 1)),
    **dict.fromkeys(("optimizer#params#layer_decay", "ema#momentum", "loss#label_smoothing"), _number(0, 1)),
    **dict.fromkeys(("cache_rate", "pseudo_weight", "loss#ordinal"), _number(0, 1)),
    **dict.fromkeys(("amp", "given_points", "overlays", "progress", "training_run#progress"), _flag()),
    **dict.fromkeys(("network_def#neighbours", "network_def#checkpointing", "network_def#up_path"), _flag()),
    **dict.fromkeys(("network_def#standardise", "network_def#validity"), _flag()),
    **dict.fromkeys(("start#channels_last", "start#compiled"), _flag()),
    **dict.fromkeys(("train#sampler#balanced", "train#features#once"), _flag()),
    "pixels": _sizes(2),
    "grid_size": _sizes(3),
    "backbones": _names(needed=True),
    "conditions": _names([condition.value for condition in Condition]),
}
"""Of all bundles, by id. A setting has the same meaning in each of them."""


def setting_of(config: Mapping[str, Any], id_: str) -> Any:
    """The value at an id such as ``loss#focal``, of a merged configuration, or of a file that may name the id itself.

    Raises
    ------
    KeyError
        If there is none.
    """
    if id_ in config:
        return config[id_]
    group, _, inner = id_.partition("#")
    value = config[group]
    if not inner or not isinstance(value, Mapping):
        raise KeyError(id_)
    return setting_of(value, inner)


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
