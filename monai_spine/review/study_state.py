"""What the page shows of a study, as JSON: its volumes, points and findings, and its corrections."""

from __future__ import annotations

from typing import Any

from monai_spine.data.corrections import Change, Corrections, What
from monai_spine.levels.marked import MARKED
from monai_spine.report.study_result import FindingResult
from monai_spine.report.wording import FULL, GRADES, SHORT, flags_in_words, percent, refusal_in_words
from monai_spine.review.regrading import Grading
from monai_spine.review.studies import NOT_AT_HAND, ReviewStudy
from monai_spine.spine import FINDINGS, Condition, Finding, Grade, Group, Level

_SHAPES = {Group.SPINAL: "canal", Group.FORAMINAL: "foramen", Group.SUBARTICULAR: "recess"}


def vocabulary() -> dict[str, Any]:
    """The words of the page: levels, conditions, grades."""
    return {
        "levels": [{"id": level.value, "title": level.title} for level in Level],
        "conditions": [
            {"id": one.value, "short": SHORT[one], "structure": _SHAPES[one.group], "side": one.side and one.side.value}
            for one in Condition
        ],
        "grades": [{"id": grade.column, "title": GRADES[grade]} for grade in Grade],
    }


def study_state(study: ReviewStudy, grading: Grading) -> dict[str, Any]:
    """Everything about one study.

    Raises
    ------
    InvalidTableError
        If its ``corrections.json`` breaks the format.
    """
    corrections, result = study.corrections(), study.result
    state = corrections.state
    placing = bool(result.refused) and not study.obstacle
    findings = [_finding(one, study, state.grades.get(one.finding.name)) for one in result.findings]
    return {
        "number": study.number,
        "study": result.study_id,
        "provenance": result.provenance,
        "fault": _fault(study),
        "placing": placing,
        "version": corrections.version,
        "done": vars(state.done) if state.done else None,
        "volumes": [volume.content() for volume in study.volumes],
        "left_out": {name: why for name, why in result.volumes.items() if why.startswith("left out: ")},
        "points": _points(study, corrections),
        "findings": [_level_to_place(level) for level in Level] if placing else findings,
        "stale": _is_stale(study, corrections),
        "grading": {"progress": grading.progress.value, "message": grading.message},
        "changes": [_change(one) for one in corrections.changes],
    }


def _fault(study: ReviewStudy) -> str:
    """Why the study has no grades, or no images, and what to do."""
    if study.result.refused:
        sentence, *details = refusal_in_words(study.result.refused)
        obstacle = study.obstacle or "Place its five levels, and it is graded."
        return " ".join(["Not graded.", sentence, *(f"{detail}." for detail in details if study.obstacle), obstacle])
    if study.pending is None:
        return f"{NOT_AT_HAND} Grades can be corrected."
    return ""


def _level_to_place(level: Level) -> dict[str, Any]:
    """The canal at a level of a refused study, as a finding without a grade."""
    finding = Finding(Condition.SPINAL_CANAL_STENOSIS, level)
    return {
        "name": finding.name,
        "level": level.value,
        "condition": finding.condition.value,
        "title": f"{level.title}, {SHORT[finding.condition].lower()}",
        "full": "the middle of the canal behind the disc",
        "grade": None,
        "corrected": None,
        "covered": True,
        "flags": [],
        "volume": None,
    }


def _points(study: ReviewStudy, corrections: Corrections) -> dict[str, dict[str, Any]]:
    """By finding: those of the corrections, and those that the last grading placed beside them."""
    points = {
        one.finding.name: {"position": list(one.point), "flags": flags_in_words(_own_flags(one)), "marked": False}
        for one in study.result.findings
        if one.point is not None
    }
    own = corrections.state.points
    renamed = any(one.what is What.LEVELS and one.undone is None for one in corrections.changes)
    if renamed and _is_stale(study, corrections):
        points = {}  # those of the names before
    for name, place in own.items():
        flags = flags_in_words([MARKED] if place.by_person else place.flags)
        points[name] = {"position": list(place.position), "flags": flags, "marked": place.by_person}
    return points


def _own_flags(one: FindingResult) -> list[str]:
    return [
        flag for flag in one.flags if not flag.startswith(("missing_", "not_covered", "substitute", "without_spine"))
    ]


def _is_stale(study: ReviewStudy, corrections: Corrections) -> bool:
    """Whether the findings were made with other points than those of the corrections."""
    if not corrections.changes or not study.result.findings:
        return False
    return corrections.differ_from(study.result.points)


def _finding(one: FindingResult, study: ReviewStudy, corrected: str | None) -> dict[str, Any]:
    names = [volume.name for volume in study.volumes]
    condition = one.finding.condition
    return {
        "name": one.finding.name,
        "level": one.finding.level.value,
        "condition": condition.value,
        "title": f"{one.finding.level.title}, {SHORT[condition].lower()}",
        "full": " ".join(filter(None, [condition.side and condition.side.value, FULL[condition.group]])),
        "grade": one.grade.column,
        "corrected": corrected,
        "shares": [percent(share) for share in one.natural],
        "widths": [round(100 * share, 1) for share in one.natural],
        "covered": one.covered,
        "coverage": one.coverage,
        "flags": one.notes,
        "volume": names.index(one.series) if one.series in names else None,
    }


_NAMES = {finding.name: f"{finding.level.title}, {SHORT[finding.condition].lower()}" for finding in FINDINGS}


def _change(change: Change) -> dict[str, Any]:
    """A change in words."""
    titles = {grade.column: GRADES[grade] for grade in Grade} | {None: "as the program says"}
    if change.what is What.POINT:
        done = "moved" if change.before else "placed"
        words = f"{_NAMES[str(change.finding)]}: point {done}"
    elif change.what is What.GRADE:
        words = f"{_NAMES[str(change.finding)]}: {titles[change.before]} → {titles[change.after]}"
    elif change.what is What.LEVELS:
        words = f"all levels one {change.after}"
    else:
        words = "marked as done" if change.after else "not done any more"
    undone = vars(change.undone) if change.undone else None
    return {"words": words, "by": change.signature.by, "at": change.signature.at, "undone": undone}
