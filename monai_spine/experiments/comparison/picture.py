"""The comparison as a picture: a point with its interval for each candidate, and what it cost beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from monai_spine.experiments.comparison.table import Row

_COLOURS = {"prior": "#b5b5b5", "floor": "#2f8f4e", "chance": "#b5b5b5"}
_POINT = "#1f5fa8"


def write_picture(path: Path, rows: Sequence[Row], key: str, title: str, lines: Mapping[str, float]) -> None:
    """Write a PNG, renamed into place when whole; failed candidates are left out.

    Parameters
    ----------
    key
        The figure to show; ``<key>_low`` and ``<key>_high`` are its interval.
    lines
        Figures to hold the candidates against, by name.
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
        axes.annotate(_costs(row), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    for name, value in lines.items():
        axes.axvline(value, color=_COLOURS.get(name, "#b5b5b5"), linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(f"{name} {value:.3f}", (value, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    axes.set_yticks(range(len(shown)), [row.name for row in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(f"{title}, 95 % interval")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    figure.savefig(partial, format="png")
    partial.replace(path)


def _costs(row: Row) -> str:
    on_cpu = row.costs.get("device") == "cpu"
    clock, unit = ("processor_minutes", "processor min") if on_cpu else ("minutes", "min")
    parameters, epochs, minutes = (float(row.costs.get(name) or 0) for name in ("parameters", "epochs", clock))
    plural = "" if epochs == 1 else "s"
    return f"{parameters / 1e6:.3g} M parameters, {epochs:.3g} epoch{plural}, {minutes:.3g} {unit}"
