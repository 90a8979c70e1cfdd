"""The report for people: one HTML file with pictures, that needs no network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from data_prep.check.charts import histograms
from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.fingerprint import Fingerprint
from data_prep.check.pictures import Panel
from data_prep.check.point_faults import named
from data_prep.check.result import verdict
from data_prep.check.volume_facts import VolumeFacts
from data_prep.faults import Fault, FaultCode, Severity, counted
from monai_spine import __version__
from monai_spine.spine import FINDINGS, Condition, Grade, Level, SeriesType

ROWS = 200
"""The most rows that one code has in the report; `check.json` has all."""
_WITHOUT_NAMES = {
    Code.LABELS_MISSING,
    Code.LABEL_WITHOUT_POINT,
    Code.POINT_WITHOUT_LABEL,
    Code.LABEL_SHARES_DIFFER,
}
"""Faults whose words do not name the findings that they concern."""
_TITLES = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


@dataclass(frozen=True)
class Source:
    """The content of the report.

    Attributes
    ----------
    name
        Of the datalist.
    panels
        Of the studies that are shown, by their numbers.
    unpictured
        How many studies with errors or warnings are not shown.
    stored, stored_name
        The fingerprint that was compared with, if any, and its file's name.
    """

    name: str
    studies: Sequence[Study]
    facts: Sequence[VolumeFacts]
    faults: Sequence[Fault]
    fingerprint: Mapping[str, Any]
    panels: Mapping[int, Sequence[Panel]]
    unpictured: int = 0
    stored: Fingerprint | None = None
    stored_name: str = ""


def render(source: Source) -> str:
    """The report as HTML; all text from the input is escaped."""
    environment = Environment(
        loader=PackageLoader("data_prep.check"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(report=_content(source))


def _content(source: Source) -> dict[str, Any]:
    counts = Counter(fault.code.severity for fault in source.faults)
    words, tone = verdict(counts)
    return {
        "name": source.name,
        "version": __version__,
        "verdict": words,
        "tone": tone,
        "figures": _figures(source, counts),
        "parts": [_part(severity, source.faults) for severity in Severity if counts[severity]],
        "pictured": set(source.panels),
        "cards": _cards(source),
        "unpictured": counted(source.unpictured, "study") if source.unpictured else "",
        "levels": [level.title for level in Level],
        "labels": [_label_row(condition, source.fingerprint) for condition in Condition],
        "folds": [{"name": name, **fold} for name, fold in source.fingerprint["folds"].items()],
        "distances": [
            {"title": Level(level).title, **{name: f"{value:.4g}" for name, value in spread.items()}}
            for level, spread in source.fingerprint["level_distances_mm"].items()
        ],
        "series": [_series_row(series_type, source) for series_type in SeriesType],
        "compared": source.stored_name,
    }


def _figures(source: Source, counts: Counter[Severity]) -> list[dict[str, Any]]:
    figures = [("studies", len(source.studies)), ("patients", source.fingerprint["patients"])]
    figures.append(("volumes read", len(source.facts)))
    figures.append(("points", sum(len(study.points) for study in source.studies)))
    neutral = [{"title": title, "value": value, "tone": ""} for title, value in figures]
    return neutral + [
        {"title": _TITLES[s].lower(), "value": counts[s], "tone": s.value if counts[s] else "none"} for s in Severity
    ]


def _part(severity: Severity, faults: Sequence[Fault]) -> dict[str, Any]:
    """All faults of a severity, by code."""
    by_code: dict[FaultCode, list[Fault]] = defaultdict(list)
    for fault in faults:
        if fault.code.severity is severity:
            by_code[fault.code].append(fault)
    codes = [_code_part(code, by_code[code]) for code in Code if code in by_code]
    return {"severity": severity, "title": _TITLES[severity], "codes": codes}


def _code_part(code: Code, faults: Sequence[Fault]) -> dict[str, Any]:
    studies = len({fault.number for fault in faults})
    total = f"{len(faults)}" if studies == len(faults) else f"{len(faults)} in {counted(studies, 'study')}"
    return {
        "code": code.name,
        "title": code.explanation.title,
        "advice": code.explanation.advice,
        "total": total,
        "rows": [_row(fault) for fault in faults[:ROWS]],
        "hidden": max(0, len(faults) - ROWS),
    }


def _row(fault: Fault) -> dict[str, Any]:
    where = fault.path or (_summed(fault.targets) if fault.code in _WITHOUT_NAMES else "")
    return {"number": fault.number, "study": fault.study, "found": fault.detail, "where": where}


def _summed(targets: Sequence[str]) -> str:
    """For people: ``left foraminal L1/L2, L2/L3; spinal L4/L5``."""
    levels: dict[str, list[str]] = defaultdict(list)
    for finding in FINDINGS:
        if finding.name in targets:
            words, level = named(finding).rsplit(" ", 1)
            levels[words].append(level)
    return "; ".join(f"{words} {', '.join(of)}" for words, of in levels.items())


def _cards(source: Source) -> list[dict[str, Any]]:
    """A card for every study that is shown, the worst first."""
    concerning: dict[int, list[Fault]] = defaultdict(list)
    for fault in source.faults:
        for number in (fault.number, *fault.others):
            if number is not None and fault.code.severity is not Severity.NOTE:
                concerning[number].append(fault)
    names = {study.number: study.study_id for study in source.studies}
    return [
        {
            "number": number,
            "study": names[number],
            "panels": panels,
            "faults": [_card_fault(fault, number) for fault in concerning[number]],
        }
        for number, panels in source.panels.items()
    ]


def _card_fault(fault: Fault, number: int) -> dict[str, str]:
    """A fault on the card of a study: in full if it is this study's, else its title and the other study's id."""
    detail = fault.detail if fault.number == number else f"with {fault.study}"
    return {"tone": fault.code.severity.value, "title": fault.code.explanation.title, "found": detail}


def _label_row(condition: Condition, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    cells = fingerprint["labels"][condition.value]
    return {"title": condition.title, "cells": [_label_cell(cells[level.value]) for level in Level]}


def _label_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    if cell["shares"] is None:
        return {"shares": [], "words": "none graded", "counts": counted(cell["points"], "point")}
    names = {Grade.NORMAL_MILD: "mild", Grade.MODERATE: "moderate", Grade.SEVERE: "severe"}
    shares = [(names[grade], round(100 * cell["shares"][grade.column], 2)) for grade in Grade]
    graded = sum(cell[grade.column] for grade in Grade)
    moderate, severe = shares[1][1], shares[2][1]
    counts = f"{graded} graded, {counted(cell['points'], 'point')}"
    return {"shares": shares, "words": f"{moderate:.1f} · {severe:.1f} %", "counts": counts}


def _series_row(series_type: SeriesType, source: Source) -> dict[str, Any]:
    known = source.fingerprint["series"][series_type.value]
    return {
        **known,
        "title": series_type.title,
        "most": max(map(int, known["volumes_per_study"]), default=0),
        "planes": ", ".join(f"{count} {plane}" for plane, count in known["planes"].items()),
        "charts": histograms(source.facts, series_type, source.stored.spreads[series_type] if source.stored else None),
    }
