"""Reliability diagrams: a column for each group of conditions, a row for each grade."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monai_spine.files import whole_file
from monai_spine.scoring.competition import Floats, Ints, columns_of
from monai_spine.scoring.reliability import reliability
from monai_spine.spine import Grade, Group

_COLOURS = ("#b5b5b5", "#d98c2b", "#1f5fa8")
_MARKERS = ("o", "s", "D")


def write_reliability(path: Path, grades: Ints, stages: Mapping[str, Floats], errors: Mapping[str, str]) -> None:
    """Write a PNG.

    Parameters
    ----------
    grades
        ``(studies, 25)``.
    stages
        By name, up to three sets of probabilities to compare, ``(studies, 25, 3)`` each.
    errors
        The text in the corner of each panel, by ``<group>/<grade>``: its calibration errors.
    """
    figure = Figure(figsize=(12, 12.6), layout="constrained", dpi=110)
    panels = figure.subplots(len(Grade), len(Group), sharex=True, sharey=True, squeeze=False)
    for row, grade in enumerate(reversed(Grade)):
        for column, group in enumerate(Group):
            own = columns_of(group)
            axes = panels[row, column]
            _panel(axes, grades[:, own], {name: rows[:, own] for name, rows in stages.items()}, grade)
            axes.set_title(f"{group.value}: {grade.title}", fontsize=12)
            axes.text(0.97, 0.03, errors[f"{group.value}/{grade.column}"], transform=axes.transAxes, **_CORNER)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=12)
    figure.supxlabel("predicted probability")
    figure.supylabel("observed share")
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


_CORNER = {"ha": "right", "va": "bottom", "fontsize": 9.5, "family": "monospace", "linespacing": 1.4}


def _panel(axes: Axes, grades: Ints, stages: Mapping[str, Floats], grade: Grade) -> None:
    """One grade of one group. The area of a marker grows with the number of findings in its bin."""
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=(0, (4, 4)), label="perfect")
    for (name, probabilities), colour, marker in zip(stages.items(), _COLOURS, _MARKERS, strict=False):
        curve = reliability(grades, probabilities, grade)
        filled = curve.rows > 0
        predicted, observed = curve.predicted[filled], curve.observed[filled]
        size = 14 + 110 * np.sqrt(curve.rows[filled] / max(1, curve.rows.sum()))
        axes.plot(predicted, observed, color=colour, linewidth=1.6)
        axes.scatter(predicted, observed, s=size, color=colour, marker=marker, label=name)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
