"""The measures of a study as a table of texts, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai_spine.measures.study import LORDOSIS
from monai_spine.spine import Level

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
    volume: str = ""
    reference: str = ""
    reason: str = ""


def measures_table(measures: Mapping[str, Any]) -> MeasuresTable | None:
    """The table of the entry ``measures`` of ``findings.json``; None without an entry.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it breaks the format.
    """
    if not measures:
        return None
    if "levels" not in measures:
        return MeasuresTable(reason=str(measures.get("reason", "")))
    rows = tuple(
        (level.title, tuple(_cell(measures["levels"][level.value], *how) for how in _COLUMNS.values()))
        for level in Level
        if level.value in measures["levels"]
    )
    lordosis = _cell(measures["whole"], LORDOSIS, "°", 0) if LORDOSIS in measures["whole"] else None
    return MeasuresTable(tuple(_COLUMNS), rows, lordosis, str(measures["volume"]), str(measures["reference"]))


def _cell(entries: Mapping[str, Any], name: str, unit: str, digits: int) -> MeasureCell:
    entry = entries.get(name)
    if not isinstance(entry, Mapping):
        return MeasureCell("–")
    space = "" if unit == "°" else "\N{NO-BREAK SPACE}"
    error = entry.get("uncertainty")
    around = "" if error is None else f" ±\N{NO-BREAK SPACE}{error:.{digits}f}"
    text = f"{entry['value']:.{digits}f}{around}{space}{unit}".replace("-", "\N{MINUS SIGN}")
    percentile = entry.get("percentile")
    if percentile is None:
        return MeasureCell(text)
    return MeasureCell(text, f"percentile {percentile:.0f}", not _LOW <= percentile <= _HIGH)
