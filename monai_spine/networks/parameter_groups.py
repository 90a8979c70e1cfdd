"""What an optimizer is to train at which rate: heads faster than backbones, late layers faster than early ones."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from timm.models import group_parameters
from torch import nn

from monai_spine.networks.backbone import Backbone


def parameter_groups(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    *,
    backbone_rate: float = 1.0,
    trained: Container[int] | None = None,
) -> list[dict[str, Any]]:
    """Groups of the parameters that are trained, as `torch.optim` takes them.

    Parameters
    ----------
    network
        Any, with a `Backbone` or several in it.
    learning_rate
        Of all but the backbones.
    weight_decay
        Of all but the backbones' biases and normalisations, which have none.
    layer_decay
        Each layer of a backbone learns this many times as fast as the next one (Clark et al. 2020, arXiv:2003.10555,
        as timm counts layers); 1 for one rate.
    backbone_rate
        How many times as fast as the rest the backbones' last layers learn.
    trained
        Identities (`id`) of the parameters that are trained; None asks each whether it takes a gradient.
    """
    taken = _asks_gradient if trained is None else (lambda parameter: id(parameter) in trained)
    groups: list[dict[str, Any]] = []
    backbones = [module for module in network.modules() if isinstance(module, Backbone)]
    for backbone in backbones:
        rate = learning_rate * backbone_rate
        groups += _by_layer(backbone.body, rate, weight_decay, layer_decay, taken)
    own = {id(parameter) for backbone in backbones for parameter in backbone.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own and taken(parameter)]
    return [*groups, {"params": rest, "lr": learning_rate, "weight_decay": weight_decay}] if rest else groups


def _by_layer(
    body: Any, rate: float, weight_decay: float, layer_decay: float, taken: Callable[[nn.Parameter], bool]
) -> list[dict[str, Any]]:
    layers = group_parameters(body, body.group_matcher(coarse=False), reverse=True)
    last = max(layers.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in body.named_parameters():
        if not taken(parameter):
            continue
        layer, decays = layers.get(name, last), parameter.ndim > 1
        made = {"params": [], "lr": rate * layer_decay ** (last - layer), "weight_decay": weight_decay if decays else 0}
        groups.setdefault((layer, decays), made)["params"].append(parameter)
    return list(groups.values())


def _asks_gradient(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad
