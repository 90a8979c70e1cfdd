"""Groups of parameters with learning rates: heads learn faster than backbones, late layers faster than early ones."""

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
    """Groups of the parameters that are trained, as `torch.optim` takes them, each with a ``name`` for logs.

    Names are ``head`` and ``backbone``, of several backbones ``backbone_2``, with a layer decay ``backbone/layer_3``.

    Parameters
    ----------
    network
        Any network that holds a `Backbone`, or several.
    learning_rate
        Rate of everything but the backbones.
    weight_decay
        Weight decay of everything but the backbones' biases and normalisations, which have none.
    layer_decay
        Rate of a backbone's layer as a multiple of the next layer's (Clark et al. 2020, arXiv:2003.10555; layers as
        timm counts them); 1 gives all layers one rate.
    backbone_rate
        Rate of the backbones' last layers as a multiple of ``learning_rate``.
    trained
        Identities (`id`) of the parameters that are trained; None takes those that require a gradient.
    """
    is_trained = _asks_gradient if trained is None else (lambda parameter: id(parameter) in trained)
    groups: list[dict[str, Any]] = []
    backbones = [module for module in network.modules() if isinstance(module, Backbone)]
    for number, backbone in enumerate(backbones, start=1):
        rate = learning_rate * backbone_rate
        name = "backbone" if len(backbones) == 1 else f"backbone_{number}"
        groups += _by_layer(backbone.body, rate, weight_decay, layer_decay, is_trained, name=name)
    own = {id(parameter) for backbone in backbones for parameter in backbone.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own and is_trained(parameter)]
    head = {"params": rest, "lr": learning_rate, "weight_decay": weight_decay, "name": "head"}
    return [*groups, head] if rest else groups


def _by_layer(
    body: Any,
    rate: float,
    weight_decay: float,
    layer_decay: float,
    is_trained: Callable[[nn.Parameter], bool],
    *,
    name: str,
) -> list[dict[str, Any]]:
    layers = group_parameters(body, body.group_matcher(coarse=False), reverse=True)
    last = max(layers.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for parameter_name, parameter in body.named_parameters():
        if not is_trained(parameter):
            continue
        layer = layers.get(parameter_name, last)
        decays = parameter.ndim > 1  # biases and the scales of normalisations have one dimension
        own_rate, own_decay = rate * layer_decay ** (last - layer), weight_decay if decays else 0
        group: dict[str, Any] = {"params": [], "lr": own_rate, "weight_decay": own_decay}
        group["name"] = name if layer_decay == 1 else f"{name}/layer_{layer}"
        groups.setdefault((layer, decays), group)["params"].append(parameter)
    return list(groups.values())


def _asks_gradient(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad
