"""Mixes the studies of a batch: levels, halves and parts of one come from another, with their labels.

`other_of` and `rectangles` also serve the mixing of single images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Plane
from monai_spine.spine import FINDINGS, MISSING, Level, Side
from monai_spine.training.distortion import Distortions
from monai_spine.training.intensity import IntensityChanges
from monai_spine.training.losses import blended, soft_labels

_LEVELS = tuple(Level)
_OF_LEVEL = torch.tensor([_LEVELS.index(finding.level) for finding in FINDINGS])
_RIGHT = torch.tensor([finding.condition.side is Side.RIGHT for finding in FINDINGS])
_MIDDLE = torch.tensor([finding.condition.side is None for finding in FINDINGS])


_ALPHA = 0.4
"""Both parameters of the beta distribution of a blend's weights: most are near 0 or 1."""


class StudyMixing:
    """Prepares a trainer's batch: a ``prepare_batch`` of MONAI's engines.

    Labels stay true in every mixture. A level from another study comes with its five labels. A right half comes with
    its right labels, and the label of the canal is kept as far as both studies agree on it: the smaller of both
    probabilities of each grade, whose sum is its weight in the loss ("sequence cutmix" of the RSNA 2024 winners).
    Blended studies have soft labels. The other study is the one before in the batch, so a batch of one is not mixed.

    Parameters
    ----------
    views
        The views, in the order of their slices in ``image``; see `LevelStackd`.
    levels
        Probability that a level comes from another study of the batch.
    halves
        Probability that the right half of a level comes from another study.
    mixup
        Probability that a study becomes a weighted mean of itself and another ("mixup", Zhang et al. 2018,
        arXiv:1710.09412); only levels of which both have the same slices are blended. The other study's weight is drawn
        from a beta distribution.
    cutmix
        Probability that a rectangle of all slices of a level comes from another study which has the same slices of it
        ("cutmix", Yun et al. 2019, arXiv:1905.04899). The other study's share of the labels is that of the area, which
        is uniform from 0 to 1.
    holes
        Probability that a slice loses a square of half its side (coarse dropout); it becomes 0, which is dark tissue.
    manifold_mixup
        Probability that a study's tokens, in which the network has summed up the slices of a level, become a weighted
        mean of its own and another's ("manifold mixup", Verma et al. 2019, arXiv:1806.05236). The network must take the
        other study's ``share``, as `LevelGrader` does.
    shuffle_slices
        Probability that the axial slices of a level are put in a random order. Sagittal slices keep theirs, which runs
        from left to right.
    pseudo_weight
        The share of a finding's loss that its soft label has, from 0 to 1; the label has the rest. A finding with one
        of the two weighs as much as that share. 0 leaves soft labels out.
    marked_weight
        Above 0, the network is told which slices show the point of a finding, in its keyword argument ``marked``, for
        `CompetitionLoss`. A finding one of whose slices was mixed with another study's, or moved, has no such slices.
    repeat_outer
        With marked slices, the probability that the outermost sagittal slice on a side of a level, if no point is
        marked on it, shows the slice beside it again. Attention then has to know where a slice lies: beside a foramen,
        the images of patients look much like the foramen.
    intensity
        Changes of grey values, made first; None for none.
    distortion
        Distortions of the slices, made second; None for none.

    Raises
    ------
    InvalidOptionError
        If a probability or share is not from 0 to 1.
    """

    def __init__(
        self,
        *,
        views: Sequence[View],
        levels: float = 0.0,
        halves: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        holes: float = 0.0,
        manifold_mixup: float = 0.0,
        shuffle_slices: float = 0.0,
        pseudo_weight: float = 0.0,
        marked_weight: float = 0.0,
        repeat_outer: float = 0.0,
        intensity: IntensityChanges | None = None,
        distortion: Distortions | None = None,
    ) -> None:
        shares = {"levels": levels, "halves": halves, "mixup": mixup, "cutmix": cutmix, "holes": holes}
        shares |= {"manifold_mixup": manifold_mixup, "shuffle_slices": shuffle_slices, "pseudo_weight": pseudo_weight}
        shares["repeat_outer"] = repeat_outer
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InvalidOptionError(f"expected the mixing's {name} from 0 to 1, but found {share}")
        if repeat_outer > 0 and marked_weight <= 0:
            raise InvalidOptionError(f"expected marked_weight above 0 where repeat_outer is {repeat_outer:g}")
        self.views, self.levels, self.halves, self.holes = tuple(views), levels, halves, holes
        self.mixup, self.cutmix, self.manifold_mixup = mixup, cutmix, manifold_mixup
        self.shuffle_slices, self.pseudo_weight, self.marked_weight = shuffle_slices, pseudo_weight, marked_weight
        self.repeat_outer = repeat_outer
        self.intensity, self.distortion = intensity or IntensityChanges(), distortion or Distortions()

    def __call__(
        self, batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[Any, ...]:
        """``image`` ``(batch, 5, slices, rows, columns)`` and ``label`` on the device.

        With ``manifold_mixup`` or ``marked_weight``, no positional and one or two keyword arguments of the network
        follow, as MONAI's engines take them. Labels are ``(batch, 25)``, or soft, ``(batch, 25, 3)``, if anything may
        be blended or soft labels count.
        """
        keys = ("image", "label", "soft_label") if self.pseudo_weight > 0 else ("image", "label")
        image, label, *soft = (torch.as_tensor(batch[key]).to(device=device, non_blocking=non_blocking) for key in keys)
        if soft:
            # Rows whose sum is less than 1 weigh less in the loss, which divides by the sum of all.
            label = (1 - self.pseudo_weight) * soft_labels(label) + self.pseudo_weight * soft[0]
        # before mixing: a change of grey values belongs to one acquisition, so to one study
        image = self.intensity(image, [view.slices for view in self.views])
        image = self.distortion(image, self.views)
        marked = None
        if self.marked_weight > 0:
            marked = torch.as_tensor(batch["marked"]).to(device=device, non_blocking=non_blocking)
            image = self._repeated(image, marked)
        in_order = image
        if self.levels > 0:
            image, label = self._levels(image, label)
        if self.halves > 0:
            image, label = self._halves(image, label)
        # whether or not this batch is mixed, so that labels keep one shape
        if self.mixup > 0 or self.cutmix > 0 or self.manifold_mixup > 0:
            label = soft_labels(label)
        if self.mixup > 0:
            image, label = self._blended(image, label)
        if self.cutmix > 0:
            image, label = self._rectangles(image, label)
        # after mixing, which needs two studies with the same absent slices
        image = self._shuffled(image)
        options = {}
        if marked is not None:
            changed = (image != in_order).flatten(3).any(dim=3)[:, :, None]
            options["marked"] = marked & ~(marked & changed).any(dim=3, keepdim=True)
        if self.manifold_mixup > 0:
            chosen, other = self._draw(image, self.manifold_mixup, levels=1)
            share = _beta(image) * chosen
            label = blended(label, label[other], share.expand(-1, label.shape[1]))
            options["share"] = share[:, 0]
        return (self._holes(image), label, (), options) if options else (self._holes(image), label)

    def _levels(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, other = self._draw(image, self.levels)
        image = torch.where(chosen[:, :, None, None, None], image[other], image)
        return image, torch.where(_as(chosen[:, _OF_LEVEL.to(chosen.device)], label), label[other], label)

    def _halves(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, other = self._draw(image, self.halves)
        mixed = torch.where(self._right_half(image), image[other], image)
        # an axial slice that only one of the two studies has would be half there: it is left out
        half_there = (_absent(image) | _absent(image[other])) & ~self._whole_slices(image)
        mixed = torch.where(half_there, torch.full_like(mixed, ABSENT), mixed)
        image = torch.where(chosen[:, :, None, None, None], mixed, image)
        right, middle = (_as(which.to(label.device)[None], label) for which in (_RIGHT, _MIDDLE))
        theirs = label[other]
        if label.ndim == 2:
            canal = torch.where(theirs == label, label, torch.full_like(label, MISSING))
        else:
            canal = torch.minimum(theirs, label)
        mixture = torch.where(right, theirs, torch.where(middle, canal, label))
        return image, torch.where(_as(chosen[:, _OF_LEVEL.to(chosen.device)], label), mixture, label)

    def _blended(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Blend whole studies: all levels of a study have the same weight of the other one."""
        chosen, other = self._draw(image, self.mixup, levels=1)
        share = _beta(image) * (chosen & _same_slices(image, image[other]))
        return self._mix(image, label, other, share, share[:, :, None, None, None])

    def _rectangles(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, other = self._draw(image, self.cutmix)
        area = torch.rand(chosen.shape, device=image.device)
        mixed = chosen & _same_slices(image, image[other])
        inside = rectangles(area, *image.shape[-2:]) & mixed[..., None, None]
        return self._mix(image, label, other, inside.float().mean(dim=(-2, -1)), inside[:, :, None].float())

    def _mix(
        self, image: torch.Tensor, label: torch.Tensor, other: torch.Tensor, share: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix pixels by ``weight`` of the other study, and labels by its ``share`` ``(batch, 5)`` of a level."""
        mixed = torch.where(_absent(image), image, torch.lerp(image, image[other], weight))
        return mixed, blended(label, label[other], share[:, _OF_LEVEL.to(share.device)])

    def _draw(self, image: torch.Tensor, share: float, levels: int = len(_LEVELS)) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw which levels ``(batch, 5)`` are mixed, and name the other study of each in the batch, ``(batch,)``."""
        chosen = torch.rand(len(image), levels, device=image.device) < share
        return chosen, other_of(image)

    def _right_half(self, image: torch.Tensor) -> torch.Tensor:
        """Where the patient's right is, ``(slices, rows, columns)``.

        Sagittal slices run from left to right; columns of axial ones run to the left. See `View`.
        """
        parts = []
        rows, columns = image.shape[-2:]
        for view in self.views:
            half = torch.zeros(view.slices, rows, columns, dtype=torch.bool, device=image.device)
            if view.plane is Plane.SAGITTAL:
                half[(view.slices + 1) // 2 :] = True
            else:
                half[:, :, : columns // 2] = True
            parts.append(half)
        return torch.cat(parts)

    def _whole_slices(self, image: torch.Tensor) -> torch.Tensor:
        """The slices that lie in one half as a whole, ``(slices, 1, 1)``: sagittal ones."""
        whole = [view.plane is Plane.SAGITTAL for view in self.views for _ in range(view.slices)]
        return torch.tensor(whole, device=image.device)[:, None, None]

    def _shuffled(self, image: torch.Tensor) -> torch.Tensor:
        if self.shuffle_slices <= 0:
            return image
        parts = list(image.split([view.slices for view in self.views], dim=2))
        for n, view in enumerate(self.views):
            if view.plane is Plane.AXIAL:
                keys = torch.rand(parts[n].shape[:3], device=image.device)
                chosen = torch.rand(keys.shape[:2], device=image.device) < self.shuffle_slices
                in_order = torch.arange(view.slices, device=image.device).expand_as(keys)
                order = torch.where(chosen[..., None], keys.argsort(dim=2), in_order)
                parts[n] = parts[n].gather(2, order[..., None, None].expand_as(parts[n]))
        return torch.cat(parts, dim=2)

    def _repeated(self, image: torch.Tensor, marked: torch.Tensor) -> torch.Tensor:
        if self.repeat_outer <= 0:
            return image
        image, first = image.clone(), 0
        for view in self.views:
            last = first + view.slices - 1
            if view.plane is Plane.SAGITTAL and view.slices > 1:
                for outer, beside in ((first, first + 1), (last, last - 1)):
                    chosen = torch.rand(image.shape[:2], device=image.device) < self.repeat_outer
                    there = ~(_absent(image)[:, :, [outer, beside]].flatten(2).any(dim=2))
                    chosen = chosen & there & ~marked[..., outer].any(dim=2)
                    image[:, :, outer] = torch.where(chosen[..., None, None], image[:, :, beside], image[:, :, outer])
            first = last + 1
        return image

    def _holes(self, image: torch.Tensor) -> torch.Tensor:
        if self.holes <= 0:
            return image
        shape, (rows, columns) = image.shape[:3], image.shape[-2:]
        top = (torch.rand(shape, device=image.device) * rows / 2).long()[..., None, None]
        left = (torch.rand(shape, device=image.device) * columns / 2).long()[..., None, None]
        y = torch.arange(rows, device=image.device)[:, None]
        x = torch.arange(columns, device=image.device)
        inside = (y >= top) & (y < top + rows // 2) & (x >= left) & (x < left + columns // 2)
        hit = (torch.rand(shape, device=image.device) < self.holes)[..., None, None]
        # a hole in an absent slice would make it look like a black one that is there
        return torch.where(inside & hit & (image != ABSENT), torch.zeros_like(image), image)


def _beta(image: torch.Tensor) -> torch.Tensor:
    """The other study's weight in a blend, ``(batch, 1)``."""
    return torch.distributions.Beta(_ALPHA, _ALPHA).sample((len(image), 1)).to(image.device)


def _as(which: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """A choice of findings ``(…, 25)`` for labels, or for soft ones, which have another axis."""
    return which if label.ndim == 2 else which[..., None]


def _absent(image: torch.Tensor) -> torch.Tensor:
    """Which slices are absent, ``(batch, 5, slices, 1, 1)``; all of their pixels are `ABSENT`, so one tells."""
    return image[..., :1, :1] == ABSENT


def _same_slices(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The levels ``(batch, 5)`` of which both have the same slices."""
    return (_absent(image) == _absent(other)).flatten(2).all(dim=2)


def other_of(image: torch.Tensor) -> torch.Tensor:
    """The place in the batch of the one that each is mixed with, ``(batch,)``: the one before."""
    return torch.arange(len(image), device=image.device).roll(1)


def rectangles(area: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Where random rectangles of these shares of a picture lie, ``(…)`` to bool ``(…, rows, columns)``."""
    side = area.sqrt()
    return _interval(side, rows)[..., :, None] & _interval(side, columns)[..., None, :]


def _interval(side: torch.Tensor, length: int) -> torch.Tensor:
    """A random interval that is ``side`` times as long as an axis of ``length`` pixels, ``(…, length)``."""
    size = side * length
    first = torch.rand_like(side) * (length - size)
    place = torch.arange(length, device=side.device) + 0.5
    return (place >= first[..., None]) & (place < (first + size)[..., None])
