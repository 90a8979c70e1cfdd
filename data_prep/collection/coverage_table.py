"""``coverage.csv``: for each finding and each stack that might show it, the nearest slice.

A finding is read in its source stack: of the stacks that show its point, the one with the nearest plane.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from data_prep.collection.codes import Code
from data_prep.collection.points import estimated_points
from data_prep.collection.study import Entry
from data_prep.dicom import nifti
from data_prep.faults import Fault
from monai_spine.data.coverage import VIEWS, Coverage, Grid, coverage_of, nearest_showing, why_not_covered
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Finding, SeriesType

Stack = tuple[str, Grid]
"""A volume by its path in the datalist, and where it lies."""
Stacks = Mapping[SeriesType, Sequence[Stack]]

HEADER_BYTES = 4096
"""Enough of a compressed file for the 352 bytes of a NIfTI header."""


@dataclass(frozen=True)
class CoverageRow:
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
    source: str = ""
    reason: str = ""

    def cells(self) -> list[str]:
        """In the order of `COLUMNS`."""
        return list(vars(self).values())


COLUMNS = tuple(field.name for field in fields(CoverageRow))


@dataclass(frozen=True)
class _PlacedFinding:
    """A finding of a study, its place (RAS mm), and whether that is from a ``label`` or ``estimated``."""

    study: str
    finding: Finding
    place: Array
    origin: str

    @property
    def views(self) -> tuple[SeriesType, ...]:
        return VIEWS[self.finding.condition.group]


def read_grid(path: Path) -> Grid:
    """Where a NIfTI volume lies, from the first bytes of its file."""
    with path.open("rb") as file:
        shape, affine, _ = nifti.read_header(file.read(HEADER_BYTES))
    return Grid(affine, shape[:3])


def coverage_cells(
    study: str, entry: Entry | None, points: Mapping[Finding, Array], out: Path
) -> tuple[list[list[str]], list[Fault]]:
    """As `coverage_rows`, for the volumes of a datalist's entry under ``out``; nothing for a study that is left out."""
    if entry is None:
        return [], []
    stacks = {
        series_type: [(name, read_grid(out / name)) for name in entry.get(series_type.value, ())]
        for series_type in SeriesType
    }
    rows, faults = coverage_rows(study, points, stacks)
    return [row.cells() for row in rows], faults


def coverage_rows(study: str, points: Mapping[Finding, Array], stacks: Stacks) -> tuple[list[CoverageRow], list[Fault]]:
    """The study's rows, and a fault for each finding whose first view is there, but no stack of it shows the point.

    Parameters
    ----------
    points
        RAS mm. Findings without a point are judged at an estimated place, and the rows say so; a study without any
        point has one row, which says that the coverage is unknown.
    stacks
        A series type that the study lacks has none.
    """
    if not points:
        return [CoverageRow(study, reason="no points: which stack covers which level is not known")], []
    places = {**estimated_points(points), **points}
    rows: list[CoverageRow] = []
    faults: list[Fault] = []
    for finding in FINDINGS:
        if finding not in places:
            rows.append(_row_without_place(study, finding, stacks))
            continue
        placed = _PlacedFinding(study, finding, places[finding], "label" if finding in points else "estimated")
        coverages = [
            [coverage_of(grid, placed.place) for _, grid in stacks.get(series_type, ())] for series_type in placed.views
        ]
        for view, series_type in enumerate(placed.views):
            rows += _view_rows(placed, view, stacks.get(series_type, ()), coverages[view])
        if coverages[0] and nearest_showing(coverages[0]) is None:
            faults.append(_fault(placed, coverages))
    return rows, faults


def _row_without_place(study: str, finding: Finding, stacks: Stacks) -> CoverageRow:
    """Certainly not shown where the study has none of the finding's series types, else unknown."""
    views = VIEWS[finding.condition.group]
    start = (study, finding.name, finding.level.title, views[0].value, "1", "unknown")
    if not any(stacks.get(series_type) for series_type in views):
        reason = "; ".join(why_not_covered(series_type, ()) for series_type in views)
        return CoverageRow(*start, source="no", reason=reason)
    absent = "" if stacks.get(views[0]) else f"{why_not_covered(views[0], ())}; "
    return CoverageRow(*start, reason=f"{absent}no point, and the study's other points give none")


def _view_rows(
    placed: _PlacedFinding, view: int, stacks: Sequence[Stack], coverages: Sequence[Coverage]
) -> list[CoverageRow]:
    """A row per stack of a series type, or one row for a type that the study lacks."""
    series_type, finding = placed.views[view], placed.finding
    start = (placed.study, finding.name, finding.level.title, series_type.value, str(view + 1), placed.origin)
    if not stacks:
        return [CoverageRow(*start, source="no", reason=why_not_covered(series_type, ()))]
    best = nearest_showing(coverages)
    nearer = "" if best is None else stacks[best][0]
    return [
        CoverageRow(
            *start,
            nifti=name,
            k=str(one.k),
            distance_mm=f"{one.distance:.2f}",
            in_plane_mm=f"{one.margin:.1f}",
            source="yes" if n == best else "no",
            reason=_reason(series_type, one, chosen=n == best, nearer=nearer),
        )
        for n, ((name, _), one) in enumerate(zip(stacks, coverages, strict=True))
    ]


def _reason(series_type: SeriesType, coverage: Coverage, *, chosen: bool, nearer: str) -> str:
    if not coverage.shows():
        return why_not_covered(series_type, [coverage])
    return "nearest plane" if chosen else f"a plane of {nearer} is nearer"


def _fault(placed: _PlacedFinding, coverages: Sequence[Sequence[Coverage]]) -> Fault:
    miss = f"{placed.finding.level.title}: {why_not_covered(placed.views[0], coverages[0])}"
    substitutes = [
        series_type.title
        for series_type, of_type in zip(placed.views[1:], coverages[1:], strict=True)
        if nearest_showing(of_type) is not None
    ]
    parts = [miss, f"{substitutes[0]} is the substitute" if substitutes else "no substitute shows it"]
    if placed.origin != "label":
        parts.insert(1, "its place is estimated")
    return Fault(Code.NO_COVER, "; ".join(parts), study=placed.study, targets=(placed.finding.name,))
