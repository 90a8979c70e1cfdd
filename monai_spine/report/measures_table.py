"""The measures of a study as a table of texts, as the pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monai_spine.measures.study import LORDOSIS
from monai_spine.report.study_measures import Measure, StudyMeasures

_COLUMNS = {
    "Canal, front to back": ("canal_diameter_mm", "mm", 1),
    "Canal, area": ("canal_area_mm2", "mm²", 0),
    "Disc, front": ("disc_height_front_mm", "mm", 1),
    "Disc, middle": ("disc_height_middle_mm", "mm", 1),
    "Disc, back": ("disc_height_back_mm", "mm", 1),
    "Disc, wedge": ("disc_wedge_deg", "°", 0),
}
"""Titles of columns, with the measure, its unit and its digits."""
_LOW, _HIGH = 5, 95
"""Percentiles outside of which a value is marked."""


@dataclass(frozen=True)
class MeasureCell:
    """A value in words, its percentile in words, and whether it is unusual."""

    text: str
    percentile: str = ""
    unusual: bool = False


@dataclass(frozen=True)
class MeasuresTable:
    """``rows``: each level with a cell for each of the ``columns``. ``reason``: why there are no rows."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[MeasureCell, ...]], ...] = ()
    lordosis: MeasureCell | None = None
    about: str = ""
    reason: str = ""


def measures_table(measures: StudyMeasures) -> MeasuresTable:
    """The table of a study's measures."""
    if measures.reason or not measures.levels:
        return MeasuresTable(reason=measures.reason or "no level was measured")
    rows = tuple(
        (level.title, tuple(_cell(own, *how) for how in _COLUMNS.values())) for level, own in measures.levels.items()
    )
    lordosis = _cell(measures.whole, LORDOSIS, "°", 0) if LORDOSIS in measures.whole else None
    about = (
        f"In {measures.volume}, with the error that nine in ten values stay below. Percentiles: "
        f"{measures.reference}; outside of {_LOW} to {_HIGH} in bold."
    )
    return MeasuresTable(tuple(_COLUMNS), rows, lordosis, about)


def _cell(measures: Mapping[str, Measure], name: str, unit: str, digits: int) -> MeasureCell:
    one = measures.get(name)
    if one is None:
        return MeasureCell("–")
    space = "" if unit == "°" else "\N{NO-BREAK SPACE}"
    around = "" if one.uncertainty is None else f" ±\N{NO-BREAK SPACE}{one.uncertainty:.{digits}f}"
    text = f"{one.value:.{digits}f}{around}{space}{unit}".replace("-", "\N{MINUS SIGN}")
    if one.percentile is None:
        return MeasureCell(text)
    return MeasureCell(text, f"percentile {one.percentile:.0f}", not _LOW <= one.percentile <= _HIGH)
