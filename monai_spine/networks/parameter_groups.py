"""What an optimizer is to train at which rate: heads faster than backbones, late layers faster than early ones."""

from __future__ import annotations

from typing import Any

import timm.optim
from torch import nn

from monai_spine.networks.level_grader import LevelGrader


def parameter_groups(
    network: LevelGrader, *, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups of a grader's parameters that are trained, as `torch.optim` takes them.

    Parameters
    ----------
    learning_rate
        Of all but the backbones.
    weight_decay
        Of all but the backbones' biases and normalisations, which have none.
    layer_decay
        Each layer of a backbone learns this many times as fast as the next one (Clark et al. 2020, arXiv:2003.10555,
        as timm counts layers); 1 for one rate.
    """
    groups: list[dict[str, Any]] = []
    for body in network.backbones:
        made = timm.optim.param_groups_layer_decay(_body(body), weight_decay=weight_decay, layer_decay=layer_decay)
        groups += [
            {"params": group["params"], "lr": learning_rate * group["lr_scale"], "weight_decay": group["weight_decay"]}
            for group in made
        ]
    own = {id(parameter) for parameter in network.backbones.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own]
    groups.append({"params": rest, "lr": learning_rate, "weight_decay": weight_decay})
    for group in groups:
        group["params"] = [parameter for parameter in group["params"] if parameter.requires_grad]
    return [group for group in groups if group["params"]]


def _body(backbone: nn.Module) -> nn.Module:
    body: nn.Module = backbone.body  # type: ignore[assignment]
    return body
