"""Where a `LevelGrader` looked: its attention over the slices, and Grad-CAM within each slice.

Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based localization (2017), on the
backbone's deepest feature map with 8 positions along a crop's side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from monai_spine.errors import InvalidOptionError
from monai_spine.networks.feature_map import as_map, fine_layer
from monai_spine.networks.level_grader import CONDITIONS, LEVELS, LevelGrader

_POSITIONS = 16
"""Rows and columns of a map: enough for a feature map of 8 × 8 to 16 × 16, and small in a page."""


@dataclass(frozen=True)
class Saliency:
    """Where a network looked for each finding of a study."""

    attention: npt.NDArray[np.float32]
    """``(5 levels, 5 conditions, slices)``: weight of each slice. The weights of each view sum to 1."""
    activation: npt.NDArray[np.float32] | None
    """``(5 levels, 5 conditions, slices, 16, 16)``, coarser than the crops: how strongly each position raises the
    score of the grade, from 0 to 1; 1 is the strongest position of the finding in all slices. None if the backbone has
    no feature map that is fine enough."""


def find_saliency(network: LevelGrader, image: torch.Tensor, grades: npt.NDArray[np.int64]) -> Saliency:
    """The saliency of a network's grades. MONAI's `GradCAM` would run the network once for each of the 25 findings.

    Parameters
    ----------
    network
        In evaluation mode; it is left unchanged.
    image
        ``(1, 5, slices, rows, columns)``, as for the network, on its device.
    grades
        ``(25,)``: the grade whose logit is explained, in the order of `FINDINGS`.
    """
    layers = [fine_layer(body.body, body.pixels) for body in network.backbones]  # type: ignore[arg-type]
    with torch.enable_grad(), ExitStack() as stack:
        pooled = [stack.enter_context(_outputs(reader.pool)) for reader in network.readers]  # type: ignore[arg-type]
        maps = [stack.enter_context(_outputs(layer)) if layer is not None else [] for layer in layers]
        # The image needs a gradient, or there would be none at the feature map of a frozen backbone.
        logits = network(image.detach().requires_grad_())[0]
        weights = torch.cat([one[0][1] for one in pooled], dim=2)
        chosen = torch.as_tensor(grades, device=logits.device)[:, None]
        scores = logits.gather(1, chosen)[:, 0].unflatten(0, (CONDITIONS, LEVELS))
        of_image = [one[0] if one else None for one in maps]
        try:
            complete = all(one is not None for one in of_image)
            activation = _activation(network, image[0], scores, of_image) if complete else None
        except InvalidOptionError:  # a backbone whose features have no positions
            activation = None
    return Saliency(weights.detach().float().cpu().numpy(), activation)


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Any]]:
    """A list that gets a module's outputs while the block runs."""
    outputs: list[Any] = []
    hook = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        yield outputs
    finally:
        hook.remove()


def _activation(
    network: LevelGrader, image: torch.Tensor, scores: torch.Tensor, features: list[Any]
) -> npt.NDArray[np.float32]:
    seen = (image != network.absent_pixel).any(dim=3).any(dim=2)
    strengths = []
    for condition in range(CONDITIONS):
        # Levels do not see each other in the network, so one gradient of their sum serves all five.
        slopes = torch.autograd.grad(
            scores[condition].sum(), features, retain_graph=condition < CONDITIONS - 1, allow_unused=True
        )
        strengths.append(_scattered(network, seen, features, slopes))
    maps = torch.stack(strengths, dim=1)
    # A finding without any positive position stays 0 instead of becoming NaN.
    most = maps.amax(dim=(2, 3, 4), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    return np.asarray((maps / most).cpu().numpy(), dtype=np.float32)


def _scattered(
    network: LevelGrader, seen: torch.Tensor, features: list[Any], slopes: tuple[torch.Tensor | None, ...]
) -> torch.Tensor:
    """Maps ``(5, slices, rows, columns)`` from those of the pictures that went through the backbones."""
    maps = torch.zeros(LEVELS, sum(network.views), _POSITIONS, _POSITIONS)
    starts = np.cumsum([0, *network.views])
    for index, body in enumerate(network.backbones):
        slope = slopes[index]
        if slope is None:
            continue
        values, slope = (as_map(body.body, one.detach(), str(body.name)) for one in (features[index], slope))
        strength = (slope.mean(dim=(2, 3), keepdim=True) * values).sum(dim=1, keepdim=True).relu().float().cpu()
        if max(strength.shape[2:]) > _POSITIONS:
            strength = nn.functional.adaptive_avg_pool2d(strength, _POSITIONS)
        size = (_POSITIONS, _POSITIONS)
        strength = nn.functional.interpolate(strength, size, mode="bilinear", align_corners=False)[:, 0]
        # In the order in which `LevelGrader` joins pictures: by view, then by level, absent slices left out.
        slices = [
            (level, int(starts[view]) + n)
            for view in network.views_of_backbone[index]
            for level in range(LEVELS)
            for n in range(network.views[view])
        ]
        there = [one for one in slices if bool(seen[one])]
        for one, picture in zip(there, strength[: len(there)], strict=True):
            maps[one] = picture
    return maps
