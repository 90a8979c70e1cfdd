"""Pictures of studies in TensorBoard, with labels and predictions: the first ones, or the best and the worst."""

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter

from monai_spine.networks.level_grader import LevelGrader
from monai_spine.scoring.competition import row_losses
from monai_spine.spine import SeriesType
from monai_spine.training.engine_output import studies_of
from monai_spine.training.tensorboard.log import TensorBoard
from monai_spine.training.tensorboard.pictures import crops_picture, study_picture


class GradedCrops:
    """Adds pictures of the studies with the least and with the greatest weighted log loss, under the epoch.

    Parameters
    ----------
    writer
        TensorBoard's: ``best/0``, ``best/1`` … and ``worst/0`` …
    network
        The grader whose attention weights are shown.
    studies
        How many of the best, and of the worst.
    """

    def __init__(self, *, writer: SummaryWriter | TensorBoard, network: LevelGrader, studies: int = 2) -> None:
        self.writer, self.network, self.studies = writer, network, studies
        self._kept: dict[str, list[tuple[float, Mapping[str, Any]]]] = {"best": [], "worst": []}

    def attach(self, engine: Engine) -> None:
        """Compare while the evaluator runs, draw at the end; MONAI sets its epoch to the trainer's."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._compare)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self) -> None:
        self._kept = {"best": [], "worst": []}

    def _compare(self, evaluator: Engine) -> None:
        for study in studies_of(evaluator):
            loss = _loss(study)
            if loss is None:
                continue
            kept = {key: study[key] for key in ("study_id", "image", "pred", "label")}
            for name, sign in (("best", 1.0), ("worst", -1.0)):
                ranked = sorted([*self._kept[name], (loss, kept)], key=lambda one: sign * one[0])
                self._kept[name] = ranked[: self.studies]

    @torch.no_grad()
    def _draw(self, evaluator: Engine) -> None:
        device = next(self.network.parameters()).device
        for name, ranked in self._kept.items():
            for n, (loss, study) in enumerate(ranked):
                image = torch.as_tensor(study["image"]).float()
                attention = self.network.attention(image[None].to(device))[0]
                picture = crops_picture(
                    _numbers(image),
                    _numbers(attention),
                    dict(zip(self.network.view_names, self.network.views, strict=True)),
                    probabilities=_numbers(study["pred"]),
                    label=_numbers(study["label"]),
                    title=f"{study['study_id']}  loss {loss:.2f}",
                )
                self.writer.add_image(f"{name}/{n}", picture, evaluator.state.epoch, dataformats="HWC")


def _loss(study: Mapping[str, Any]) -> float | None:
    """A study's mean log loss, severe findings counting four times; None if it has no label."""
    label, predicted = _numbers(study["label"])[None].astype(np.int64), _numbers(study["pred"])[None].astype(np.float64)
    losses, weights = row_losses(label, np.clip(predicted, 1e-9, 1.0))
    return float((losses * weights).sum() / weights.sum()) if weights.sum() > 0 else None


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
                _numbers(study["pred"]),
                _numbers(study["label"]),
                f"study {study['study_id']}",
            )
            self.writer.add_image(f"study/{self._shown}", picture, evaluator.state.epoch, dataformats="HWC")
            self._shown += 1


def _grid(image: torch.Tensor) -> np.ndarray:
    """The network's input as ``(2 * series, R, A, S)``; in 2-D its slices are channels."""
    array = _numbers(image)
    return array.reshape(2 * len(SeriesType), -1, *array.shape[-2:])


def _numbers(values: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(values).float().cpu().numpy()
