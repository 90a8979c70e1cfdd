"""Panels of the volumes with the largest errors: three sagittal slices with the marked and the located landmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image, ImageDraw, ImageFont
from torch.utils.tensorboard import SummaryWriter

from monai_spine.geometry import Array, spacing, to_voxel
from monai_spine.levels.collectors import array_of
from monai_spine.levels.sagittal.assessment import Assessment
from monai_spine.training.engine_output import studies_of
from monai_spine.training.tensorboard.pictures import Picture

_PANELS = 6
_TRUTH_COLOUR, _POINT_COLOUR = (90, 220, 120), (250, 90, 80)
_PIXELS_PER_MM = 1.3
_HEADER_PIXELS = 22


class WorstVolumes:
    """Draws panels of the volumes with the largest errors when an evaluator has seen all volumes of its process.

    ``assess``: assesses a volume's dictionary, with ``image`` ``(1, x, y, z)``, ``affine`` and the maps under ``pred``;
    see `monai_spine.levels.sagittal.assessment`.
    ``writer``: TensorBoard's writer: panels go under ``worst/0``, ``worst/1`` … of the evaluator's epoch.
    ``output_dir``: folder for ``worst_0.png`` …, beside the writer or instead of it.
    """

    def __init__(
        self,
        *,
        assess: Callable[[Mapping[str, Any]], Assessment],
        writer: SummaryWriter | None = None,
        output_dir: str | None = None,
    ) -> None:
        self.assess, self.writer = assess, writer
        self.output_dir = Path(output_dir) if output_dir is not None else None
        self._worst: list[tuple[float, Picture]] = []

    def attach(self, engine: Engine) -> None:
        """Assess after each iteration, draw at the end; MONAI sets a validator's epoch to the trainer's."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self) -> None:
        self._worst = []

    def _collect(self, evaluator: Engine) -> None:
        for volume in studies_of(evaluator):
            assessment = self.assess(volume)
            # Panels are drawn at once, so that only a few pictures and no volume stays in memory.
            if len(self._worst) < _PANELS or assessment.cost > self._worst[-1][0]:
                image = torch.as_tensor(volume["image"])[0].float().cpu()
                panel = error_panel(image, array_of(volume["affine"]), assessment)
                self._worst = sorted([*self._worst, (assessment.cost, panel)], key=lambda one: -one[0])[:_PANELS]

    def _draw(self, evaluator: Engine) -> None:
        for n, (_, panel) in enumerate(self._worst):
            if self.writer is not None:
                self.writer.add_image(f"worst/{n}", panel, evaluator.state.epoch, dataformats="HWC")
            if self.output_dir is not None:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                Image.fromarray(panel).save(self.output_dir / f"worst_{n}.png")


def error_panel(image: torch.Tensor, affine: Array, assessment: Assessment) -> Picture:
    """An RGB picture ``(height, width, 3)``: circles at the marked landmarks, crosses at the located ones.

    It shows slices through the left, the middle and the right of the landmarks, seen from the patient's left. Each
    landmark is drawn on the slice that is nearest to it.

    ``image``, ``affine``: ``(x, y, z)`` from 0 to 1, from left to right, back to front, below upwards; and its affine
    to RAS mm.
    """
    marks = [
        (to_voxel(affine, points.reshape(-1, 3)), colour)
        for points, colour in ((assessment.truth, _TRUTH_COLOUR), (assessment.points, _POINT_COLOUR))
    ]
    shown = _slices(np.concatenate([voxels for voxels, _ in marks])[:, 0], len(image))
    size = tuple(round(n * mm * _PIXELS_PER_MM) for n, mm in zip(image.shape[1:], spacing(affine)[1:], strict=True))
    picture = Image.new("RGB", (len(shown) * size[0], size[1] + _HEADER_PIXELS), "black")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((6, 3), assessment.title, fill="white", font=font)
    scale = np.array(size) / np.array(image.shape[1:])
    for n, k in enumerate(shown):
        # Reversed, since pictures run to the right and downwards: anterior on the left, superior on top.
        plane = (image[k].clamp(0, 1).numpy()[::-1, ::-1].T * 255).astype(np.uint8)
        picture.paste(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR), (n * size[0], _HEADER_PIXELS))
        for voxels, colour in marks:
            for voxel in voxels[_nearest(voxels[:, 0], shown) == n]:
                x, y = (np.array(image.shape[1:]) - 0.5 - voxel[1:]) * scale
                _mark(draw, (n * size[0] + float(x), _HEADER_PIXELS + float(y)), colour)
    return np.asarray(picture)


def _slices(x: Array, count: int) -> list[int]:
    """The slices near the left and right end of the landmarks (10 % lie beyond each), and the one between."""
    low, high = np.quantile(x, [0.1, 0.9]) if len(x) else (count / 4, 3 * count / 4)
    return [int(k) for k in np.clip(np.rint([low, (low + high) / 2, high]), 0, count - 1)]


def _nearest(x: Array, shown: list[int]) -> Array:
    return np.asarray(np.abs(x[:, None] - np.array(shown)).argmin(axis=1))


def _mark(draw: ImageDraw.ImageDraw, at: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = at
    if colour == _TRUTH_COLOUR:
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=colour, width=2)
    else:
        draw.line((x - 4, y - 4, x + 4, y + 4), fill=colour, width=2)
        draw.line((x - 4, y + 4, x + 4, y - 4), fill=colour, width=2)
