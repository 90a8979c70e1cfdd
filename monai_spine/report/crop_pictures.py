"""The crops of a study as pictures: what the grader was given at each level, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from monai_spine.crops.pose import CropGrid, crop_grid
from monai_spine.crops.study import StudyCrops
from monai_spine.crops.view import View, grader_view
from monai_spine.geometry import Plane
from monai_spine.grading.grader import Grader
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.study_result import FindingResult, StudyResult
from monai_spine.spine import Condition, Level

if TYPE_CHECKING:
    from monai_spine.networks.saliency import Saliency

Grey = npt.NDArray[np.uint8]

AROUND_POINTS = (
    "These pictures are cut around the points. They are not what the model was given: it sees whole volumes."
)
NOT_THE_MODEL = (
    "These pictures are cut anew around the points, because the grader of this study was not at hand: where it looked "
    "is not known."
)


@dataclass(frozen=True)
class CropMark:
    """A finding's point in a picture: its place as shares of the picture's width and height, from its upper left."""

    condition: Condition
    x: float
    y: float


@dataclass(frozen=True)
class Tile:
    """One plane of a crop.

    Attributes
    ----------
    view
        Its view's name, such as ``canal``.
    plane, planes
        Its number from 0, and how many the view has.
    offset
        Millimetres from the crop's middle, to the patient's right, or upwards in an axial view.
    pixels
        ``(rows, columns)``; None if no slice shows the plane.
    size_mm
        Height and width.
    marks
        Points of findings that are nearer to this plane than to the others.
    attention
        Weight of the plane for each condition; the weights of a view sum to 1. Empty if it is not known.
    activation
        For each condition a coarse map ``(rows, columns)`` from 0 to 1 of what raises the score of the grade.
    """

    view: str
    plane: int
    planes: int
    offset: float
    sagittal: bool
    pixels: Grey | None
    size_mm: tuple[float, float]
    source: str = ""
    marks: tuple[CropMark, ...] = ()
    attention: Mapping[Condition, float] | None = None
    activation: Mapping[Condition, npt.NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class LevelPictures:
    """The crops of a level: its views, and why a view has no crop."""

    views: tuple[tuple[Tile, ...], ...]
    reasons: Mapping[str, str]

    def key(self, finding: FindingResult) -> Tile | None:
        """The plane nearest to a finding's point, in the view that is centred on findings of its group."""
        condition = finding.finding.condition
        marked = [tile for view in self.views for tile in view if any(m.condition is condition for m in tile.marks)]
        return marked[0] if marked else None


@dataclass(frozen=True)
class CropPictures:
    """The crops of all levels.

    Attributes
    ----------
    grader
        The name of the grader that was given these crops; empty if none was.
    caption
        For people: what the pictures are.
    """

    levels: Mapping[Level, LevelPictures]
    grader: str
    caption: str


def crop_pictures(study: GradedStudy, result: StudyResult, *, explain: bool = True) -> CropPictures:
    """The crops of the first grader that sees crops, or pictures of the shipped grader's views around the points.

    ``explain`` is whether they say where the grader looked, which takes another pass through its networks.

    Raises
    ------
    InvalidVolumeError, MissingInputError
        If a volume cannot be used.
    """
    grader = next((one for one in study.graders if one.stacked_views), None)
    if grader is None:
        from monai_spine.transforms.level_crops import LevelCropsd  # imports MONAI

        views = tuple(grader_view(name) for name in ("canal", "foramina", "disc"))
        crops = LevelCropsd(views=views, bad_volume="mask").study(study.record)
        sampled = [crops.sample(view) for view in views]
        pixels = [np.where(mask[:, :, None, None], part, -1.0) for part, mask in sampled]
        caption = AROUND_POINTS if study.graders else NOT_THE_MODEL
        return CropPictures(_levels(views, crops, pixels, result, None), "", caption)
    views = grader.stacked_views
    image = grader.image(study.record)
    crops = grader.seen_images(study.record).crops[0]
    pixels = np.split(image, np.cumsum([view.slices for view in views])[:-1], axis=1)
    saliency = mean_saliency(grader, image[None], result) if explain else None
    levels = _levels(views, crops, pixels, result, saliency)
    others = [one.name for one in study.graders if one is not grader]
    also = f" The grades are the mean with {' and '.join(others)}, whose crops are not shown." if others else ""
    return CropPictures(levels, grader.name, f"The crops that {grader.name} was given.{also}")


