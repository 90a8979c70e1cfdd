"""The page of a study as PDF, A4, for archives and printers: the same content as the HTML page without its switches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

from matplotlib.font_manager import findfont
from PIL import Image as Pictures
from reportlab import rl_config
from reportlab.graphics import renderPDF
from reportlab.graphics.shapes import Drawing, Line, Rect, String
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from monai_spine import __version__
from monai_spine.bundle.provenance import RESEARCH
from monai_spine.errors import counted
from monai_spine.report.crop_pictures import Grey, LevelPictures, Tile
from monai_spine.report.measures_table import MeasureCell, measures_table
from monai_spine.report.spine_picture import SpinePicture
from monai_spine.report.study_page import StudyPage
from monai_spine.report.study_result import FindingResult, StudyResult, worst
from monai_spine.report.wording import GRADES, SHORT, percent, reader_words
from monai_spine.spine import Condition, Grade, Level

_WIDTH = A4[0] - 30 * mm
_TONES = {Grade.NORMAL_MILD: "#2f7d6b", Grade.MODERATE: "#b06000", Grade.SEVERE: "#b3203a"}
_SOFT = {Grade.NORMAL_MILD: "#d9efe8", Grade.MODERATE: "#fbe6c4", Grade.SEVERE: "#f8d5da"}
# Base 85 took half of the time of a PDF. It only serves programs that cannot take binary files.
rl_config.useA85 = 0
_UNSEEN, _SOFT_UNSEEN, _LINE, _RING = "#6b7280", "#e5e7eb", "#c5cbd3", "#7fe3ff"


def study_pdf(page: StudyPage) -> bytes:
    """The PDF of a graded study. The same page gives the same bytes."""
    _fonts()
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=14 * mm,
        bottomMargin=18 * mm,
        title=f"Lumbar spine MRI, research report: {page.result.study_id}",
        author="monai_spine",
        lang="en",
        invariant=1,  # no time of writing in the file
    )
    document.build(_story(page), onFirstPage=_footer, onLaterPages=_footer)
    return buffer.getvalue()


def _story(page: StudyPage) -> list[Flowable]:
    result = page.result
    story: list[Flowable] = [
        _text("Lumbar spine MRI: graded findings", 15, bold=True),
        _text(f"Study {result.study_id}", 8),
        Spacer(0, 2 * mm),
        _boxed(_text(result.provenance, 8)),
        Spacer(0, 3 * mm),
        *_read(result),
    ]
    table = _summary(result, _WIDTH * (0.6 if page.spine else 1))
    story.append(_beside(_spine(page.spine, result), table) if page.spine else table)
    if page.without_pictures:
        story.append(_text(f"There are no pictures: {page.without_pictures}", 8))
    for level in result.levels():
        story += [Spacer(0, 3 * mm), _level(level, page)]
    return [*story, Spacer(0, 4 * mm), *_measures(result), *_volumes(result), *_models(result)]


FONTS = {"Sans": findfont("DejaVu Sans"), "Sans-Bold": findfont("DejaVu Sans:bold")}
"""Files of fonts that have more than Latin letters; they come with matplotlib."""


@lru_cache(maxsize=1)
def _fonts() -> dict[str, frozenset[int]]:
    """Register the fonts; the letters that each has."""
    for name, file in FONTS.items():
        pdfmetrics.registerFont(TTFont(name, file))
    return {name: frozenset(pdfmetrics.getFont(name).face.charToGlyph) for name in FONTS}


def drawable(text: str, font: str = "Sans") -> str:
    """A text in which letters that a font lacks, such as Chinese ones, are written as ``U+674E``.

    A font with all of them has tens of megabytes, and one that is not in the file is another one with each reader.
    """
    letters = _fonts()[font]
    return "".join(one if ord(one) in letters or one.isspace() else f"U+{ord(one):04X}" for one in text)


def _text(text: str, size: float, *, bold: bool = False, colour: str = "#1b1f24") -> Paragraph:
    # Paragraphs read markup, so the text of the input is escaped.
    font = "Sans-Bold" if bold else "Sans"
    return Paragraph(escape(drawable(text, font)), _style(size, bold, colour))


@lru_cache(maxsize=64)
def _style(size: float, bold: bool, colour: str) -> ParagraphStyle:
    font = "Sans-Bold" if bold else "Sans"
    # Names of files have no spaces: they are broken anywhere.
    return ParagraphStyle(
        f"{font}{size}{colour}", fontName=font, fontSize=size, leading=size * 1.3, textColor=colour, splitLongWords=1
    )


def _footer(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("Sans", 7)
    canvas.drawString(15 * mm, 10 * mm, f"{RESEARCH} monai_spine {__version__}")
    canvas.drawRightString(A4[0] - 15 * mm, 10 * mm, f"page {document.page}")
    canvas.restoreState()


def _boxed(content: Flowable) -> Table:
    return Table(
        [[content]], colWidths=[_WIDTH], style=TableStyle([("BOX", (0, 0), (-1, -1), 0.8, colors.HexColor("#b06000"))])
    )


def _beside(left: Flowable, right: Flowable) -> Table:
    return Table([[left, right]], colWidths=[_WIDTH * 0.4, _WIDTH * 0.6], style=_PLAIN)


_PLAIN = TableStyle(
    [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 2)]
)


def _tone(one: FindingResult | None) -> tuple[str, str]:
    return (_TONES[one.grade], _SOFT[one.grade]) if one is not None and one.covered else (_UNSEEN, _SOFT_UNSEEN)


class _MarkedPicture(Flowable):
    """A picture ``(rows, columns)`` at the lower left of a drawing, and the drawing on top of it.

    An image of a `Drawing` would be an inline image, which reportlab writes in base 85.
    """

    def __init__(self, pixels: Grey, size: tuple[float, float], drawing: Drawing) -> None:
        super().__init__()
        self._pixels, self._size, self._drawing = pixels, size, drawing

    def wrap(self, *_available: float) -> tuple[float, float]:
        """Width and height."""
        return self._drawing.width, self._drawing.height

    def draw(self) -> None:
        """Draw on the canvas of the page."""
        self.canv.drawImage(ImageReader(Pictures.fromarray(self._pixels)), 0, 0, *self._size)
        renderPDF.draw(self._drawing, self.canv, 0, 0)


def _spine(picture: SpinePicture, result: StudyResult) -> Flowable:
    rows, columns = picture.pixels.shape
    scale = (_WIDTH * 0.4 - 22 * mm) / columns
    drawing = Drawing(_WIDTH * 0.4, rows * scale)
    for level, (x, y) in picture.levels.items():
        shown = worst(result.at(level))
        colour = colors.HexColor(_tone(shown)[0])
        at_x, at_y = x * scale, (rows - y) * scale
        for ends in ((-3, 0, 3, 0), (0, -3, 0, 3), (5, 0, columns * scale - at_x + 2, 0)):
            x0, y0, x1, y1 = ends
            drawing.add(Line(at_x + x0, at_y + y0, at_x + x1, at_y + y1, strokeColor=colour, strokeWidth=1))
        for text, down in ((level.title, -1), (GRADES[shown.grade] if shown else "not seen", -9)):
            drawing.add(String(columns * scale + 4, at_y + down, text, fontName="Sans", fontSize=7, fillColor=colour))
    return _MarkedPicture(picture.pixels, (columns * scale, rows * scale), drawing)


def _summary(result: StudyResult, width: float) -> Table:
    head = [_text(name, 5.5, bold=True) for name in ("Level", *SHORT.values())]
    rows, style = [head], [("VALIGN", (0, 0), (-1, -1), "TOP"), ("GRID", (0, 0), (-1, -1), 1, colors.white)]
    for n, level in enumerate(Level, start=1):
        row = [_text(level.title, 7, bold=True)]
        for m, one in enumerate(result.at(level), start=1):
            tone, soft = _tone(one)
            words = f"{GRADES[one.grade]} {percent(one.natural[one.grade])}" if one.covered else "not seen"
            row.append([_text(words, 6.5, colour=tone), *_reader(one)])
            style.append(("BACKGROUND", (m, n), (m, n), colors.HexColor(soft)))
        rows.append(row)
    return Table(rows, colWidths=[width * 0.12, *[width * 0.176] * len(Condition)], style=TableStyle(style))


def _level(level: Level, page: StudyPage) -> Flowable:
    findings = page.result.at(level)
    shown = worst(findings)
    tone, _ = _tone(shown)
    title = f"{level.title}: {GRADES[shown.grade] if shown else 'no slice shows it'}"
    rows = [
        [_text(SHORT[one.finding.condition], 7.5, bold=True), _grade(one), _bar(one), _words(one)] for one in findings
    ]
    table = Table(rows, colWidths=[32 * mm, 24 * mm, 34 * mm, _WIDTH - 94 * mm], style=_PLAIN)
    parts: list[Flowable] = [_text(title, 11, bold=True, colour=tone), Spacer(0, 1 * mm), table]
    pictures = page.crops.levels.get(level) if page.crops else None
    if pictures:
        parts += _keys(pictures, findings)
    content = Table(
        [[parts]],
        colWidths=[_WIDTH - 2 * mm],
        style=TableStyle([("LINEBEFORE", (0, 0), (0, -1), 3, colors.HexColor(tone))]),
    )
    return KeepTogether([content])


def _grade(one: FindingResult) -> list[Flowable]:
    words = GRADES[one.grade] + ("" if one.covered else "?")
    return [_text(words, 7.5, bold=True, colour=_tone(one)[0]), *_reader(one, 7)]


def _reader(one: FindingResult, size: float = 6.5) -> list[Flowable]:
    """A reader's grade with the initials, if there is one."""
    if one.reader is None:
        return []
    words = reader_words(one.reader.grade, one.reader.by)
    return [_text(f"✎ {words}", size, bold=True, colour=_TONES[one.reader.grade])]


