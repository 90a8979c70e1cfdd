"""The index of a run: every study with its worst grade of each condition, counts, and the refused studies.

Where a reader graded a finding, that grade counts and sorts in the place of the program's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.report.html_page import render
from monai_spine.report.study_result import FindingResult, StudyResult, worst
from monai_spine.report.wording import GRADES, SHORT, flag_words, reader_words
from monai_spine.spine import Condition, Grade

PAGE = "report.html"


def index_html(results: Sequence[StudyResult], unread: Sequence[str] = ()) -> str:
    """The page of all studies, the worst first.

    Parameters
    ----------
    unread
        Sentences about folders whose results could not be read.
    """
    rows = sorted((_row(result) for result in results), key=lambda row: row["order"])
    graded = [result for result in results if result.findings]
    provenances = list(dict.fromkeys(result.provenance for result in graded)) or [RESEARCH]
    return render(
        "index.html",
        rows=rows,
        provenances=provenances,
        conditions=[SHORT[condition] for condition in Condition],
        grades=[(grade.column, GRADES[grade]) for grade in Grade],
        counts=[_counts(condition, graded) for condition in Condition],
        graded=len(graded),
        refused=len(results) - len(graded),
        corrected=sum(bool(result.regraded) for result in graded),
        reviewed=sum(bool(result.reviewed) for result in graded),
        flags=[(flag, flag_words(flag)) for flag in sorted({flag for result in graded for flag in result.flags})],
        unread=unread,
    )


def _row(result: StudyResult) -> dict[str, Any]:
    shown = worst(result.findings, read=True)
    cells = [_cell(result, condition) for condition in Condition] if result.findings else []
    # Refused studies come last; those of which no slice shows anything before them.
    order = (
        not result.findings,
        shown is None,
        [-part for part in shown.read_severity] if shown else [],
        result.study_id,
    )
    return {
        "study": result.study_id,
        "page": f"{quote(result.name)}/{PAGE}",
        "refused": result.refused,
        "worst": int(shown.read_grade) if shown else -1,
        "cells": cells,
        "not_covered": result.not_covered,
        "flags": result.flags,
        "bad": len(result.bad),
        "reviewed": result.reviewed,
        "corrected": bool(result.regraded),
        "order": order,
    }


def _cell(result: StudyResult, condition: Condition) -> dict[str, Any]:
    findings = result.of(condition)
    shown, program, readers = worst(findings, read=True), worst(findings), _readers(findings)
    if shown is None:
        return {"tone": "unknown", "grade": "not seen", "level": "", "rank": -1, "readers": readers, "program": ""}
    grade = shown.read_grade
    # Sorted by grade, and within a grade by the probability of severe.
    rank = int(grade) + min(shown.natural[2], 0.999)
    return {
        "tone": grade.column,
        "grade": GRADES[grade],
        "level": shown.finding.level.title if grade else "",
        "rank": round(rank, 4),
        "readers": readers,
        "program": "" if program is shown and program.grade is grade else _of_program(program),
    }


def _of_program(worst_one: FindingResult | None) -> str:
    """What the cell would show without readers."""
    if worst_one is None:
        return "not seen"
    return " ".join(filter(None, [GRADES[worst_one.grade], worst_one.finding.level.title if worst_one.grade else ""]))


def _readers(findings: Sequence[FindingResult]) -> list[str]:
    """The grades of readers, by initials."""
    return [
        f"{reader_words(one.reader.grade, one.reader.by)} {one.finding.level.title}"
        for one in findings
        if one.reader is not None
    ]


def _counts(condition: Condition, graded: Sequence[StudyResult]) -> dict[str, Any]:
    """How many studies have which worst grade of a condition, and of how many it is a reader's."""
    shown = [worst(result.of(condition), read=True) for result in graded]
    counts = Counter(one.read_grade if one else None for one in shown)
    read = Counter(one.read_grade for one in shown if one and one.reader)
    grades = [(counts[grade], read[grade]) for grade in Grade]
    return {"name": SHORT[condition], "grades": grades, "unseen": counts[None]}
