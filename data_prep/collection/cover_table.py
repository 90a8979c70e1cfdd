"""``coverage.csv``: for each finding and each stack that might show it, the nearest slice, and which stack serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from data_prep.collection.faults import Fault, FaultKind
from data_prep.collection.point_estimates import estimated_points
from data_prep.collection.study import Entry
from data_prep.dicom import nifti
from monai_spine.data.coverage import PLANE_LIMIT_MM, VIEWS, Coverage, Grid, coverage_of, nearest_showing
from monai_spine.geometry import Array, plane_of
from monai_spine.spine import FINDINGS, Finding, SeriesType

Stack = tuple[str, Grid]
"""A volume by its path in the datalist, and where it lies."""
Stacks = Mapping[SeriesType, Sequence[Stack]]

HEADER_BYTES = 4096
"""Enough of a compressed file for the 352 bytes of a NIfTI header."""


@dataclass(frozen=True)
class CoverRow:
    """A row of the table: a finding and a stack of one of its views, all as text."""

    study_id: str
    target: str = ""
    level: str = ""
    series_type: str = ""
    view: str = ""
    point: str = ""
    nifti: str = ""
    k: str = ""
    distance_mm: str = ""
    in_plane_mm: str = ""
    serves: str = ""
    reason: str = ""

    def cells(self) -> list[str]:
        """In the order of `COLUMNS`."""
        return list(vars(self).values())


COLUMNS = tuple(field.name for field in fields(CoverRow))


@dataclass(frozen=True)
class _Asked:
    """A finding of a study, where it lies (RAS mm), and whether a ``label`` says so or it is ``estimated``."""

    study: str
    finding: Finding
    place: Array
    origin: str
    limit: float

    @property
    def views(self) -> tuple[SeriesType, ...]:
        return VIEWS[self.finding.condition.group]


def read_grid(path: Path) -> Grid:
    """Where a NIfTI volume lies, from the first bytes of its file."""
    with path.open("rb") as file:
        shape, affine, _ = nifti.read_header(file.read(HEADER_BYTES))
    return Grid(affine, shape[:3])


def cover_cells(
    study: str, entry: Entry | None, points: Mapping[Finding, Array], out: Path
) -> tuple[list[list[str]], list[Fault]]:
    """As `cover_rows`, for the volumes of a datalist's entry under ``out``; nothing for a study that is left out."""
    if entry is None:
        return [], []
    stacks = {kind: [(name, read_grid(out / name)) for name in entry.get(kind.value, ())] for kind in SeriesType}
    rows, faults = cover_rows(study, points, stacks)
    return [row.cells() for row in rows], faults


def cover_rows(
    study: str, points: Mapping[Finding, Array], stacks: Stacks, limit: float = PLANE_LIMIT_MM
) -> tuple[list[CoverRow], list[Fault]]:
    """The study's rows, and a fault for each finding that stacks of its first view are there for, but do not show.

    Parameters
    ----------
    points
        RAS mm. Findings without one are judged at an estimated place, and the rows say so; a study without any point
        has one row that says that nothing is known.
    stacks
        A series type that the study lacks has none.
    limit
        Millimetres within which a plane must pass.
    """
    if not points:
        return [CoverRow(study, reason="no points: which stack covers which level is not known")], []
    places = {**estimated_points(points), **points}
    rows: list[CoverRow] = []
    faults: list[Fault] = []
    for finding in FINDINGS:
        if finding not in places:
            rows.append(_unplaced(study, finding, stacks))
            continue
        origin = "label" if finding in points else "estimated"
        asked = _Asked(study, finding, places[finding], origin, limit)
        covers = [[coverage_of(grid, asked.place) for _, grid in stacks.get(kind, ())] for kind in asked.views]
        for view, kind in enumerate(asked.views):
            rows += _view_rows(asked, view, stacks.get(kind, ()), covers[view])
        if covers[0] and nearest_showing(covers[0], limit) is None:
            faults.append(_no_cover(asked, stacks[asked.views[0]], covers))
    return rows, faults


def _unplaced(study: str, finding: Finding, stacks: Stacks) -> CoverRow:
    """Not shown for sure where the study has none of the finding's series types, else not known."""
    views = VIEWS[finding.condition.group]
    start = (study, finding.name, finding.level.title, views[0].value, "1", "unknown")
    if not any(stacks.get(kind) for kind in views):
        return CoverRow(*start, serves="no", reason=f"the study has no {' or '.join(kind.title for kind in views)}")
    absent = "" if stacks.get(views[0]) else f"the study has no {views[0].title}; "
    return CoverRow(*start, reason=f"{absent}no point, and the study's other points tell none")


def _view_rows(asked: _Asked, view: int, stacks: Sequence[Stack], covers: Sequence[Coverage]) -> list[CoverRow]:
    """A row per stack of a series type, or one that says that there is none."""
    kind, finding = asked.views[view], asked.finding
    start = (asked.study, finding.name, finding.level.title, kind.value, str(view + 1), asked.origin)
    if not stacks:
        return [CoverRow(*start, serves="no", reason=f"the study has no {kind.title}")]
    best = nearest_showing(covers, asked.limit)
    nearer = "" if best is None else stacks[best][0]
    return [
        CoverRow(
            *start,
            nifti=name,
            k=str(one.k),
            distance_mm=f"{one.distance:.2f}",
            in_plane_mm=f"{one.margin:.1f}",
            serves="yes" if n == best else "no",
            reason="nearest plane" if n == best else _miss(one, asked.limit) or f"a plane of {nearer} is nearer",
        )
        for n, ((name, _), one) in enumerate(zip(stacks, covers, strict=True))
    ]


def _miss(one: Coverage, limit: float) -> str:
    """Why a stack does not show a point; empty if it does."""
    if one.distance > limit:
        return f"the nearest plane is {one.distance:.1f} mm away, more than {limit:g}"
    return f"the point is {-one.margin:.1f} mm outside of the image" if one.margin < 0 else ""


def _no_cover(asked: _Asked, stacks: Sequence[Stack], covers: Sequence[Sequence[Coverage]]) -> Fault:
    finding, limit = asked.finding, asked.limit
    plane = plane_of(stacks[0][1].affine).value
    near = [one.margin for one in covers[0] if one.distance <= limit]
    if near:
        miss = f"no {plane} image shows {finding.level.title}: it is {-max(near):.1f} mm outside"
    else:
        nearest = min(one.distance for one in covers[0])
        miss = f"no {plane} plane within {limit:g} mm of {finding.level.title}: the nearest is {nearest:.1f} mm away"
    standing_in = [
        kind.title
        for kind, found in zip(asked.views[1:], covers[1:], strict=True)
        if nearest_showing(found, limit) is not None
    ]
    parts = [miss, f"{standing_in[0]} stands in" if standing_in else "nothing stands in"]
    if asked.origin != "label":
        parts.insert(1, "its place is estimated")
    return Fault(asked.study, "", finding.name, FaultKind.NO_COVER, "; ".join(parts))