def _read(result: StudyResult) -> list[Flowable]:
    """Who read the study."""
    words = []
    if result.regraded:
        words.append(
            f"{' and '.join(result.readers)} graded {counted(len(result.regraded), 'finding')}: marked ✎, with the "
            "initials. All other grades, and all bars, are the program's."
        )
    words += [f"Reviewed by {result.reviewed}."] if result.reviewed else []
    return [_text(" ".join(words), 8, bold=True), Spacer(0, 2 * mm)] if words else []


def _words(one: FindingResult) -> list[Flowable]:
    shares = ", ".join(f"{GRADES[grade]} {percent(p)}" for grade, p in zip(Grade, one.natural, strict=True))
    return [_text(shares, 6.5), _text(". ".join([one.coverage, *one.notes]), 6.5, colour="#59626e")]


def _bar_parts(natural: Sequence[float], width: float) -> list[tuple[float, float, str]]:
    """Start, width and colour of each grade's part of a bar."""
    parts, start = [], 0.0
    for grade, p in zip(Grade, natural, strict=True):
        parts.append((start, p * width, _TONES[grade]))
        start += p * width
    return parts


def _bar(one: FindingResult) -> Drawing:
    drawing = Drawing(32 * mm, 8)
    for start, width, colour in _bar_parts(one.natural, 31 * mm):
        drawing.add(Rect(start, 0, width, 7, fillColor=colors.HexColor(colour), strokeColor=None))
    return drawing


