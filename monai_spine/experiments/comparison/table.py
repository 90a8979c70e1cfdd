"""The comparison as a table: of what each candidate is worth and what it cost."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_COSTS = (
    "parameters",
    "epochs",
    "training_per_second",
    "inference_per_second",
    "peak_memory_mb",
    "processor_minutes",
    "minutes",
    "device",
)


@dataclass(frozen=True)
class Row:
    """A candidate: what it is worth, what it cost, and why it failed if it did."""

    name: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    costs: Mapping[str, float | str | None] = field(default_factory=dict)
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """By column."""
        state = "failed" if self.reason else "done"
        return {"name": self.name, "state": state, **self.figures, **self.costs, "reason": self.reason}


def costs(parts: Sequence[Sequence[Mapping[str, Any]]], networks: int) -> dict[str, float | str | None]:
    """What a candidate cost, from the records of all its runs.

    Parameters
    ----------
    parts
        Of each run the lines of `monai_spine.training.run_record.RunRecord`.
    networks
        How many of them make one answer: their parameters add up, and so do their seconds per item.
    """
    first = parts[:networks]
    return {
        "parameters": sum(lines[-1]["parameters"] for lines in first),
        "epochs": sum(len(lines) for lines in parts) / len(parts),
        "training_per_second": _rate(first, "training"),
        "inference_per_second": _rate(first, "validation"),
        "peak_memory_mb": round(max(line["peak_memory"] for lines in parts for line in lines) / 2**20),
        "processor_minutes": _minutes(parts, "processor_seconds"),
        "minutes": _minutes(parts, "seconds"),
        "device": first[0][-1]["device"],
    }


def to_csv(rows: Sequence[Row]) -> str:
    """One line a candidate; figures that are not defined are empty."""
    columns: dict[str, None] = {}
    for row in sorted(rows, key=lambda row: bool(row.reason)):
        columns |= dict.fromkeys(name for name in row.as_dict() if name != "reason")
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "reason"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.as_dict().items()} for row in rows)
    return text.getvalue()


def to_text(rows: Sequence[Row], key: str, shown: Sequence[str]) -> str:
    """A table to read.

    Parameters
    ----------
    key
        The figure with an interval by which candidates are ordered.
    shown
        Further figures.
    """
    heads = ["", key, "95 %", *shown, *(name.replace("_per_second", "/s") for name in _COSTS)]
    cells = [heads]
    for row in rows:
        if row.reason:
            cells.append([row.name, "failed: " + row.reason])
            continue
        values = row.as_dict()
        interval = f"{_short(values.get(f'{key}_low'))} … {_short(values.get(f'{key}_high'))}"
        cells.append(
            [row.name, _short(values[key]), interval, *(_short(values.get(name)) for name in (*shown, *_COSTS))]
        )
    widths = [max(len(line[n]) for line in cells if len(line) == len(heads)) for n in range(len(heads))]
    widths[0] = max(len(line[0]) for line in cells)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=False))
        )
        if len(line) == len(heads)
        else f"{line[0].ljust(widths[0])}  {line[1]}"
        for line in cells
    )


def _rate(parts: Sequence[Sequence[Mapping[str, Any]]], stretch: str) -> float | None:
    """Items a second, of all networks one after the other."""
    each = 0.0
    for lines in parts:
        items, seconds = (sum(line[stretch][name] for line in lines) for name in ("items", "seconds"))
        each += seconds / items if items else math.inf
    return round(1 / each, 3) if 0 < each < math.inf else None


def _minutes(parts: Sequence[Sequence[Mapping[str, Any]]], clock: str) -> float:
    return round(sum(line[clock] for lines in parts for line in lines) / 60, 2)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value


def _short(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
