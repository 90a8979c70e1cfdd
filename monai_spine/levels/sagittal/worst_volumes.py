"""Shows the volumes that a localizer did worst on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from monai_spine.levels.sagittal.judgement import Judgement
from monai_spine.levels.sagittal.panel import error_panel
from monai_spine.training.engine_output import studies_of
from monai_spine.training.tensorboard.pictures import Picture


class WorstVolumes:
    """Draws panels of the volumes with the greatest errors once an evaluator has seen all of this process's.

    Parameters
    ----------
    judge
        From a volume's dictionary, with ``image`` ``(1, x, y, z)``, ``affine`` and the maps under ``pred``, to what is
        wrong with it; see `monai_spine.levels.sagittal.judgement`.
    writer
        TensorBoard's: panels go under ``worst/0``, ``worst/1`` … of the evaluator's epoch.
    output_dir
        A folder for ``worst_0.png`` … beside, or instead.
    panels
        How many.
    """

    def __init__(
        self,
        *,
        judge: Callable[[Mapping[str, Any]], Judgement],
        writer: SummaryWriter | None = None,
        output_dir: str | None = None,
        panels: int = 6,
    ) -> None:
        self.judge, self.writer, self.panels = judge, writer, panels
        self.output_dir = Path(output_dir) if output_dir is not None else None
        self._worst: list[tuple[float, Picture]] = []

    def attach(self, engine: Engine) -> None:
        """Judge after each iteration, draw at the end; MONAI sets a validator's epoch to the trainer's."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self) -> None:
        self._worst = []

    def _collect(self, evaluator: Engine) -> None:
        for volume in studies_of(evaluator):
            judgement = self.judge(volume)
            if len(self._worst) < self.panels or judgement.cost > self._worst[-1][0]:
                image = torch.as_tensor(volume["image"])[0].float().cpu()
                affine = np.asarray(torch.as_tensor(volume["affine"]).cpu(), dtype=np.float64)
                panel = error_panel(image, affine, judgement.found, judgement.truth, judgement.title)
                self._worst = sorted([*self._worst, (judgement.cost, panel)], key=lambda one: -one[0])[: self.panels]

    def _draw(self, evaluator: Engine) -> None:
        for n, (_, panel) in enumerate(self._worst):
            if self.writer is not None:
                self.writer.add_image(f"worst/{n}", panel, evaluator.state.epoch, dataformats="HWC")
            if self.output_dir is not None:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                Image.fromarray(panel).save(self.output_dir / f"worst_{n}.png")
