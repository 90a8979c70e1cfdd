"""``corrections.json``, written by ``monai-spine review`` and read by all who follow a person's corrections.

``monai-spine predict --points`` grades by it, and ``data_prep corrections`` merges it into a datalist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_spine.data.corrections import (
    INITIALS,
    Change,
    Corrections,
    Direction,
    Place,
    Signature,
    State,
    VolumePlace,
    What,
    checked_point,
    known_finding,
)
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import read_json, write_json
from monai_spine.spine import Grade

SCHEMA = "monai_spine/corrections/1"
NAME = "corrections.json"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_GRADES = tuple(grade.column for grade in Grade)


def write_corrections(folder: Path, corrections: Corrections) -> Path:
    """Write ``corrections.json`` into the study's folder, whole or not at all; its path."""
    write_json(folder / NAME, _content(corrections), indent=1)
    return folder / NAME


def _content(corrections: Corrections) -> dict[str, Any]:
    state = corrections.state
    return {
        "schema": SCHEMA,
        "study_id": corrections.study_id,
        "coordinates": "RAS mm",
        **_content_of_state(state),
        "before": {
            "points": {
                name: {"position": list(one.position), "confidence": one.confidence, "flags": list(one.flags)}
                for name, one in corrections.points.items()
            },
            "grades": dict(corrections.grades),
        },
        "volumes": {
            name: {"shape": list(one.shape), "affine": [list(row) for row in one.affine]}
            for name, one in corrections.volumes.items()
        },
        "changes": [_content_of_change(change) for change in corrections.changes],
    }


def _content_of_state(state: State) -> dict[str, Any]:
    return {
        "points": {name: list(one.position) for name, one in state.points.items()},
        "marked": [name for name, one in state.points.items() if one.by_person],
        "grades": dict(state.grades),
        "done": None if state.done is None else vars(state.done),
    }


def _content_of_change(change: Change) -> dict[str, Any]:
    return {
        "what": change.what.value,
        "finding": change.finding,
        "before": change.before,
        "after": change.after,
        **vars(change.signature),
        "undone": None if change.undone is None else vars(change.undone),
    }


def read_corrections(path: Path) -> Corrections:
    """The corrections of a file.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidTableError
        If it breaks the format, or its points, grades or ``done`` do not follow from its changes.
    """
    if not path.is_file():
        raise MissingInputError(f"expected corrections of `monai-spine review`, but there is no file {path}")
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}")
        corrections = _corrections(content)
        stated = {key: content[key] for key in ("points", "marked", "grades", "done")}
        derived = _content_of_state(corrections.state)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOptionError) as err:
        raise InvalidTableError(f"{path}: expected corrections in the schema {SCHEMA!r} ({err})") from err
    if stated != derived:
        wrong = ", ".join(key for key, value in stated.items() if value != derived[key])
        raise InvalidTableError(
            f"{path}: {wrong} do not follow from the changes; was the file edited? Correct studies with `monai-spine "
            "review` alone"
        )
    return corrections


def _corrections(content: Mapping[str, Any]) -> Corrections:
    before = content["before"]
    study = content["study_id"]
    if not isinstance(study, str) or not study:
        raise ValueError("study_id is no text")
    return Corrections(
        study,
        {known_finding(name): _place(one) for name, one in before["points"].items()},
        {known_finding(name): _grade(one) for name, one in before["grades"].items()},
        {str(name): _volume_place(one) for name, one in content["volumes"].items()},
        tuple(_change(one) for one in content["changes"]),
    )


def _place(one: Mapping[str, Any]) -> Place:
    confidence = one["confidence"]
    return Place(
        checked_point(one["position"]), None if confidence is None else float(confidence), tuple(map(str, one["flags"]))
    )


def _volume_place(one: Mapping[str, Any]) -> VolumePlace:
    i, j, k = (int(n) for n in one["shape"])
    affine = tuple(tuple(float(value) for value in row) for row in one["affine"])
    if [len(row) for row in affine] != [4, 4, 4, 4]:
        raise ValueError("an affine is not 4 × 4")
    return VolumePlace((i, j, k), affine)


def _change(one: Mapping[str, Any]) -> Change:
    what, finding, before, after = What(one["what"]), one["finding"], one["before"], one["after"]
    if what is What.POINT:
        finding, after = known_finding(finding), checked_point(after)
        before = None if before is None else checked_point(before)
    elif what is What.LEVELS:
        after = Direction(after).value
        before = {known_finding(name): checked_point(point) for name, point in before.items()}
    elif what is What.GRADE:
        finding, after = known_finding(finding), None if after is None else _grade(after)
    elif not isinstance(after, bool):
        raise ValueError("done is true or false")
    undone = None if one["undone"] is None else _signature(one["undone"])
    return Change(what, _signature(one), finding, before, after, undone)


def _signature(one: Mapping[str, Any]) -> Signature:
    by, at = one["by"], one["at"]
    if not INITIALS.fullmatch(by) or not _TIME.fullmatch(at):
        raise ValueError(f"{by!r} at {at!r} are no initials and time")
    return Signature(by, at)


def _grade(value: Any) -> str:
    if value not in _GRADES:
        raise ValueError(f"{value!r} is no grade")
    return str(value)
