"""From stored batches to the input of the network: floating point, random changes, mixing.

Whole batches are changed with a few tensor operations: one resampling for all geometry, then intensities.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import affine_grid, grid_sample, one_hot

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN
from monai_spine.images.data.dataset import scaled
from monai_spine.images.network.frozen_features import FrozenFeatures
from monai_spine.training.batch_mixing import other_of, rectangles


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """Random changes of images, and their limits; a limit of 0 switches a change off.

    Each image draws its own changes, uniformly within the limits. Rotation, scale, shear, shift and flips are one
    bilinear resampling. Pixels from outside of the image are black.
    """

    rotation: float = 0.0
    """Largest angle in degrees, in both directions."""
    scale: float = 0.0
    """Largest share by which lengths grow or shrink."""
    shift: float = 0.0
    """Largest shift, as a share of the image's sides, in both directions."""
    shear: float = 0.0
    """Largest angle in degrees."""
    mirror: float = 0.0
    upside_down: float = 0.0
    """``mirror``, ``upside_down``: probability of a flip of the columns, and of the rows."""
    quarter_turns: bool = False
    """Whether to rotate by a random multiple of 90°; only square images."""
    brightness: float = 0.0
    """Largest number that is added to intensities from 0 to 1."""
    contrast: float = 0.0
    """Largest share by which differences from the image's mean grow or shrink."""
    gamma: float = 0.0
    """Largest absolute logarithm (base 2) of the exponent of intensities."""
    channel_brightness: float = 0.0
    """As ``brightness``, but drawn for each channel, as stains and exposures vary."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise."""
    hole: float = 0.0
    """Probability that a rectangle of at most half of each side becomes black."""
    drawn: int = 0
    """How many of the changes above an image gets on average, in the manner of RandAugment (Cubuk et al. 2020,
    arXiv:1909.13719); 0 for all of them. Flips, quarter turns and holes have probabilities of their own."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return any(getattr(self, name) for name in self.__dataclass_fields__ if name != "drawn")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Changed copies of images ``(batch, channels, rows, columns)`` from 0 to 1."""
        if not self.changes:
            return images
        return self._with_holes(self._with_intensities_changed(self._resampled(images)))

    def _resampled(self, images: torch.Tensor) -> torch.Tensor:
        transforms = self._transforms(images)
        if transforms is None:
            return images
        grid = affine_grid(transforms, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _transforms(self, images: torch.Tensor) -> torch.Tensor | None:
        """From coordinates of the result to those of the image, ``(batch, 2, 3)`` as `affine_grid` expects them.

        None if no geometric change is switched on.
        """
        limits = (self.rotation, self.scale, self.shift, self.shear, self.mirror, self.upside_down, self.quarter_turns)
        if not any(limits):
            return None
        count, aspect = len(images), images.shape[-1] / images.shape[-2]
        angle = self._between(images, self.rotation) * math.pi / 180
        if self.quarter_turns and images.shape[-1] == images.shape[-2]:
            angle = angle + torch.randint(4, (count,), device=images.device) * (math.pi / 2)
        shear = torch.tan(self._between(images, self.shear) * math.pi / 180)
        # The matrix leads from the result to the image, so a larger result needs a smaller factor.
        scale = 1 / (1 + self._between(images, self.scale))
        across = scale * self._signs(images, self.mirror)
        down = scale * self._signs(images, self.upside_down)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # affine_grid's coordinates run from -1 to 1 along either side, so a rotation in oblong images needs the aspect
        # ratio, or circles would become ellipses; and a shift by the whole side is 2.
        rows = [
            torch.stack([cos * across, (cos * shear - sin) * down / aspect, 2 * self._between(images, self.shift)], -1),
            torch.stack([sin * across * aspect, (sin * shear + cos) * down, 2 * self._between(images, self.shift)], -1),
        ]
        return torch.stack(rows, dim=1)

    def _with_intensities_changed(self, images: torch.Tensor) -> torch.Tensor:
        if not any((self.brightness, self.contrast, self.gamma, self.channel_brightness, self.noise)):
            return images
        if self.contrast:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * (1 + _column(self._between(images, self.contrast)))
        if self.brightness:
            images = images + _column(self._between(images, self.brightness))
        if self.channel_brightness:
            shape = (*images.shape[:2], 1, 1)
            images = images + self.channel_brightness * self._uniform(images, shape) * self._selected(images)
        if self.noise:
            images = images + _column(self._between(images, self.noise).abs()) * torch.randn_like(images)
        images = images.clamp(0, 1)  # before gamma, which is not defined for negative numbers
        if self.gamma:
            images = images ** torch.exp2(_column(self._between(images, self.gamma)))
        return images

    def _with_holes(self, images: torch.Tensor) -> torch.Tensor:
        if not self.hole:
            return images
        count, (rows, columns) = len(images), images.shape[-2:]
        # A hole of height / 2 begins at most 1 - height / 2 below the top, so that it lies inside of the image.
        height, width, top, left = torch.rand(4, count, 1, 1, 1, device=images.device)
        down = torch.arange(rows, device=images.device)[:, None] / rows - top * (1 - height / 2)
        across = torch.arange(columns, device=images.device) / columns - left * (1 - width / 2)
        inside = (down >= 0) & (down < height / 2) & (across >= 0) & (across < width / 2)
        has_hole = torch.rand(count, 1, 1, 1, device=images.device) < self.hole
        return images.masked_fill(inside & has_hole, 0.0)

    def _between(self, images: torch.Tensor, limit: float) -> torch.Tensor:
        """A number from -limit to limit for each image, ``(batch,)``; 0 for images without this change."""
        shape = (len(images),)
        if not limit:
            return images.new_zeros(shape)
        return limit * self._uniform(images, shape) * self._selected(images).flatten()

    def _signs(self, images: torch.Tensor, probability: float) -> torch.Tensor:
        return 1 - 2 * (torch.rand(len(images), device=images.device) < probability).to(images.dtype)

    def _selected(self, images: torch.Tensor) -> torch.Tensor:
        """1 for images that get a change, 0 for others, ``(batch, 1, 1, 1)``: on average ``drawn`` changes each."""
        if not self.drawn:
            return images.new_ones(len(images), 1, 1, 1)
        switched_on = sum(
            bool(getattr(self, name))
            for name in ("rotation", "scale", "shift", "shear", "brightness", "contrast", "gamma", "noise")
        )
        probability = self.drawn / max(switched_on, 1)
        return (torch.rand(len(images), 1, 1, 1, device=images.device) < probability).to(images.dtype)

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
"""Named sets of limits. ``medical_grey`` has no flips, since the left and right of a body differ."""


def augmentation(preset: str, **changes: float) -> ImageAugmentation:
    """A preset by its name, with some of its limits replaced.

    Raises `InvalidOptionError` if there is no such preset, or no such limit.
    """
    if preset not in PRESETS:
        raise InvalidOptionError(f"expected an augmentation among {', '.join(PRESETS)}, but found {preset!r}")
    unknown = sorted(set(changes) - set(ImageAugmentation.__dataclass_fields__))
    if unknown:
        known = ", ".join(ImageAugmentation.__dataclass_fields__)
        raise InvalidOptionError(f"augmentation has no limit {', '.join(unknown)}; it has {known}")
    return replace(PRESETS[preset], **changes)  # type: ignore[arg-type]


class ImageMixing:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).

    Each image is mixed with the one before it in the batch, with a share drawn from Beta(alpha, alpha). Labels become
    shares of classes. With several labels an image, a label that is unknown in one of the two images is unknown in the
    mixture.

    ``mixup_alpha``, ``cutmix_alpha``: alpha of each; 0 for none. With both, one of them is drawn for each batch. The
    grader's ``mixup`` and ``cutmix`` are probabilities instead (`StudyMixing`).
    Raises `InvalidOptionError` if a number is negative.
    """

    def __init__(self, *, classes: int, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0) -> None:
        if min(mixup_alpha, cutmix_alpha) < 0:
            raise InvalidOptionError(
                f"expected mixup_alpha and cutmix_alpha from 0, but found {mixup_alpha} and {cutmix_alpha}"
            )
        self.classes = classes
        self.alphas = [(alpha, cuts) for alpha, cuts in ((mixup_alpha, False), (cutmix_alpha, True)) if alpha > 0]

    @property
    def mixes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.alphas)

    def __call__(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixed images ``(batch, channels, rows, columns)`` and shares of labels ``(batch, classes)``.

        If nothing is mixed, labels keep their shape, ``(batch,)`` or ``(batch, classes)``.
        """
        if not self.mixes:
            return image, label
        alpha, cuts = self.alphas[int(torch.randint(len(self.alphas), ()))]
        share = torch.distributions.Beta(alpha, alpha).sample((len(image),)).to(image.device)
        weight = _column(share)
        if cuts:
            inside = rectangles(share, *image.shape[-2:]).to(image.dtype)
            # Of whole pixels, a rectangle has not exactly the area that was drawn.
            share, weight = inside.mean(dim=(1, 2)), inside[:, None]
        other = other_of(image)
        shares = (one_hot(label, self.classes) if label.ndim == 1 else label).float()
        mixed = torch.lerp(shares, shares[other], share[:, None])
        unknown = (shares == UNKNOWN) | (shares[other] == UNKNOWN)
        return torch.lerp(image, image[other], weight), mixed.masked_fill(unknown, UNKNOWN)


