"""Random changes of grey values, as between two acquisitions of the same anatomy, on whole batches of crops."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from monai_spine.crops.view import ABSENT
from monai_spine.errors import InvalidOptionError


@dataclass(frozen=True, kw_only=True)
class IntensityChanges:
    """Limits of random changes of the grey values of crops. Each change is drawn once for a view of a study.

    Raises `InvalidOptionError` if a limit is out of its range.
    """

    share: float = 0.0
    """Probability of each change; 0 changes nothing."""
    gamma: float = 0.3
    """Grey values are raised to powers from ``exp(-gamma)`` to ``exp(gamma)``."""
    contrast: float = 0.2
    """Distances from the slice's mean are stretched by factors from ``1 - contrast`` to ``1 + contrast``."""
    bias: float = 0.3
    """Sensitivity differs by factors up to ``exp(bias)`` from one end of a crop to the other, as a polynomial of the
    second degree of rows and columns; each level has its own."""
    noise: float = 0.04
    """Greatest standard deviation of normal noise."""
    blur: float = 0.7
    """Greatest standard deviation in pixels of a Gaussian blur within a slice, at most 1."""
    ghost: float = 0.1
    """Greatest strength of a copy of the slice, moved along rows or columns and wrapped around, that is laid over
    it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 2.0 if field.name in ("gamma", "bias") else 1.0
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise InvalidOptionError(f"intensity: expected {field.name} from 0 to {most:g}, but found {value!r}")

    def __call__(self, image: torch.Tensor, slices: Sequence[int]) -> torch.Tensor:
        """Change an image ``(batch, 5, slices, rows, columns)`` of 0 to 1; slices of `ABSENT` stay as they are.

        ``slices`` holds the number of slices of each view, in the order in which ``image`` holds them.
        """
        if self.share <= 0:
            return image
        draw = _Draw(image, slices, self.share)
        absent, grey = image[..., :1, :1] == ABSENT, image.clamp(min=_BLACK)
        grey.pow_(torch.exp(self.gamma * draw.signed()))
        grey.lerp_(grey.mean(dim=(-2, -1), keepdim=True), self.contrast * draw.signed())
        grey.mul_(torch.exp(self.bias * draw.field()))
        variance = (self.blur * draw.unsigned()) ** 2
        # twice half the variance: one kernel of variance 1 would be (.5, 0, .5), which doubles edges
        grey = _blurred(_blurred(grey, variance / 2), variance / 2)
        grey = _ghosted(grey, self.ghost * draw.unsigned())
        grey.addcmul_(torch.randn_like(grey), self.noise * draw.unsigned()).clamp_(0.0, 1.0)
        return grey.masked_fill_(absent, ABSENT)


_BLACK = 1e-6
"""The least grey value that is raised to a power, so that black stays black and grey values keep their order."""


class _Draw:
    """Random numbers for the views of a batch of studies, 0 where a view is left as it is."""

    def __init__(self, image: torch.Tensor, slices: Sequence[int], share: float) -> None:
        self.image, self.share = image, share
        self.slices = torch.tensor(slices, device=image.device)

    def unsigned(self) -> torch.Tensor:
        """From 0 to 1, ``(batch, 1, slices, 1, 1)``, alike in all slices of a view."""
        return self._spread(torch.rand(self._shape(1), device=self.image.device) * self._chosen())

    def signed(self) -> torch.Tensor:
        """From -1 to 1, as `unsigned`."""
        return self._spread((2 * torch.rand(self._shape(1), device=self.image.device) - 1) * self._chosen())

    def field(self) -> torch.Tensor:
        """Smooth functions of rows and columns from -1 to 1, for each level of a view its own."""
        y, x = torch.meshgrid(
            *(torch.linspace(-1, 1, n, device=self.image.device) for n in self.image.shape[-2:]), indexing="ij"
        )
        shapes = torch.stack([x, y, x * y, x * x, y * y])
        drawn = 2 * torch.rand(*self._shape(self.image.shape[1]), len(shapes), device=self.image.device) - 1
        fields = torch.einsum("blvk,kyx->blvyx", drawn * self._chosen()[..., None], shapes / len(shapes))
        return fields.repeat_interleave(self.slices, dim=2, output_size=self.image.shape[2])

    def _chosen(self) -> torch.Tensor:
        return torch.rand(self._shape(1), device=self.image.device) < self.share

    def _shape(self, levels: int) -> tuple[int, int, int]:
        return len(self.image), levels, len(self.slices)

    def _spread(self, drawn: torch.Tensor) -> torch.Tensor:
        return drawn.repeat_interleave(self.slices, dim=2, output_size=self.image.shape[2])[..., None, None]


def _blurred(grey: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Slices after a kernel ``(v / 2, 1 - v, v / 2)`` along rows and columns, the edge going on beyond itself."""
    for axis in (-1, -2):
        size = grey.shape[axis]
        wide = torch.cat([grey.narrow(axis, 0, 1), grey, grey.narrow(axis, size - 1, 1)], dim=axis)
        both = wide.narrow(axis, 0, size).add(wide.narrow(axis, 2, size)).mul_(0.5)
        grey = torch.lerp(grey, both, variance)
    return grey


def _ghosted(grey: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Slices with a copy of themselves over them, moved by a part of their side along one axis."""
    axis = -1 - int(torch.randint(2, ()))
    moved = grey.roll(int(torch.randint(grey.shape[axis] // 4, 3 * grey.shape[axis] // 4 + 1, ())), dims=axis)
    return (grey + strength * moved) / (1 + strength)