def mean_saliency(grader: Grader, image: npt.NDArray[np.float32], result: StudyResult) -> Saliency | None:
    """The mean saliency of a grader's networks; None if one is no `LevelGrader`. What it does not grade is 0."""
    import torch

    from monai_spine.networks.level_grader import LevelGrader  # imports MONAI
    from monai_spine.networks.saliency import Saliency, find_saliency

    networks = grader.networks
    if not all(isinstance(network, LevelGrader) for network in networks):
        return None
    grades = np.array([int(one.grade) for one in result.findings])
    tensor = torch.as_tensor(image, device=grader.device)
    each = [find_saliency(network, tensor, grades) for network in networks]  # type: ignore[arg-type]
    attention = np.mean([one.attention for one in each], axis=0)
    maps = [one.activation for one in each if one.activation is not None]
    activation = np.mean(maps, axis=0) if len(maps) == len(each) else None
    # A grader of some conditions has weights for all, but they were never trained.
    graded = grader.graded.reshape(len(Condition), len(Level)).T
    attention = attention * graded[:, :, None]
    return Saliency(attention, None if activation is None else activation * graded[:, :, None, None, None])


def _levels(
    views: Sequence[View],
    crops: StudyCrops,
    pixels: Sequence[npt.NDArray[np.float32]],
    result: StudyResult,
    saliency: Saliency | None,
) -> dict[Level, LevelPictures]:
    levels = {}
    for n, level in enumerate(Level):
        tiles, reasons, start = [], {}, 0
        for view, part in zip(views, pixels, strict=True):
            source = crops.source(view, level)
            if source.stack is None:
                reasons[view.name] = source.reason
            else:
                shown = _view_tiles(view, crops, level, part[n], result.at(level))
                tiles.append(tuple(_with_saliency(tile, n, start, saliency) for tile in shown))
            start += view.slices
        levels[level] = LevelPictures(tuple(tiles), reasons)
    return levels


def _view_tiles(
    view: View, crops: StudyCrops, level: Level, pixels: npt.NDArray[np.float32], findings: Sequence[FindingResult]
) -> list[Tile]:
    grid = crop_grid(view, crops.frames[level])
    source = crops.source(view, level).series
    covered = [bool((plane >= 0).any()) for plane in pixels]
    marks = _marks(view, grid, covered, findings)
    tiles = []
    for k, shown in enumerate(crops.slices(view, level)):
        offset = (k - (view.slices - 1) / 2) * view.gap_mm
        grey = (np.clip(pixels[k], 0, 1) * 255).astype(np.uint8) if covered[k] else None
        words = "" if source is None else f"{source.title}, slice {shown.index}"
        sagittal = view.plane is Plane.SAGITTAL
        tiles.append(
            Tile(view.name, k, view.slices, offset, sagittal, grey, view.size_mm, words, tuple(marks.get(k, ())))
        )
    return tiles


def _marks(
    view: View, grid: CropGrid, covered: Sequence[bool], findings: Sequence[FindingResult]
) -> dict[int, list[CropMark]]:
    """Points of the findings that the view is centred on, by the covered plane that is nearest to each."""
    marks: dict[int, list[CropMark]] = {}
    there = [k for k, shown in enumerate(covered) if shown]
    for one in findings:
        if one.point is None or not one.covered or one.finding.condition.group is not view.anchor or not there:
            continue
        x, y, z = (np.asarray(one.point) - grid.centre) @ grid.directions
        nearest = min(there, key=lambda k: abs(z - (k - (view.slices - 1) / 2) * view.gap_mm))
        height, width = view.size_mm
        mark = CropMark(one.finding.condition, float(x / width + 0.5), float(y / height + 0.5))
        marks.setdefault(nearest, []).append(mark)
    return marks


def _with_saliency(tile: Tile, level: int, start: int, saliency: Saliency | None) -> Tile:
    """The tile with its part of an saliency, in which the slices of its view begin at ``start``."""
    if saliency is None or tile.pixels is None:
        return tile
    k = start + tile.plane
    attention = {condition: float(saliency.attention[level, c, k]) for c, condition in enumerate(Condition)}
    maps = None
    if saliency.activation is not None:
        maps = {condition: saliency.activation[level, c, k] for c, condition in enumerate(Condition)}
    return replace(tile, attention=attention, activation=maps)
