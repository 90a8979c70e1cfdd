"""The index of a run: every study with its worst grade of each condition, counts, and the refused studies."""

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
    shown = worst(result.findings)
    cells = [_cell(result, condition) for condition in Condition] if result.findings else []
    # Refused studies come last; those of which no slice shows anything before them.
    order = (not result.findings, shown is None, [-part for part in shown.severity] if shown else [], result.study_id)
    return {
        "study": result.study_id,
        "page": f"{quote(result.name)}/{PAGE}",
        "refused": result.refused,
        "worst": int(shown.grade) if shown else -1,
        "cells": cells,
        "not_covered": result.not_covered,
        "flags": result.flags,
        "bad": len(result.bad),
        "reviewed": result.reviewed,
        "corrected": bool(result.regraded),
        "order": order,
    }


def _cell(result: StudyResult, condition: Condition) -> dict[str, Any]:
    shown, readers = worst(result.of(condition)), _readers(result.of(condition))
    if shown is None:
        return {"tone": "unknown", "grade": "not seen", "level": "", "rank": -1, "readers": readers}
    # Sorted by grade, and within a grade by the probability of severe.
    rank = int(shown.grade) + min(shown.natural[2], 0.999)
    return {
        "tone": shown.grade.column,
        "grade": GRADES[shown.grade],
        "level": shown.finding.level.title if shown.grade else "",
        "rank": round(rank, 4),
        "readers": readers,
    }


def _readers(findings: Sequence[FindingResult]) -> list[str]:
    """The grades of readers, by initials."""
    return [
        f"{reader_words(one.reader.grade, one.reader.by)} {one.finding.level.title}"
        for one in findings
        if one.reader is not None
    ]


def _counts(condition: Condition, graded: Sequence[StudyResult]) -> dict[str, Any]:
    """How many studies have which worst grade of a condition."""
    found = [worst(result.of(condition)) for result in graded]
    counts = Counter(one.grade if one else None for one in found)
    return {"name": SHORT[condition], "grades": [counts[grade] for grade in Grade], "unseen": counts[None]}
