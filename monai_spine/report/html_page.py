"""Pages in HTML: self-contained files without a network, in which nothing of the input is executed.

All text is escaped, pictures are in the file, and each page forbids scripts and connections by its content security
policy; only the index has one script, which is named there by its hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps
from PIL import Image

from monai_spine import __version__
from monai_spine.report.crop_pictures import Grey, LevelPictures, Tile
from monai_spine.report.measures_table import measures_table
from monai_spine.report.spine_picture import SpinePicture
from monai_spine.report.study_page import StudyPage
from monai_spine.report.study_result import FindingResult, StudyResult, worst
from monai_spine.report.wording import FULL, GRADES, SHORT, offset_words, percent
from monai_spine.spine import Condition, Grade, Level

_QUALITY = 88
"""Of WebP: crops of noise, the worst case, stay below 3 kB."""
_OPACITY = 0.7
_CONDITIONS = tuple(Condition)
VIEW_TITLES = {"canal": "Canal, sagittal", "foramina": "Foramina, sagittal", "disc": "Disc, axial"}


def study_html(page: StudyPage) -> str:
    """The page of a study, graded or refused."""
    result = page.result
    content = {
        "result": result,
        "grid": [[_cell(one) for one in result.at(level)] for level in Level] if result.findings else [],
        "levels": [_level(level, page) for level in result.levels()] if result.findings else [],
        "spine": _spine(page.spine, result) if page.spine else None,
        "caption": page.crops.caption if page.crops else "",
        "graded": page.crops is not None and bool(page.crops.grader),
        "explained": page.crops is not None and any(_is_explained(one) for one in page.crops.levels.values()),
        "without_pictures": page.without_pictures,
        "conditions": [SHORT[condition] for condition in _CONDITIONS],
        "level_titles": [level.title for level in Level],
        "worst": _verdict(result),
        "used": {name: what for name, what in result.volumes.items() if not what.startswith("left out: ")},
        "left_out": _left_out(result),
        "models": [_model(model) for model in result.models],
        "regraded": [reader for one in result.findings if (reader := _reader(one))],
        "measures": measures_table(result.measures) if result.measures else None,
    }
    return render("study.html", **content)


def render(name: str, **content: Any) -> str:
    """A template with its content; all text is escaped."""
    environment = _environment()
    source = environment.loader.get_source(environment, "index.js")[0] if environment.loader else ""
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template(name).render(version=__version__, script=source, script_hash=digest, **content)


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("monai_spine.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _cell(one: FindingResult) -> dict[str, Any]:
    """A cell of the table of all findings."""
    grade = GRADES[one.grade]
    return {
        "tone": one.grade.column if one.covered else "unknown",
        "grade": grade if one.covered else "not seen",
        "level": one.finding.level.value,
        "short": SHORT[one.finding.condition],
        "share": percent(one.natural[one.grade]),
        "reader": _reader(one),
    }


def _reader(one: FindingResult) -> dict[str, str] | None:
    """The grade of a reader, who is named by initials."""
    reader = one.reader
    if reader is None:
        return None
    words = GRADES[reader.grade]
    return {"tone": reader.grade.column, "grade": words, "by": reader.by, "day": reader.day, "named": _named(one)}


def _verdict(result: StudyResult) -> dict[str, Any] | None:
    """The worst finding in words."""
    shown = worst(result.findings)
    if shown is None:
        return None
    before = "Worst finding:" if shown.grade else "No finding is worse than"
    words = f"{_named(shown)}: {GRADES[shown.grade]}" if shown.grade else GRADES[shown.grade]
    return {"tone": shown.grade.column, "before": before, "words": words}


def _named(one: FindingResult) -> str:
    side = one.finding.condition.side
    words = f"{side.value} {FULL[one.finding.condition.group]}" if side else FULL[one.finding.condition.group]
    return f"{words} at {one.finding.level.title}"


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table of models, whatever version of the program named them."""
    yes_or_no = {True: "yes", False: "no"}
    return {
        "name": model.get("bundle", ""),
        "weights": model.get("weights") or {},
        "trained_on": model.get("trained_on") or "not known",
        "calibrated": yes_or_no.get(model.get("calibrated", ""), "not known"),
        "flipped": yes_or_no.get(model.get("flipped_too", ""), "not known"),
    }


def _left_out(result: StudyResult) -> dict[str, str]:
    refused = {
        name: why.removeprefix("left out: ") for name, why in result.volumes.items() if why.startswith("left out: ")
    }
    return refused | dict(result.bad)


def _level(level: Level, page: StudyPage) -> dict[str, Any]:
    findings = page.result.at(level)
    pictures = page.crops.levels.get(level) if page.crops else None
    shown = worst(findings)
    return {
        "id": level.value,
        "title": level.title,
        "tone": shown.grade.column if shown else "unknown",
        "worst": GRADES[shown.grade] if shown else "no slice shows it",
        "findings": [_finding(one) for one in findings],
        "nearest": _keys(pictures, findings) if pictures else [],
        "views": [_view(tiles) for tiles in pictures.views] if pictures else [],
        "readers": sorted({one.reader.by for one in findings if one.reader}),
        "reasons": _reasons(pictures) if pictures else {},
    }