def _keys(pictures: LevelPictures, findings: Sequence[FindingResult]) -> list[Flowable]:
    """The planes nearest to the points of a level's findings, in one row."""
    tiles: dict[tuple[str, int], tuple[Tile, list[FindingResult]]] = {}
    for one in findings:
        if (tile := pictures.key(one)) is not None:
            tiles.setdefault((tile.view, tile.plane), (tile, []))[1].append(one)
    if not tiles:
        return []
    width = min(40 * mm, (_WIDTH - 6 * mm) / len(tiles))
    row = [[_crop(tile, width - 2 * mm), Spacer(0, 1 * mm), *_caption(tile, of)] for tile, of in tiles.values()]
    return [Spacer(0, 1.5 * mm), Table([row], colWidths=[width] * len(row), hAlign="LEFT", style=_PLAIN)]


def _caption(tile: Tile, findings: Sequence[FindingResult]) -> list[Flowable]:
    names = " and ".join(SHORT[one.finding.condition].lower() for one in findings)
    return [_text(names.capitalize(), 6.5), _text(tile.source, 6, colour="#59626e")]


def _crop(tile: Tile, width: float) -> Flowable:
    height = width * tile.size_mm[0] / tile.size_mm[1]
    drawing = Drawing(width, height)
    for mark in tile.marks:
        x, y = mark.x * width, (1 - mark.y) * height
        drawing.add(
            Rect(x - 4, y - 4, 8, 8, rx=4, ry=4, fillColor=None, strokeColor=colors.HexColor(_RING), strokeWidth=1)
        )
    return drawing if tile.pixels is None else _MarkedPicture(tile.pixels, (width, height), drawing)


