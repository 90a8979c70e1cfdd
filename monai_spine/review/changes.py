"""Changes that the page asks for: checked, written at once, and refused if another window was faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from monai_spine.data.corrections import Corrections, Direction, Signature, What
from monai_spine.data.corrections_file import write_corrections
from monai_spine.errors import InvalidOptionError
from monai_spine.prediction.reader_grades import update_readers
from monai_spine.review.regrading import Regrading
from monai_spine.review.studies import ReviewStudies, ReviewStudy
from monai_spine.review.writing import Writing

UNDO = "undo"
"""Takes the last change back."""
REGRADE = "regrade"
"""Grades the study again, without a change."""

MARGIN_MM = 5.0
"""How far outside of all volumes a point may lie: as far as a slice still shows it."""


class ConflictError(Exception):
    """The study has another version by now."""


class Changes:
    """Applies changes to the studies of a folder."""

    def __init__(self, studies: ReviewStudies, regrading: Regrading, writing: Writing) -> None:
        self._studies, self._regrading, self._writing = studies, regrading, writing

    def apply(self, number: int, request: Mapping[str, Any]) -> None:
        """Apply one change, write it, and have the study graded again if its points are others now.

        Parameters
        ----------
        request
            ``what`` (`What`, `UNDO` or `REGRADE`), ``version`` of the corrections that the person saw, ``by``, and
            ``finding`` and ``after`` as in a change.

        Raises
        ------
        ConflictError
            If the corrections have another version.
        InvalidOptionError
            If the change cannot be made.
        InvalidTableError
            If ``corrections.json`` breaks its format; it is never overwritten then.
        OutputError
            If the folder is in use, or cannot be written to.
        IndexError
            If there is no such study.
        """
        study = self._studies.study(number)
        if study.result.refused:
            _check_refused(study, request.get("what"))
        if request.get("what") == REGRADE:
            self._regrading.request(number)
            return
        signature = Signature.now(str(request.get("by", "")))
        with self._writing():
            before = study.corrections()
            if request.get("version") != before.version:
                raise ConflictError
            after = _changed(study, before, request, signature)
            write_corrections(study.folder, after)
            points, grades = (after.state.points != before.state.points), (_read(after) != _read(before))
            if grades:
                update_readers(self._studies.out, [study.folder])
        self._studies.refresh(number, graded=grades)
        if points and (study.result.findings or after.state.has_all_levels):
            self._regrading.request(number)
        elif grades:
            self._regrading.rewrite_pages(number)


def _check_refused(study: ReviewStudy, what: object) -> None:
    """Make sure that a change of a study without grades is about the places of its levels."""
    if what in (What.GRADE.value, What.DONE.value):
        raise InvalidOptionError("a refused study has no grades yet; place its levels first")
    if study.obstacle:
        raise InvalidOptionError(study.obstacle)


def _read(corrections: Corrections) -> tuple[object, ...]:
    """What a reader says of the study, apart from places."""
    state = corrections.state
    return state.grades, state.graded_by, state.done


def _changed(study: ReviewStudy, before: Corrections, request: Mapping[str, Any], signature: Signature) -> Corrections:
    makers: dict[str, Callable[[], Corrections]] = {
        What.POINT.value: lambda: _moved(study, before, request, signature),
        What.LEVELS.value: lambda: before.renamed(_direction(request.get("after")), signature),
        What.GRADE.value: lambda: before.graded(request.get("finding", ""), request.get("after"), signature),
        What.DONE.value: lambda: before.marked_done(request.get("after") is True, signature),
        UNDO: lambda: before.undone(signature),
    }
    what = request.get("what")
    if not isinstance(what, str) or what not in makers:
        raise InvalidOptionError(f"expected a change out of {', '.join(makers)}")
    if what in {What.POINT.value, What.LEVELS.value} and not study.volumes:
        raise InvalidOptionError("the volumes of this study are not at hand, so its points cannot be corrected")
    return makers[what]()


def _moved(study: ReviewStudy, before: Corrections, request: Mapping[str, Any], signature: Signature) -> Corrections:
    after = before.moved(request.get("finding", ""), request.get("after", ()), signature)
    point = after.changes[-1].after
    if not any(volume.holds(point, MARGIN_MM) for volume in study.volumes):
        raise InvalidOptionError("expected a point inside of a volume, but it lies outside of all")
    return after


def _direction(value: object) -> Direction:
    try:
        return Direction(value)
    except ValueError as err:
        raise InvalidOptionError("expected up or down") from err
