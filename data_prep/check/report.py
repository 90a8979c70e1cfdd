"""The result of a check: lines for the terminal, ``check.json``, and one HTML file with pictures, without a network."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.fingerprint import Fingerprint
from data_prep.check.pictures import Panel, histograms
from data_prep.check.point_faults import named
from data_prep.check.volume_facts import VolumeFacts
from data_prep.faults import Fault, FaultCode, Severity
from monai_spine import __version__
from monai_spine.errors import ExitCode, counted, listed
from monai_spine.spine import FINDINGS, Condition, Grade, Level, SeriesType

SCHEMA = "monai_spine/check/1"
ROWS = 200
"""The most rows that one code has in the report; `check.json` has all."""
_WITHOUT_NAMES = {Code.LABELS_MISSING, Code.LABEL_WITHOUT_POINT, Code.POINT_WITHOUT_LABEL, Code.LABEL_SHARES_DIFFER}
"""Faults whose words do not name the findings that they concern."""
_TITLES = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


@dataclass(frozen=True)
class CheckedData:
    """What is known of a data set: its studies and volumes, what is wrong with them, and its fingerprint."""

    name: str
    studies: Sequence[Study]
    facts: Sequence[VolumeFacts]
    faults: Sequence[Fault]
    fingerprint: Mapping[str, Any]

    @property
    def counts(self) -> Counter[Severity]:
        """How many faults there are of each severity."""
        return Counter(fault.code.severity for fault in self.faults)

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if there are errors: studies with errors should not be trained on."""
        return ExitCode.SOME_REFUSED if self.counts[Severity.ERROR] else ExitCode.DONE

    def summary(self, report: Path) -> str:
        """For people: a line for every code, the worst first, the verdict, and where the report is."""
        by_code: dict[FaultCode, list[Fault]] = {}
        for fault in self.faults:
            by_code.setdefault(fault.code, []).append(fault)
        rows = [
            f"{code.severity.value:<8}{len(faults):>5}  {code.name:<25} "
            f"{listed(list(dict.fromkeys(fault.study or '-' for fault in faults)), shown=3)}"
            for code, faults in by_code.items()
        ]
        patients = counted(self.fingerprint["patients"], "patient")
        of = f"{counted(len(self.studies), 'study')} of {patients}, {counted(len(self.facts), 'volume')} read"
        return "\n".join([*rows, f"{of}. {verdict(self.counts)[0]}", f"See {report}"])

    def content(self) -> dict[str, Any]:
        """What ``check.json`` holds."""
        counts, names = self.counts, {study.number: study.study_id for study in self.studies}
        return {
            "schema": SCHEMA,
            "version": __version__,
            "datalist": self.name,
            "counts": {severity.value: counts[severity] for severity in Severity},
            "findings": [_finding(fault, names) for fault in self.faults],
            "fingerprint": self.fingerprint,
            "volumes": [_volume(one, names) for one in self.facts],
        }

    def as_json(self) -> str:
        """`content` as text, for the file and for stdout."""
        return as_json(self.content())


def as_json(content: Any) -> str:
    """JSON for files and for stdout."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def verdict(counts: Mapping[Severity, int]) -> tuple[str, str]:
    """The verdict on the counts in words, and its tone (``error``, ``warning`` or ``good``)."""
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    if errors:
        return f"{counted(errors, 'error')}: mend the data before a model is trained on them", "error"
    if warnings:
        return f"No errors, {counted(warnings, 'warning')} to look at", "warning"
    return "No errors, no warnings", "good"


def _finding(fault: Fault, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "severity": fault.code.severity.value,
        "code": fault.code.name,
        "section": fault.section,
        "study": fault.study,
        "series": fault.series,
        "path": fault.path,
        "targets": list(fault.targets),
        "others": [names[number] for number in fault.others],
        "found": fault.detail,
        "advice": fault.code.explanation.advice,
    }


def _volume(facts: VolumeFacts, names: Mapping[int, str]) -> dict[str, Any]:
    rounded = {name: float(f"{value:.6g}") for name, value in facts.features.items()}
    return {
        "study": names[facts.number],
        "series": facts.series_type.value,
        "path": facts.path,
        "plane": facts.plane.value,
        **rounded,
    }


def render(
    checked: CheckedData,
    panels: Mapping[int, Sequence[Panel]],
    *,
    unpictured: int = 0,
    stored: Fingerprint | None = None,
    stored_name: str = "",
) -> str:
    """The report as HTML; all text from the input is escaped.

    Parameters
    ----------
    panels
        Of the studies that are shown, by their numbers.
    unpictured
        How many studies with errors or warnings are not shown.
    stored, stored_name
        The fingerprint that was compared with, if any, and its file's name.
    """
    environment = Environment(
        loader=PackageLoader("data_prep.check"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words, tone = verdict(checked.counts)
    fingerprint = checked.fingerprint
    content = {
        "name": checked.name,
        "version": __version__,
        "verdict": words,
        "tone": tone,
        "figures": _figures(checked),
        "parts": [_part(severity, checked.faults) for severity in Severity if checked.counts[severity]],
        "pictured": set(panels),
        "cards": _cards(checked, panels),
        "unpictured": counted(unpictured, "study") if unpictured else "",
        "levels": [level.title for level in Level],
        "labels": [_label_row(condition, fingerprint) for condition in Condition],
        "folds": [{"name": name, **fold} for name, fold in fingerprint["folds"].items()],
        "distances": [
            {"title": Level(level).title, **{name: f"{value:.4g}" for name, value in spread.items()}}
            for level, spread in fingerprint["level_distances_mm"].items()
        ],
        "series": [_series_row(series_type, checked, stored) for series_type in SeriesType],
        "compared": stored_name,
    }
    return environment.get_template("report.html").render(report=content)


def _figures(checked: CheckedData) -> list[dict[str, Any]]:
    figures = {
        "studies": len(checked.studies),
        "patients": checked.fingerprint["patients"],
        "volumes read": len(checked.facts),
        "points": sum(len(study.points) for study in checked.studies),
    }
    counts = checked.counts
    neutral = [{"title": title, "value": value, "tone": ""} for title, value in figures.items()]
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


def _cards(checked: CheckedData, panels: Mapping[int, Sequence[Panel]]) -> list[dict[str, Any]]:
    """A card for every study that is shown, the worst first."""
    concerning: dict[int, list[Fault]] = defaultdict(list)
    for fault in checked.faults:
        for number in (fault.number, *fault.others):
            if number is not None and fault.code.severity is not Severity.NOTE:
                concerning[number].append(fault)
    names = {study.number: study.study_id for study in checked.studies}
    return [
        {
            "number": number,
            "study": names[number],
            "panels": panels[number],
            "faults": [_card_fault(fault, number) for fault in concerning[number]],
        }
        for number in panels
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


def _series_row(series_type: SeriesType, checked: CheckedData, stored: Fingerprint | None) -> dict[str, Any]:
    known = checked.fingerprint["series"][series_type.value]
    return {
        **known,
        "title": series_type.title,
        "most": max(map(int, known["volumes_per_study"]), default=0),
        "planes": ", ".join(f"{count} {plane}" for plane, count in known["planes"].items()),
        "charts": histograms(checked.facts, series_type, stored.spreads[series_type] if stored else None),
    }