def _reasons(pictures: LevelPictures) -> dict[str, str]:
    """Why there is no crop, with the views of which this is so."""
    reasons: dict[str, list[str]] = {}
    for name, why in pictures.reasons.items():
        reasons.setdefault(why, []).append(name)
    return {why: " and ".join(names) for why, names in reasons.items()}


def _finding(one: FindingResult) -> dict[str, Any]:
    shares = [
        (grade.column, GRADES[grade], percent(p), f"{100 * p:.2f}") for grade, p in zip(Grade, one.natural, strict=True)
    ]
    return {
        "name": SHORT[one.finding.condition],
        "tone": one.grade.column if one.covered else "unknown",
        "grade": GRADES[one.grade],
        "reader": _reader(one),
        "covered": one.covered,
        "shares": shares,
        "words": ", ".join(f"{name} {share}" for _, name, share, _ in shares),
        "coverage": one.coverage,
        "flags": one.notes,
        "point": None if one.point is None else ", ".join(f"{mm:.1f}" for mm in one.point),
        "confidence": None if one.point_confidence is None else percent(one.point_confidence),
    }


def _keys(pictures: LevelPictures, findings: tuple[FindingResult, ...]) -> list[dict[str, Any]]:
    """The planes nearest to the points of a level's findings, each once."""
    keys: dict[tuple[str, int], dict[str, Any]] = {}
    for one in findings:
        tile = pictures.key(one)
        if tile is None:
            continue
        entry = keys.setdefault((tile.view, tile.plane), {**_tile(tile), "of": []})
        entry["of"].append({"name": SHORT[one.finding.condition], "grade": GRADES[one.grade], "tone": one.grade.column})
    return list(keys.values())


def _view(tiles: tuple[Tile, ...]) -> dict[str, Any]:
    return {"title": VIEW_TITLES.get(tiles[0].view, tiles[0].view), "tiles": [_tile(tile) for tile in tiles]}


def _tile(tile: Tile) -> dict[str, Any]:
    title = VIEW_TITLES.get(tile.view, tile.view)
    place = offset_words(tile.offset, sagittal=tile.sagittal)
    return {
        "picture": data_uri(tile.pixels) if tile.pixels is not None else "",
        "place": place,
        "alt": f"{title}, plane {tile.plane + 1} of {tile.planes}, {place}; {tile.source}",
        "source": tile.source,
        "marks": [
            (_CONDITIONS.index(m.condition), f"{100 * m.x:.1f}", f"{100 * m.y:.1f}")
            for m in tile.marks
            if _inside(m.x, m.y)
        ],
        "attention": []
        if tile.attention is None
        else [(_CONDITIONS.index(c), percent(w), f"{100 * w:.0f}") for c, w in tile.attention.items()],
        "maps": []
        if tile.activation is None
        else [(_CONDITIONS.index(c), activation_uri(m)) for c, m in tile.activation.items() if m.max() > 0.02],
    }


def _inside(x: float, y: float) -> bool:
    return 0 <= x <= 1 and 0 <= y <= 1


def _is_explained(pictures: LevelPictures) -> bool:
    return any(tile.attention is not None for view in pictures.views for tile in view)


def _spine(picture: SpinePicture, result: StudyResult) -> dict[str, Any]:
    rows, columns = picture.pixels.shape
    marks = []
    for level, (x, y) in sorted(picture.levels.items(), key=lambda one: one[1][1]):
        shown = worst(result.at(level))
        uncertain = any("uncertain_level" in one.flags for one in result.at(level))
        marks.append(
            {
                "id": level.value,
                "title": level.title + ("?" if uncertain else ""),
                "x": round(x, 1),
                "y": round(y, 1),
                "tone": shown.grade.column if shown else "unknown",
                "grade": GRADES[shown.grade] if shown else "not seen",
            }
        )
    places = ", ".join(f"{mark['title']} {mark['grade']}" for mark in marks)
    return {
        "picture": data_uri(picture.pixels),
        "width": columns,
        "height": rows,
        "marks": marks,
        "source": picture.source,
        "alt": f"Mid-sagittal slice ({picture.source}) with the levels, from above: {places}",
    }


def data_uri(pixels: Grey) -> str:
    """A grey picture as a ``data:`` address."""
    return _uri(Image.fromarray(pixels), "webp", quality=_QUALITY, method=4)


def activation_uri(activation: npt.NDArray[np.float32]) -> str:
    """A coarse map as a tiny transparent picture, which browsers enlarge by bilinear interpolation."""
    colours = colormaps["inferno"](0.35 + 0.6 * np.clip(activation, 0, 1))
    colours[..., 3] = _OPACITY * np.clip(activation, 0, 1)
    return _uri(Image.fromarray((colours * 255).round().astype(np.uint8), "RGBA"), "png", optimize=True)


def _uri(picture: Image.Image, form: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"
