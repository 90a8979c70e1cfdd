"""Shows a classifier's features in TensorBoard's projector, each point with its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from monai_spine.images.data.dataset import ImageDataset, scaled
from monai_spine.images.evaluation.class_activation import shown
from monai_spine.images.training.classifier import ImageClassifier
from monai_spine.training.engine_output import indices_of

_SPRITE = 40
"""Side of the little image at a point, in pixels."""


class EmbeddingProjector:
    """Keeps what the head gets of some images, evenly spread over the dataset, and writes it when training ends.

    Parameters
    ----------
    dataset
        Of the validation.
    network
        The one that validates, the bare one.
    classes
        Their names.
    writer
        TensorBoard's; None, in processes that draw nothing, does nothing.
    images
        At most so many points.
    """

    def __init__(
        self,
        *,
        dataset: ImageDataset,
        network: ImageClassifier,
        classes: Sequence[str],
        writer: SummaryWriter | None,
        images: int = 400,
    ) -> None:
        self.dataset, self.network, self.classes, self.writer = dataset, network, tuple(classes), writer
        self._chosen = set(np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int).tolist())
        self._given: torch.Tensor | None = None
        self._features: dict[int, torch.Tensor] = {}
        self._said: dict[int, str] = {}

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Keep features while the evaluator runs, the last time's until the trainer is done."""
        if self.writer is None or idist.get_rank() > 0:
            return
        self.network.head.register_forward_pre_hook(self._note)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        trainer.add_event_handler(Events.COMPLETED, self._write)

    def _note(self, _: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        self._given = None if self.network.training else given[0].detach()

    def _keep(self, evaluator: Engine) -> None:
        output: Any = evaluator.state.output
        for row, n in enumerate(indices_of(evaluator)):
            if n in self._chosen and self._given is not None:
                self._features[n] = self._given[row].float().cpu()
                self._said[n] = self._words(output["pred"][row])
        self._given = None

    def _write(self, trainer: Engine) -> None:
        if self.writer is None or not self._features:
            return
        chosen = sorted(self._features)
        rows = [[self._words(torch.as_tensor(self.dataset.labels[n])), self._said[n], str(n)] for n in chosen]
        self.writer.add_embedding(
            torch.stack([self._features[n] for n in chosen]),
            metadata=rows,
            metadata_header=["label", "said", "place"],
            label_img=self._sprites(chosen),
            global_step=trainer.state.epoch,
            tag="features",
        )

    def _words(self, row: torch.Tensor) -> str:
        """The class of a number, or of the greatest probability; of several labels those from a half on."""
        if self.dataset.labels.ndim == 2:
            return (
                " + ".join(name for name, value in zip(self.classes, row.tolist(), strict=True) if value >= 0.5) or "–"
            )
        number = int(row.argmax()) if row.ndim else int(row)
        return self.classes[number] if number >= 0 else "unknown"

    def _sprites(self, chosen: Sequence[int]) -> torch.Tensor:
        images = scaled(self.dataset.__getitems__(chosen)["image"])
        small = functional.interpolate(images, size=(_SPRITE, _SPRITE), mode="area")
        return torch.stack([torch.from_numpy(shown(image.numpy())).permute(2, 0, 1) / 255 for image in small])
