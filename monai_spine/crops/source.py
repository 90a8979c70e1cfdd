"""Which stack serves a view of a level, and why none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_spine.crops.frame import LevelFrame
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import View
from monai_spine.data.coverage import PLANE_LIMIT_MM, Cover, cover, serving
from monai_spine.spine import Level, SeriesType


@dataclass(frozen=True)
class Service:
    """What serves a view of a level.

    Attributes
    ----------
    series, index, stack
        The series type, which of its stacks it is, and that stack with its axes along the crop's columns, rows and
        slices; None where there is none.
    reason
        A sentence on what stood in the way of the first series type, empty if nothing did.
    """

    series: SeriesType | None = None
    index: int | None = None
    stack: Stack | None = None
    reason: str = ""


def serve(view: View, level: Level, frame: LevelFrame | None, stacks: Mapping[SeriesType, Sequence[Stack]]) -> Service:
    """The stack of the first series type that shows the view's anchor by the rule of `monai_spine.data.coverage`."""
    if frame is None:
        return Service(reason=f"no point says where {level.title} is")
    reasons: list[str] = []
    for kind in view.series:
        turned = [stack.turned(frame.basis @ view.directions) for stack in stacks.get(kind, ())]
        covers = [cover(stack.grid, frame.anchors[view.anchor]) for stack in turned]
        best = serving(covers)
        if best is not None:
            return Service(kind, best, turned[best], "; ".join(reasons))
        reasons.append(_why_not(kind, covers))
    return Service(reason="; ".join(reasons))


def _why_not(kind: SeriesType, covers: Sequence[Cover]) -> str:
    if not covers:
        return f"no {kind.title}"
    nearest = min(covers, key=lambda one: (one.distance > PLANE_LIMIT_MM, one.distance - min(one.margin, 0.0)))
    if nearest.distance > PLANE_LIMIT_MM:
        return f"{kind.title}: nearest plane {nearest.distance:.1f} mm away"
    return f"{kind.title}: {-nearest.margin:.1f} mm outside of the image"
