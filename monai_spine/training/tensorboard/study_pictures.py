"""Pictures of studies with label and prediction in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter

from monai_spine.spine import SeriesType
from monai_spine.training.engine_output import studies_of
from monai_spine.training.tensorboard.log import TensorBoard
from monai_spine.training.tensorboard.pictures import study_picture


class StudyPictures:
    """Adds a picture of each of the first ``studies`` studies that an evaluator sees, under the epoch.

    Parameters
    ----------
    writer
        TensorBoard's.
    step
        Millimetres between the input's voxels along right, anterior, superior.
    studies
        How many.
    """

    def __init__(self, *, writer: SummaryWriter | TensorBoard, step: Sequence[float], studies: int = 4) -> None:
        self.writer = writer
        self.step = tuple(step)
        self.studies = studies
        self._shown = 0

    def attach(self, engine: Engine) -> None:
        """Draw while the evaluator runs; MONAI sets its epoch to the trainer's."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def _start(self) -> None:
        self._shown = 0

    def _draw(self, evaluator: Engine) -> None:
        for study in studies_of(evaluator)[: self.studies - self._shown]:
            picture = study_picture(
                _grid(study["image"]),
                self.step,
                torch.as_tensor(study["pred"]).float().cpu().numpy(),
                torch.as_tensor(study["label"]).cpu().numpy(),
                f"study {study['study_id']}",
            )
            self.writer.add_image(f"study/{self._shown}", picture, evaluator.state.epoch, dataformats="HWC")
            self._shown += 1


def _grid(image: torch.Tensor) -> np.ndarray:
    """The network's input as ``(2 * series, R, A, S)``; in 2-D its slices are channels."""
    array = torch.as_tensor(image).float().cpu().numpy()
    return array.reshape(2 * len(SeriesType), -1, *array.shape[-2:])