def _measures(result: StudyResult) -> list[Flowable]:
    """The measures of all levels, kept on one page."""
    if result.measures is None:
        return []
    table = measures_table(result.measures)
    if table.reason:
        return [_text("Measures", 10, bold=True), _text(f"There are none: {table.reason}.", 6.5), Spacer(0, 2 * mm)]
    rows = [[_text(level, 6.5, bold=True), *map(_measure, cells)] for level, cells in table.rows]
    section = _section("Measures", ("Level", *table.columns), rows, (0.1, *[0.15] * len(table.columns)))
    words: list[Flowable] = [Spacer(0, 1 * mm), _text(table.about, 6.5, colour="#59626e")]
    if table.lordosis is not None:
        words.append(_text(f"Lordosis from L1 to S1: {table.lordosis.text} {table.lordosis.percentile}", 6.5))
    return [KeepTogether([*section[:-1], *words, section[-1]])]


def _measure(cell: MeasureCell) -> list[Flowable]:
    return [_text(cell.text, 6.5, bold=cell.unusual), _text(cell.percentile, 6, colour="#59626e")]


def _volumes(result: StudyResult) -> list[Flowable]:
    rows = [
        [_text(name, 6.5), _text(what.replace("_", " ") if not what.startswith("left out") else what, 6.5)]
        for name, what in {**result.volumes, **result.bad}.items()
    ]
    return _section("Volumes", ("Volume", "Used as"), rows, (0.6, 0.4))


def _models(result: StudyResult) -> list[Flowable]:
    rows = []
    for model in result.models:
        weights = [f"{file}: {digest}" for file, digest in (model.get("weights") or {}).items()]
        cells = (str(model.get("bundle")), "\n".join(weights), str(model.get("trained_on") or "not known"))
        rows.append([_text(cell, 6.5) for cell in cells])
    return _section("Models", ("Model", "Weights (SHA-256)", "Trained on"), rows, (0.22, 0.58, 0.2))


def _section(title: str, heads: Sequence[str], rows: list[list[Any]], shares: Sequence[float]) -> list[Flowable]:
    if not rows:
        return []
    head = [_text(name, 6.5, bold=True) for name in heads]
    style = TableStyle(
        [("LINEBELOW", (0, 0), (-1, -1), 0.3, colors.HexColor(_LINE)), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    )
    table = Table([head, *rows], colWidths=[share * _WIDTH for share in shares], style=style, repeatRows=1)
    return [_text(title, 10, bold=True), table, Spacer(0, 2 * mm)]