class BatchPreparation:
    """The ``prepare_batch`` of MONAI's engines: turns a batch of an `ImageBatches` into the input and the target.

    It also takes collated `ImageItems`, whose images are ``float32`` and therefore from 0 to 1 already.

    ``augmentation``: Random changes of the images; None for none.
    ``mixing``: Mixing of the images of a batch and of their labels; None for none.
    ``features``: Features of a frozen backbone, which replace the images; then nothing is augmented or mixed.
    """

    def __init__(
        self,
        *,
        augmentation: ImageAugmentation | None = None,
        mixing: ImageMixing | None = None,
        features: FrozenFeatures | None = None,
    ) -> None:
        self.augmentation = augmentation or PRESETS["none"]
        self.mixing, self.features = mixing, features

    def __call__(
        self, batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and target on the device: images or features, and labels.

        Returns ``(batch, channels, rows, columns)`` float32 from 0 to 1, or ``(batch, features)``; and ``(batch,)`` or
        ``(batch, classes)``, integers, or shares of classes if images were mixed.
        """
        label = batch["label"].to(device=device, non_blocking=non_blocking)
        if self.features is not None:
            return self.features.read(batch["index"]).to(device=device, non_blocking=non_blocking), label
        # Bytes are moved to the device before they become floating point: a quarter of the traffic.
        image = batch["image"].to(device=device, non_blocking=non_blocking)
        image = self.augmentation(image if image.dtype == torch.float32 else scaled(image))
        return (image, label) if self.mixing is None else self.mixing(image, label)
