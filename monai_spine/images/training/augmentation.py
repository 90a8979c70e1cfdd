"""Random changes of whole batches of images: one resampling, then grey values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import affine_grid, grid_sample

from monai_spine.errors import InvalidOptionError


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """How far images may change; zero leaves a property alone.

    Every image draws its own changes, uniformly within the limits. Turning, scaling, shearing, shifting and mirroring
    are one bilinear resampling; what comes from outside of the image is black.

    Attributes
    ----------
    rotation
        Degrees, either way.
    scale
        Share by which lengths grow or shrink.
    shift
        Share of the image's sides, either way.
    shear
        Degrees.
    mirror, upside_down
        Probability of a flip of columns, of rows.
    quarter_turns
        Whether to turn by multiples of 90°, where images are square.
    brightness, contrast
        Greatest change of grey values of 0 to 1, and share by which their distances from the mean change.
    gamma
        Greatest logarithm (base 2) of the exponent of grey values.
    channel_brightness
        As ``brightness``, for each channel by itself, as stains and exposures vary.
    noise
        Greatest standard deviation.
    hole
        Probability that a rectangle of up to half of either side becomes black.
    drawn
        How many of the kinds of change above an image gets, drawn at random (in the manner of RandAugment, Cubuk et al.
        2020, arXiv:1909.13719); 0 for all of them.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    mirror: float = 0.0
    upside_down: float = 0.0
    quarter_turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    channel_brightness: float = 0.0
    noise: float = 0.0
    hole: float = 0.0
    drawn: int = 0

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return any(getattr(self, name) for name in self.__dataclass_fields__ if name != "drawn")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Changed images ``(batch, channels, rows, columns)`` of 0 to 1; those given stay as they are."""
        if not self.changes:
            return images
        images = self._moved(images)
        return self._holed(self._toned(images))

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        transforms = self._transforms(images)
        if transforms is None:
            return images
        grid = affine_grid(transforms, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _transforms(self, images: torch.Tensor) -> torch.Tensor | None:
        """Where the pixels of each image come from, ``(batch, 2, 3)``, as `affine_grid` has it; None for no change."""
        kinds = (self.rotation, self.scale, self.shift, self.shear, self.mirror, self.upside_down, self.quarter_turns)
        if not any(kinds):
            return None
        count, aspect = len(images), images.shape[-1] / images.shape[-2]
        angle = self._between(images, self.rotation) * math.pi / 180
        if self.quarter_turns and images.shape[-1] == images.shape[-2]:
            angle = angle + torch.randint(4, (count,), device=images.device) * (math.pi / 2)
        shear = torch.tan(self._between(images, self.shear) * math.pi / 180)
        scale = 1 / (1 + self._between(images, self.scale))
        across = scale * self._signs(images, self.mirror)
        down = scale * self._signs(images, self.upside_down)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [
            torch.stack([cos * across, (cos * shear - sin) * down / aspect, 2 * self._between(images, self.shift)], -1),
            torch.stack([sin * across * aspect, (sin * shear + cos) * down, 2 * self._between(images, self.shift)], -1),
        ]
        return torch.stack(rows, dim=1)

    def _toned(self, images: torch.Tensor) -> torch.Tensor:
        if not any((self.brightness, self.contrast, self.gamma, self.channel_brightness, self.noise)):
            return images
        if self.contrast:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * (1 + _column(self._between(images, self.contrast)))
        if self.brightness:
            images = images + _column(self._between(images, self.brightness))
        if self.channel_brightness:
            shape = (*images.shape[:2], 1, 1)
            images = images + self.channel_brightness * self._uniform(images, shape) * self._chosen(images)
        if self.noise:
            images = images + _column(self._between(images, self.noise).abs()) * torch.randn_like(images)
        images = images.clamp(0, 1)
        if self.gamma:
            images = images ** torch.exp2(_column(self._between(images, self.gamma)))
        return images

    def _holed(self, images: torch.Tensor) -> torch.Tensor:
        if not self.hole:
            return images
        count, (rows, columns) = len(images), images.shape[-2:]
        height, width, top, left = torch.rand(4, count, 1, 1, 1, device=images.device)
        down = torch.arange(rows, device=images.device)[:, None] / rows - top * (1 - height / 2)
        across = torch.arange(columns, device=images.device) / columns - left * (1 - width / 2)
        inside = (down >= 0) & (down < height / 2) & (across >= 0) & (across < width / 2)
        struck = torch.rand(count, 1, 1, 1, device=images.device) < self.hole
        return images.masked_fill(inside & struck, 0.0)

    def _between(self, images: torch.Tensor, limit: float) -> torch.Tensor:
        """A number for each image, ``(batch,)``, from -limit to limit; 0 for those that do not get this change."""
        shape = (len(images),)
        return (
            limit * self._uniform(images, shape) * self._chosen(images).flatten() if limit else images.new_zeros(shape)
        )

    def _signs(self, images: torch.Tensor, probability: float) -> torch.Tensor:
        return 1 - 2 * (torch.rand(len(images), device=images.device) < probability).to(images.dtype)

    def _chosen(self, images: torch.Tensor) -> torch.Tensor:
        """Which images get a change, ``(batch, 1, 1, 1)`` of 0 and 1, so that on average each gets ``drawn`` kinds."""
        if not self.drawn:
            return images.new_ones(len(images), 1, 1, 1)
        kinds = sum(
            bool(getattr(self, name))
            for name in ("rotation", "scale", "shift", "shear", "brightness", "contrast", "gamma", "noise")
        )
        return (torch.rand(len(images), 1, 1, 1, device=images.device) < self.drawn / max(kinds, 1)).to(images.dtype)

    @staticmethod
    def _uniform(images: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.rand(shape, device=images.device, dtype=images.dtype) * 2 - 1


def _column(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]


PRESETS = {
    "none": ImageAugmentation(),
    "mirror": ImageAugmentation(mirror=0.5),
    "light": ImageAugmentation(rotation=8, scale=0.08, shift=0.04, mirror=0.5, brightness=0.05, contrast=0.1),
    "medical_grey": ImageAugmentation(
        rotation=12, scale=0.15, shift=0.06, shear=3, brightness=0.1, contrast=0.2, gamma=0.4, noise=0.03
    ),
    "microscopy": ImageAugmentation(
        rotation=45,
        scale=0.15,
        shift=0.05,
        mirror=0.5,
        upside_down=0.5,
        quarter_turns=True,
        contrast=0.15,
        channel_brightness=0.1,
        noise=0.02,
    ),
    "rand": ImageAugmentation(
        rotation=30,
        scale=0.3,
        shift=0.15,
        shear=15,
        mirror=0.5,
        brightness=0.3,
        contrast=0.5,
        gamma=0.7,
        noise=0.08,
        hole=0.25,
        drawn=2,
    ),
}
"""``medical_grey`` never mirrors: left and right of a body are not the same."""


def augmentation(preset: str, **changes: float) -> ImageAugmentation:
    """A preset by its name, with other limits where given.

    Raises
    ------
    InvalidOptionError
        If there is no such preset, or no such limit.
    """
    if preset not in PRESETS:
        raise InvalidOptionError(f"expected an augmentation among {', '.join(PRESETS)}, but found {preset!r}")
    unknown = sorted(set(changes) - set(ImageAugmentation.__dataclass_fields__))
    if unknown:
        known = ", ".join(ImageAugmentation.__dataclass_fields__)
        raise InvalidOptionError(f"augmentation knows no {', '.join(unknown)}; it knows {known}")
    return replace(PRESETS[preset], **changes)  # type: ignore[arg-type]
