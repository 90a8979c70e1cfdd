"""Draws a picture from a few lines of text: ``python docs/site_tools/diagram.py`` makes an SVG of every ``*.diagram``.

- ``[name] title | caption`` is a box for a place in the code, ``(name) title | caption`` one for data.
- ``a -> b`` is an arrow, ``a -> b : words`` an arrow with words beside it.
- A blank line begins a new row of boxes.

Sizes and places follow from the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, MARGIN, GAP = 760, 8, 14
LINE_HEIGHT, CHARACTER, PADDING = 18, 7.0, 10
ROW_GAP = 40

BOX = re.compile(r"^(?P<open>[\[(])(?P<name>\w+)[\])]\s*(?P<text>.*)$")
ARROW = re.compile(r"^(?P<start>\w+)\s*->\s*(?P<end>\w+)\s*(?::\s*(?P<words>.*))?$")

# Colours are fixed and the background is white: a page shows the picture as a file, in a dark theme too.
STYLE = """<style>
text { font-family: sans-serif; font-size: 13px; fill: #222; text-anchor: middle; }
.title { font-weight: bold; }
.words { font-style: italic; font-size: 12px; }
rect { fill: #eef2fb; stroke: #3f51b5; stroke-width: 1.2; }
rect.data { fill: #fff8e6; stroke: #b07a00; stroke-dasharray: 5 3; }
rect.background { fill: white; stroke: none; }
path { fill: none; stroke: #666; stroke-width: 1.2; marker-end: url(#arrow); }
marker path { fill: #666; marker-end: none; }
</style>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z"/></marker></defs>"""


class DiagramError(ValueError):
    """A line that is neither a box nor an arrow, or an arrow without its box."""


@dataclass
class Box:
    """A rectangle with lines of text; the place is set when its row is laid out."""

    name: str
    lines: list[str]
    is_data: bool
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * CHARACTER + 2 * PADDING

    @property
    def height(self) -> float:
        return len(self.lines) * LINE_HEIGHT + 2 * PADDING - 4

    def svg(self) -> str:
        style = "data" if self.is_data else "code"
        shape = (
            f'<rect class="{style}" x="{self.x:.0f}" y="{self.y:.0f}" width="{self.width:.0f}"'
            f' height="{self.height:.0f}" rx="{10 if self.is_data else 3}"/>'
        )
        middle = self.x + self.width / 2
        texts = [
            f'<text class="{"title" if not i else "caption"}" x="{middle:.0f}"'
            f' y="{self.y + PADDING + 10 + i * LINE_HEIGHT:.0f}">{escape(line)}</text>'
            for i, line in enumerate(self.lines)
        ]
        return "\n".join([shape, *texts])


def svg(text: str) -> str:
    """The picture as an SVG file."""
    rows, arrows = read(text)
    height = lay_out(rows)
    boxes = {box.name: box for row in rows for box in row}
    parts = [arrow_svg(boxes[start], boxes[end], words) for start, end, words in arrows]
    parts += [box.svg() for box in boxes.values()]
    width = max(WIDTH, max(box.x + box.width for box in boxes.values()) + MARGIN)
    body = "\n".join(parts)
    size = f'width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {size}>\n'
        f'{STYLE}\n<rect class="background" {size}/>\n{body}\n</svg>\n'
    )


def read(text: str) -> tuple[list[list[Box]], list[tuple[str, str, str]]]:
    rows: list[list[Box]] = [[]]
    arrows = []
    for line in text.strip().splitlines():
        if not line.strip():
            rows.append([])
        elif box := BOX.match(line):
            lines = [part.strip() for part in box["text"].split("|")]
            rows[-1].append(Box(box["name"], lines, is_data=box["open"] == "("))
        elif arrow := ARROW.match(line):
            arrows.append((arrow["start"], arrow["end"], arrow["words"] or ""))
        else:
            raise DiagramError(f"expected '[name] title', '(name) title' or 'a -> b', but found {line!r}")
    rows = [row for row in rows if row]
    names = {box.name for row in rows for box in row}
    for start, end, _ in arrows:
        if lost := {start, end} - names:
            raise DiagramError(f"{start} -> {end}: expected the names of two boxes, but {sorted(lost)} are no boxes")
    return rows, arrows


def lay_out(rows: list[list[Box]]) -> float:
    """Place all boxes, the boxes of a row side by side and in its middle; the height of the picture."""
    y = float(MARGIN)
    for row in rows:
        free = max(WIDTH - 2 * MARGIN - sum(box.width for box in row), 0)
        gap = max(free / (len(row) + 1), GAP) if len(row) > 1 else free / 2
        x = MARGIN + (gap if free else 0)
        for box in row:
            box.x, box.y = x, y
            x += box.width + gap
        y += max(box.height for box in row) + ROW_GAP
    return y - ROW_GAP + MARGIN


def arrow_svg(start: Box, end: Box, words: str) -> str:
    if start.y == end.y:
        right = start.x < end.x
        x1, x2 = (start.x + start.width, end.x) if right else (start.x, end.x + end.width)
        y1 = y2 = start.y + min(start.height, end.height) / 2
        path = f"M{x1:.0f} {y1:.0f} L{x2:.0f} {y2:.0f}"
    else:
        down = start.y < end.y
        x1, x2 = start.x + start.width / 2, end.x + end.width / 2
        y1, y2 = (start.y + start.height, end.y) if down else (start.y, end.y + end.height)
        bend = (y2 - y1) / 2
        path = f"M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    middle = f'x="{(x1 + x2) / 2:.0f}" y="{(y1 + y2) / 2 - 4:.0f}"'
    return f'<path d="{path}"/>' + (f'\n<text class="words" {middle}>{escape(words)}</text>' if words else "")


def main() -> None:
    """Draw every text of the documentation beside it."""
    for source in Path(__file__).parents[1].rglob("*.diagram"):
        source.with_suffix(".svg").write_text(svg(source.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
