"""Confusion matrices as a picture: rows are labels, columns are decided classes, colours are shares of a row."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_spine.scoring.competition import Ints
from monai_spine.scoring.figures import ratio

_MOST_WITH_SHARES = 8
"""With more classes than this, a cell has no share below its count: the text would be too small to read."""
_MOST_WITH_COUNTS = 48
"""With more classes than this, a cell has no count."""
_WIDTH = 26
"""Letters of a class's name on one line."""
_MOST_ACROSS = 4
"""The most matrices in one row of the picture."""
_DARK = 0.55
"""From this share on a cell is so dark that its text is white."""


@dataclass(frozen=True)
class Confusion:
    """A matrix of counts."""

    title: str
    """Written above the matrix."""
    names: tuple[str, ...]
    """The names of the classes."""
    counts: Ints
    """``(classes, classes)``: a row for each label, a column for each decided class."""


def confusion_picture(confusions: Sequence[Confusion]) -> npt.NDArray[np.uint8]:
    """The matrices in a grid, ``(height, width, 3)`` in RGB."""
    across = min(_MOST_ACROSS, math.ceil(math.sqrt(len(confusions))))
    down = math.ceil(len(confusions) / across)
    classes = max(len(one.names) for one in confusions)
    longest = max(len(line) for one in confusions for name in one.names for line in _lines(name))
    side = (1.4 + 0.62 * classes if classes <= _MOST_WITH_SHARES else 3.4 + 0.3 * classes) + 0.065 * longest
    figure = Figure(figsize=(across * side + 0.7, down * side + 0.3), layout="constrained", dpi=110)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, confusion in zip(panels, confusions, strict=False):
        _draw(axes, confusion)
    for axes in panels[len(confusions) :]:
        axes.axis("off")
    figure.supxlabel("decided", fontsize=10)
    figure.supylabel("label", fontsize=10)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _draw(axes: Axes, confusion: Confusion) -> None:
    counts, classes = confusion.counts, len(confusion.names)
    shares = np.nan_to_num(ratio(counts, counts.sum(axis=1, keepdims=True)))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_WITH_COUNTS:
        for row, column in np.argwhere((counts > 0) | (classes <= _MOST_WITH_SHARES)):
            share = f"\n{shares[row, column]:.0%}" if classes <= _MOST_WITH_SHARES else ""
            colour = "white" if shares[row, column] > _DARK else "#333333"
            size = 8.5 if classes <= _MOST_WITH_SHARES else 6.5
            axes.text(
                column, row, f"{counts[row, column]}{share}", ha="center", va="center", color=colour, fontsize=size
            )
    labels = ["\n".join(_lines(name)) for name in confusion.names]
    with_counts = [f"{label} ({n})" for label, n in zip(labels, counts.sum(axis=1), strict=True)]
    axes.set_yticks(range(classes), with_counts, fontsize=8 if classes <= _MOST_WITH_SHARES else 7)
    fits_level = max(len(name) for name in confusion.names) * classes <= _WIDTH
    axes.set_xticks(range(classes), labels, fontsize=8 if classes <= _MOST_WITH_SHARES else 7)
    for label in [] if fits_level else axes.get_xticklabels():
        label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")
    axes.set_title(confusion.title, fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # White lines between the cells: minor ticks lie on the cells' edges.
    axes.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _lines(name: str) -> list[str]:
    return textwrap.wrap(name, _WIDTH) or [name]
