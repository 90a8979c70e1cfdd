"""The comparison as a table and as a picture: the figures of each candidate, and what it cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from monai_spine.files import csv_text, write_figure

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

_COLOURS = {"prior": "#b5b5b5", "floor": "#2f8f4e", "chance": "#b5b5b5"}
_POINT = "#1f5fa8"


@dataclass(frozen=True)
class Row:
    """A candidate: its figures, what it cost, and if it failed the reason."""

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

    ``parts``: for each run, the lines of `monai_spine.training.run_record.RunRecord`.
    ``networks``: how many runs make one prediction: their parameters add up, and so do their seconds per item.
    """
    first = parts[:networks]  # those of the first fold; the networks of other folds are like them
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
    """A line for each candidate; figures that are not defined are empty."""
    contents = [row.as_dict() for row in sorted(rows, key=lambda row: bool(row.reason))]
    columns = [*dict.fromkeys(name for content in contents for name in content if name != "reason"), "reason"]
    return csv_text([columns, *([_plain(row.as_dict().get(name)) for name in columns] for row in rows)])


def to_text(rows: Sequence[Row], key: str, shown: Sequence[str]) -> str:
    """A table for people.

    ``key``: the figure that orders the candidates; it is shown with its interval.
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


def write_picture(path: Path, rows: Sequence[Row], key: str, title: str, lines: Mapping[str, float]) -> None:
    """Write a PNG with a point and its interval for each candidate, and its cost; failed candidates are left out.

    ``key``: the figure to show; ``<key>_low`` and ``<key>_high`` are its interval.
    ``lines``: names and values of the vertical lines with which candidates are compared.
    """
    shown = [row for row in rows if not row.reason]
    figure = Figure(figsize=(10, 1.5 + 0.42 * len(shown)), layout="constrained", dpi=120)
    axes = figure.subplots()
    for place, row in enumerate(reversed(shown)):
        value, low, high = (row.figures.get(name) for name in (key, f"{key}_low", f"{key}_high"))
        if value is None:
            continue
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=_POINT, linewidth=1.6, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=_POINT, markersize=6)
        axes.annotate(_cost_phrase(row), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    for name, value in lines.items():
        axes.axvline(value, color=_COLOURS.get(name, "#b5b5b5"), linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(f"{name} {value:.3f}", (value, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    axes.set_yticks(range(len(shown)), [row.name for row in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(f"{title}, 95 % interval")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)


def _rate(parts: Sequence[Sequence[Mapping[str, Any]]], phase: str) -> float | None:
    """Items per second, of all networks one after the other."""
    each = 0.0
    for lines in parts:
        items, seconds = (sum(line[phase][name] for line in lines) for name in ("items", "seconds"))
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


def _cost_phrase(row: Row) -> str:
    on_cpu = row.costs.get("device") == "cpu"
    clock, unit = ("processor_minutes", "processor min") if on_cpu else ("minutes", "min")
    parameters, epochs, minutes = (float(row.costs.get(name) or 0) for name in ("parameters", "epochs", clock))
    plural = "" if epochs == 1 else "s"
    return f"{parameters / 1e6:.3g} M parameters, {epochs:.3g} epoch{plural}, {minutes:.3g} {unit}"
