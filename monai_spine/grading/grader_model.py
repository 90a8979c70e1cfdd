"""What a `Grader` needs of the networks that it runs, whichever library runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from monai_spine.crops.augmentation import FixedPose
from monai_spine.crops.bilinear import Floats
from monai_spine.crops.study import StudyCrops
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.runtime.choice import RuntimeChoice

if TYPE_CHECKING:
    import torch


class GraderModel(Protocol):
    """What runs a grader's networks: `ParsedGrader` with PyTorch, `ConvertedGrader` with another runtime."""

    @property
    def runtime(self) -> RuntimeChoice:
        """What runs the networks."""
        ...

    @property
    def conditions(self) -> Sequence[str] | None:
        """Those that it learnt to grade; None for all."""
        ...

    @property
    def networks(self) -> list[torch.nn.Module]:
        """The networks in PyTorch."""
        ...

    @property
    def stacked_views(self) -> tuple[View, ...]:
        """See `Grader.stacked_views`."""
        ...

    def item(self, record: Record, pose: FixedPose = ..., /) -> dict[str, Any]:
        """A study in a pose for the networks: ``image``, a tensor or an array, and what `probabilities` needs."""
        ...

    def outputs(self, images: Sequence[Any], /) -> list[Floats]:
        """Of each network the logits ``(images, 25, 3)``, and behind them the features, if it gives them."""
        ...

    def probabilities(self, item: Mapping[str, Any], logits: Floats, /) -> Floats:
        """Probabilities of a study's logits ``(25, 3)``."""
        ...

    def crops(self, record: Record) -> tuple[StudyCrops, ...]:
        """The crops of a study that the networks see; none if they see whole volumes."""
        ...
