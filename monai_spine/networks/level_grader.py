"""A 2.5-D grader: the slices of each view of a level become features, views are fused, and five levels are graded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Optional

import torch
from torch import nn

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.networks.backbone import Backbone
from monai_spine.networks.slice_pictures import features_of_seen, pictures_of, standardised
from monai_spine.networks.view_reader import ViewReader, VolumeReader, transformer
from monai_spine.spine import Condition, Grade, Level

LEVELS, CONDITIONS, GRADES = len(Level), len(Condition), len(Grade)
ATTENTION_PER = ("condition", "grade")


class LevelGrader(nn.Module):
    """Grades all 25 findings of a study from crops of its five levels.

    1. Each slice, with its neighbours as channels, goes through a timm backbone.
    2. The slices of a view of a level are a sequence, for a bidirectional LSTM, a transformer, or neither.
    3. For each of the five conditions the sequence is pooled (`SlicePooling`), slices that are absent left out.
    4. The views of a level are added up, each with its own projection; an absent view is a learnt vector.
    5. The five conditions of a level attend to each other in a transformer; each knows its level.

    Parameters
    ----------
    views
        The views, or how many slices each has, in the order in which the input holds them.
    pixels
        Rows and columns of a slice.
    backbones
        Names of timm's networks.
    backbone_of_view
        For each view the index in ``backbones``; views with the same index share its weights. None gives all views the
        first one.
    neighbours
        Whether a backbone sees a slice with the one before and the one after it, as three channels; else it sees one.
    sequence
        One of `monai_spine.networks.view_reader.SEQUENCES`.
    pooling
        One of `SlicePooling.METHODS`.
    features
        Size of a token.
    condition_layers
        Layers of the transformer over the conditions of a level; 0 for none.
    drop_view
        Probability, in training, that a view of a level is treated as absent; one view is always kept.
    dropout
        Probability that a feature of a token is dropped, before the head and in the transformers.
    drop_path, checkpointing
        See `Backbone`.
    validity
        Whether a head of each view learns which slices show a condition; see `SlicePooling`.
    attention_per
        ``condition``: a token for each condition. ``grade``: a token for each grade of each condition, with an
        attention of its own, from which that grade's logit is read (as in CLAM; see `SlicePooling`).
    volumes
        Names of views, joined by commas, that a small 3-D network (MONAI's `ResNet`) also reads, as one volume for each
        level. Its token is added to that of the view. A text, not a list, so that it is one setting of the weights.
    standardise
        Whether each view of a study gets a mean of .5 and a standard deviation of .25 before anything else. The grey
        values of crops follow the brightest tissue of a volume, which differs between scanners; a network without this
        reads the crop's brightness. It is a part of the network, so that training, use and exports share it, and so
        that augmentation of grey values comes before it.

    Raises
    ------
    InvalidOptionError
        If a name is not known or sizes do not fit.
    """

    # TorchScript compiles forward and what it calls, so these avoid what it does not know: globals, zip, sum over a
    # generator, modules as arguments, and list comprehensions with a condition.

    def __init__(
        self,
        *,
        views: Sequence[View | int],
        pixels: Sequence[int],
        backbones: Sequence[str],
        backbone_of_view: Sequence[int] | None = None,
        neighbours: bool = True,
        sequence: str = "lstm",
        pooling: str = "gated",
        features: int = 128,
        condition_layers: int = 1,
        drop_view: float = 0.1,
        dropout: float = 0.2,
        drop_path: float = 0.0,
        checkpointing: bool = False,
        validity: bool = False,
        attention_per: str = "condition",
        volumes: str = "",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.views, self.view_names = _slices_and_names(views)
        self.backbone_of_view = _backbone_of_view(backbone_of_view, len(self.views), len(backbones))
        self.views_of_backbone = [
            [view for view, backbone in enumerate(self.backbone_of_view) if backbone == index]
            for index in range(len(backbones))
        ]
        self.neighbours, self.drop_view, self.standardise = neighbours, float(drop_view), standardise
        self.grades_of_token = _grades_of_token(attention_per)
        tokens = CONDITIONS * self.grades_of_token
        self.absent_pixel = float(ABSENT)
        size, channels = [int(n) for n in pixels], 3 if neighbours else 1
        self.backbones = nn.ModuleList(
            Backbone(name, in_channels=channels, pixels=size, drop_path=drop_path, checkpointing=checkpointing)
            for name in backbones
        )
        self.widths = [body.features for body in self.backbones if isinstance(body, Backbone)]
        reader = partial(ViewReader, features=features, tokens=tokens, dropout=dropout, validity=validity)
        self.readers = nn.ModuleList(
            reader(self.widths[index], slices, sequence=sequence, pooling=pooling)
            for index, slices in zip(self.backbone_of_view, self.views, strict=True)
        )
        self.volume_views = _volume_views(volumes, self.view_names)
        self.volume_readers = nn.ModuleList(VolumeReader(features, tokens) for _ in self.volume_views)
        self.absent = nn.Parameter(torch.zeros(len(self.views), tokens, features))
        self.place = nn.Parameter(torch.randn(LEVELS, tokens, features) * 0.02)
        self.fuse = nn.Sequential(nn.LayerNorm(features), nn.GELU(), nn.Linear(features, features))
        self.conditions = transformer(features, condition_layers, dropout) if condition_layers else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.randn(CONDITIONS, features, GRADES) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(LEVELS, CONDITIONS, GRADES))

    # TorchScript does not know `torch.Tensor | None` in signatures.
    def forward(
        self,
        image: torch.Tensor,
        share: Optional[torch.Tensor] = None,  # noqa: UP045
        marked: Optional[torch.Tensor] = None,  # noqa: UP045
    ) -> torch.Tensor:
        """Logits ``(batch, 25, 3)``, in the order of `FINDINGS`, of ``(batch, 5, slices, rows, columns)``.

        The slices of all views of a level follow one another; every pixel of a missing slice is `ABSENT`.

        ``share``: ``(batch,)``, in training: a study's tokens are mixed with those of the one before it in the batch,
        which has this share (manifold mixup).

        ``marked``: bool ``(batch, 5 levels, 5 conditions, slices)``, in training: a fourth number of each finding is
        then the logarithm of the attention that its marked slices get, or 0 if it has none.
        """
        tokens, weights = self._read(image)
        if share is not None:
            tokens = torch.lerp(tokens, tokens.roll(1, 0), share.to(tokens.dtype)[:, None, None, None])
        logits = self._logits(self._fused(tokens))
        if marked is None:
            return logits
        on_marked = (self._of_conditions(weights) * marked).sum(dim=3).clamp(min=1e-6).log() * marked.any(dim=3)
        return torch.cat([logits, on_marked.transpose(1, 2).flatten(1, 2)[..., None]], dim=2)

    def logits_and_features(self, image: torch.Tensor) -> torch.Tensor:
        """``(batch, 25, 3 + features)``: for each finding its logits, and the features that they are made of.

        In one tensor, so that a network that is converted for another library has one output.
        """
        features = self._fused(self._read(image)[0])
        logits = self._logits(features)
        of_finding = features.unflatten(2, [-1, self.grades_of_token]).mean(dim=3)
        return torch.cat([logits, of_finding.transpose(1, 2).flatten(1, 2)], dim=2)

    def attention(self, image: torch.Tensor) -> torch.Tensor:
        """The weights of the slices in pooling, ``(batch, 5 levels, 5 conditions, slices)``.

        The weights of a view add up to 1, or with a validity head to 1 or less. If each grade has its own attention,
        these are the means over the grades.
        """
        return self._of_conditions(self._read(image)[1])

    def _of_conditions(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.unflatten(2, [-1, self.grades_of_token]).mean(dim=3)

    @torch.no_grad()
    def start_from(self, rows: torch.Tensor) -> None:
        """Make a new network answer with a prior, ``rows`` ``(25, 3)`` of probabilities, whatever the image."""
        self.weight.mul_(0.01)
        self.bias.copy_(rows.clamp(min=1e-4).log().view(CONDITIONS, LEVELS, GRADES).transpose(0, 1))

    def take_pretrained(self, sources: str | Sequence[str]) -> None:
        """Fill the backbones with pretrained weights: ``hub``, a file, or one of these for each backbone.

        Raises `InvalidOptionError` if there are not as many as backbones.
        Raises `MissingInputError` or `InvalidTableError` see `Backbone.start_from`.
        """
        each = [sources] * len(self.backbones) if isinstance(sources, str) else list(sources)
        if len(each) != len(self.backbones):
            raise InvalidOptionError(
                f"expected pretrained weights for each of {len(self.backbones)} backbones, but found {each}"
            )
        for body, source in zip(self.backbones, each, strict=True):
            body.start_from(str(source))  # type: ignore[operator]

    def speed_up(self, *, channels_last: bool = False, compiled: bool = False) -> None:
        """See `Backbone.speed_up`. A compiled backbone takes any number of pictures without compiling again.

        Raises `InvalidOptionError` if a setting is neither True nor False.
        """
        for name, value in (("channels_last", channels_last), ("compiled", compiled)):
            if not isinstance(value, bool):
                raise InvalidOptionError(f"expected {name} as True or False, but found {value!r}")
        for body in self.backbones:
            body.speed_up(channels_last=channels_last, compiled=compiled)  # type: ignore[operator]

    def _read(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(batch, 5, 5, features)`` of each level and condition, or ``(batch, 5, 15, features)`` with one for
        each grade; and the slices' weights."""
        batch, levels = image.shape[0], self.place.shape[0]
        stacks = image.flatten(0, 1).split(self.views, dim=1)
        seen = [(stack != self.absent_pixel).any(dim=3).any(dim=2) for stack in stacks]
        if self.standardise:
            stacks = [standardised(stacks[n], seen[n], levels) for n in range(len(stacks))]
        kept = self._kept(torch.stack([mask.any(dim=1) for mask in seen], dim=1))
        features = self._features(stacks, seen)
        total = self.place.to(image.dtype).repeat(batch, 1, 1)
        weights = []
        for n, reader in enumerate(self.readers):
            tokens, weight = reader(features[n], seen[n])
            total = total + torch.where(kept[:, n, None, None], tokens, self.absent[n])
            weights.append(weight)
        for place, volume_reader in enumerate(self.volume_readers):
            n = self.volume_views[place]
            seen_whole = volume_reader(stacks[n], seen[n])
            total = total + torch.where(kept[:, n, None, None], seen_whole, torch.zeros_like(seen_whole))
        return total.unflatten(0, [batch, levels]), torch.cat(weights, dim=2).unflatten(0, [batch, levels])

    def _features(self, stacks: list[torch.Tensor], seen: list[torch.Tensor]) -> list[torch.Tensor]:
        """Features ``(n, slices, width)`` of each view's slices ``(n, slices, rows, columns)``.

        Views that share a backbone go through it together, and absent slices not at all.
        """
        # With a call for each view, batch normalisation normalised each view by itself in training, but by the running
        # statistics of their mixture in use: on 24 studies .51 with statistics of the batch, .93 with the running ones.
        pictures = [pictures_of(stacks[n], seen[n], neighbours=self.neighbours) for n in range(len(stacks))]
        features: list[torch.Tensor] = [pictures[0]] * len(stacks)
        for index, body in enumerate(self.backbones):
            mine = self.views_of_backbone[index]
            if len(mine) > 0:
                everything = torch.cat([pictures[n].flatten(0, 1) for n in mine])
                there = torch.cat([seen[n].flatten() for n in mine])
                if torch.jit.is_scripting():  # an exported network sees all pictures; see features_of_seen
                    together = body(everything)
                else:
                    together = features_of_seen(body, everything, there, width=self.widths[index])
                parts = together.split([pictures[n].shape[0] * pictures[n].shape[1] for n in mine], 0)
                for place, n in enumerate(mine):
                    features[n] = parts[place].unflatten(0, [pictures[n].shape[0], pictures[n].shape[1]])
        return features

    def _kept(self, there: torch.Tensor) -> torch.Tensor:
        """Which views ``(n, views)`` count: those that are there, in training without those that are dropped."""
        if not self.training or self.drop_view <= 0:
            return there
        chance = torch.rand(there.shape, device=there.device).masked_fill(~there, -1.0)
        highest = chance >= chance.amax(dim=1, keepdim=True)  # kept even if all of a level would be dropped
        return there & ((chance >= self.drop_view) | highest)

    def _fused(self, tokens: torch.Tensor) -> torch.Tensor:
        """The features of tokens, of their shape: ``(batch, 5 levels, 5 conditions, features)``, or of each grade."""
        batch, levels = tokens.shape[0], tokens.shape[1]
        fused: torch.Tensor = self.conditions((tokens + self.fuse(tokens)).flatten(0, 1))
        return fused.unflatten(0, [batch, levels])

    def _logits(self, features: torch.Tensor) -> torch.Tensor:
        if self.grades_of_token == 1:
            logits = torch.einsum("blcf,cfg->blcg", self.dropout(features), self.weight) + self.bias
        else:
            of_grade = self.dropout(features).unflatten(2, [-1, self.grades_of_token])
            logits = torch.einsum("blcgf,cfg->blcg", of_grade, self.weight) + self.bias
        return logits.transpose(1, 2).flatten(1, 2)


class LogitsAndFeatures(nn.Module):
    """A `LevelGrader` whose forward pass is its `LevelGrader.logits_and_features`."""

    def __init__(self, network: LevelGrader) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See `LevelGrader.logits_and_features`."""
        return self.network.logits_and_features(image)


def _slices_and_names(views: Sequence[View | int]) -> tuple[list[int], list[str]]:
    slices = [view.slices if isinstance(view, View) else int(view) for view in views]
    names = [view.name if isinstance(view, View) else f"view {number}" for number, view in enumerate(views, start=1)]
    return slices, names


def _grades_of_token(attention_per: str) -> int:
    if attention_per not in ATTENTION_PER:
        raise InvalidOptionError(f"expected attention_per out of {ATTENTION_PER}, but found {attention_per!r}")
    return GRADES if attention_per == "grade" else 1


def _backbone_of_view(chosen: Sequence[int] | None, views: int, backbones: int) -> list[int]:
    indices = list(chosen) if chosen is not None else [0] * views
    if len(indices) != views or not set(indices) <= set(range(backbones)):
        raise InvalidOptionError(
            f"expected for each of {views} views the index of one of {backbones} backbones, but found {indices}"
        )
    return indices


def _volume_views(chosen: str, views: list[str]) -> list[int]:
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    if len(set(names)) < len(names) or not set(names) <= set(views):
        raise InvalidOptionError(f"expected volumes out of {views}, each once, but found {chosen!r}")
    return [views.index(name) for name in names]
