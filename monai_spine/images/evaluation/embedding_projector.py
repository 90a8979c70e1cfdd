"""Writes a classifier's features to TensorBoard's projector, each point with its image."""

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from monai_spine.images.data.dataset import ImageBatches, scaled
from monai_spine.images.evaluation.contact_sheet import displayed
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.training.engine_output import indices_of

_THUMBNAIL = 40
"""Side of the thumbnail at a point, in pixels."""


class EmbeddingProjector:
    """Keeps the input of the head for some validation images, and writes these features when training ends.

    The images are evenly spread over the dataset.

    ``network``: the classifier that the evaluator runs, itself, not a wrapper for distributed training.
    ``writer``: TensorBoard's writer. None, in processes that write nothing, switches the handler off.
    ``images``: largest number of points; 0 switches the handler off.
    """

    def __init__(
        self,
        *,
        dataset: ImageBatches,
        network: ImageClassifier,
        classes: Sequence[str],
        writer: SummaryWriter | None,
        images: int = 400,
    ) -> None:
        self.dataset, self.network, self.classes, self.writer = dataset, network, tuple(classes), writer
        # Datalists are often sorted by class: the first images would all be of one.
        self._chosen = set(np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int).tolist())
        self._head_input: torch.Tensor | None = None
        self._features: dict[int, torch.Tensor] = {}
        self._predicted: dict[int, str] = {}

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Keep the features of each evaluation until the next one, and write the last when training ends."""
        if self.writer is None or not self._chosen or idist.get_rank() > 0:
            return
        # The evaluator's output holds probabilities only; a hook sees the features without a second forward pass.
        self.network.head.register_forward_pre_hook(self._record)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        trainer.add_event_handler(Events.COMPLETED, self._write)

    def _record(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._head_input = None if self.network.training else inputs[0].detach()

    def _keep(self, evaluator: Engine) -> None:
        output: Any = evaluator.state.output
        for row, n in enumerate(indices_of(evaluator)):
            if n in self._chosen and self._head_input is not None:
                self._features[n] = self._head_input[row].float().cpu()
                self._predicted[n] = self._class_names(output["pred"][row])
        self._head_input = None

    def _write(self, trainer: Engine) -> None:
        if self.writer is None or not self._features:
            return
        chosen = sorted(self._features)
        rows = [[self._class_names(self.dataset.labels[n]), self._predicted[n], str(n)] for n in chosen]
        self.writer.add_embedding(
            torch.stack([self._features[n] for n in chosen]),
            metadata=rows,
            metadata_header=["label", "predicted", "position"],
            label_img=self._thumbnails(chosen),
            global_step=trainer.state.epoch,
            tag="features",
        )

    def _class_names(self, row: torch.Tensor) -> str:
        """The class of a label, or of the greatest probability; with several labels, all classes from 0.5."""
        if self.dataset.labels.ndim == 2:
            return (
                " + ".join(name for name, value in zip(self.classes, row.tolist(), strict=True) if value >= 0.5) or "–"
            )
        number = int(row.argmax()) if row.ndim else int(row)
        return self.classes[number] if number >= 0 else "unknown"

    def _thumbnails(self, chosen: Sequence[int]) -> torch.Tensor:
        images = scaled(self.dataset.__getitems__(chosen)["image"])
        small = functional.interpolate(images, size=(_THUMBNAIL, _THUMBNAIL), mode="area")
        return torch.stack([torch.from_numpy(displayed(image.numpy())).permute(2, 0, 1) / 255 for image in small])
