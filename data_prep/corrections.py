"""Merges corrections of ``monai-spine review`` into a datalist, so that localizers and graders learn from them.

Points stay in RAS mm, so they fit the volumes of a datalist only if these lie where the reviewed ones lay. That is
checked for each study: one of its volumes must have the shape and the affine of a reviewed one, and every point must
lie inside of a volume. A study that does not fit is left out with the reason, and the others go on.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.corrections import Corrections, VolumePlace, What
from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.data.datalist import SCHEMA, entry_faults, leaks, raise_faults, read_content
from monai_spine.data.volume import affine_of, open_volume
from monai_spine.errors import ExitCode, InvalidTableError, MissingInputError, SpineError, counted, listed
from monai_spine.files import write_json
from monai_spine.geometry import contains
from monai_spine.spine import MISSING, TARGETS, Grade, SeriesType

MARGIN_MM = 5.0
"""How far outside of all volumes a point may lie: as far as a slice still shows it."""
_SAME = 1e-3
"""Largest difference of two equal affines; headers hold 32-bit numbers."""
_FOLDS = 5
_VALUES = {grade.column: int(grade) for grade in Grade}
_SECTIONS = ("training", "test")
_SERIES = tuple(series_type.value for series_type in SeriesType)
_NOT_COVERED = "not_covered"


@dataclass
class Merge:
    """What was merged: by study, how many points and labels of persons; and why studies were left out."""

    datalist: Path
    points: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    confirmed: int = 0
    added: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study did not fit; studies that are not done yet are no fault."""
        return ExitCode.SOME_REFUSED if self.left_out else ExitCode.DONE

    def lines(self) -> list[str]:
        """For people."""
        parts = [
            f"{counted(len(self.points), 'study')} merged",
            counted(sum(self.points.values()), "point"),
            counted(sum(self.labels.values()), "label"),
        ]
        parts += [f"{self.confirmed} confirmed labels"] if self.confirmed else []
        parts += [f"{counted(len(self.added), 'study')} added, each as a patient of its own"] if self.added else []
        parts += [f"{counted(len(self.unfinished), 'study')} not marked as done (--unfinished)"] * bool(self.unfinished)
        reasons = [f"{study}: left out: {why}" for study, why in self.left_out.items()]
        return [*reasons, f"{', '.join(parts)}; see {self.datalist}"]


def merge(
    out: Path,
    datalist: Path,
    target: Path | None = None,
    *,
    unfinished: bool = False,
    confirmed: bool = False,
    add: bool = False,
) -> Merge:
    """Merge the corrections of all studies of a folder into a datalist.

    Parameters
    ----------
    out
        The output folder of ``predict`` that was reviewed.
    target
        The datalist that is written; None for ``corrected.json`` beside ``datalist``, or for ``datalist`` itself
        if there is no such file yet.
    unfinished
        Whether studies that are not marked as done are merged, too: of these, what a person moved or graded.
    confirmed
        Whether, in studies that are done, findings without a label get the grade that the reader left as it was.
    add
        Whether studies that the datalist lacks are added, if their volumes are in ``out``.

    Raises
    ------
    MissingInputError
        If there are no corrections, or no datalist.
    InvalidTableError
        If the datalist breaks its format, or no study could be merged.
    """
    files = sorted(out.glob(f"*/{NAME}"))
    if not files:
        raise MissingInputError(
            f"expected corrections in {out}, but found none; make some with monai-spine review {out}"
        )
    target = target or (datalist.with_name("corrected.json") if datalist.exists() else datalist)
    content = _content(datalist, new=add)
    merged = Merge(target)
    merger = _Merger(content, datalist.parent, merged, unfinished, confirmed, add)
    for file in files:
        try:
            merger.study(file)
        except SpineError as error:
            merged.left_out[file.parent.name] = str(error).replace(f"{out}{os.sep}", "")
    if not merged.points:
        why = [f"{study}: {reason}" for study, reason in merged.left_out.items()]
        why += [f"{study}: not marked as done (--unfinished takes it)" for study in merged.unfinished]
        raise InvalidTableError(f"nothing of {out} could be merged into {datalist}: {listed(why, '; ')}")
    if target.parent.absolute() != datalist.parent.absolute():
        _move(content, datalist.parent, target.parent)
    write_json(target, content)
    return merged


def _content(datalist: Path, *, new: bool) -> dict[str, Any]:
    """The content of a datalist without faults; with ``new``, an empty one if there is no such file."""
    if new and not datalist.exists():
        return {"schema": SCHEMA, "targets": list(TARGETS), "training": [], "test": []}
    content = read_content(datalist)
    for section in _SECTIONS:
        entries = content.setdefault(section, [])
        faults = [fault for n, entry in enumerate(entries) for fault in entry_faults(entry, n)]
        raise_faults(InvalidTableError, datalist, faults or leaks(entries))
    return content


class _Merger:
    """Merges one study after the other into the content of a datalist."""

    def __init__(  # noqa: PLR0917 - options of the command
        self,
        content: dict[str, Any],
        folder: Path,
        merged: Merge,
        unfinished: bool,
        confirmed: bool,
        add: bool,
    ) -> None:
        self.content, self.folder, self.merged = content, folder, merged
        self.unfinished, self.confirmed, self.add = unfinished, confirmed, add
        self.entries = {entry["study_id"]: entry for section in _SECTIONS for entry in content[section]}
        folds = [entry["fold"] for entry in content["training"] if entry.get("fold") is not None]
        number = max(folds) + 1 if folds else 0 if content["training"] else _FOLDS
        # By fold, how many studies it has: a study that is added comes into the smallest one.
        self.folds = Counter({fold: folds.count(fold) for fold in range(number)})

    def study(self, file: Path) -> None:
        """Merge one study. Raises `SpineError` if it does not fit."""
        corrections = read_corrections(file)
        study, done = corrections.study_id, corrections.state.done is not None
        if not done and not self.unfinished:
            self.merged.unfinished.append(study)
            return
        entry = self.entries.get(study)
        added = entry is None
        if entry is None:
            entry = self._new_entry(file.parent, study)
        check_fits(corrections, entry, self.folder)
        after = merged_entry(
            entry, corrections, _program_grades(file.parent, corrections) if self.confirmed and done else {}
        )
        if added:
            self._append(after)
        else:
            entry.update(after)
        about = after["corrections"]
        self.merged.points[study], self.merged.labels[study] = len(about["points"]), len(about["labels"])
        self.merged.confirmed += len(about["confirmed"])

    def _new_entry(self, study: Path, name: str) -> dict[str, Any]:
        """An entry of the volumes that predict has converted into its output."""
        if not self.add:
            raise InvalidTableError("the datalist has no such study; --add adds it, if its volumes are in the output")
        findings, out = _findings(study), study.parent.resolve()
        top = (out / str(findings["folder"])).resolve()
        series: dict[str, list[str]] = {key: [] for key in _SERIES}
        for volume, what in findings["volumes"].items():
            file = (top / volume).resolve()
            # The names come from a file, and must not lead out of the output.
            if what in series and file.is_relative_to(out) and file.is_file():
                series[what].append(Path(os.path.relpath(file, self.folder.resolve())).as_posix())
        if top == out or not any(series.values()):
            raise InvalidTableError("its volumes are not in the output, so that it cannot be added")
        return {"study_id": name, "patient_id": name, **series}

    def _append(self, entry: dict[str, Any]) -> None:
        if self.folds:
            entry["fold"] = min(self.folds, key=lambda fold: (self.folds[fold], fold))
            self.folds[entry["fold"]] += 1
        self.content["training"].append(entry)
        self.merged.added.append(entry["study_id"])


def check_fits(corrections: Corrections, entry: Mapping[str, Any], folder: Path) -> None:
    """Make sure that the points of corrections lie in the patient space of an entry's volumes.

    Raises
    ------
    InvalidTableError
        If none of its volumes is a reviewed one, or a point lies outside of all.
    MissingInputError, InvalidVolumeError
        If a volume cannot be read.
    """
    state = corrections.state
    if not any(place.by_person for place in state.points.values()) and state.done is None:
        return  # grades alone need no place
    places = [_place(folder / file) for key in _SERIES for file in entry.get(key, [])]
    if not any(_equal(one, other) for one in corrections.volumes.values() for other in places):
        shapes = [" × ".join(map(str, one.shape)) for one in places]
        raise InvalidTableError(
            "none of its volumes in the datalist lies where a reviewed one lay (shapes "
            f"{', '.join(shapes) or 'none'}): points of one patient space must not "
            "reach another; convert and review the same files"
        )
    outside = [name for name, one in state.points.items() if not any(_holds(place, one.position) for place in places)]
    if outside:
        raise InvalidTableError(f"its volumes in the datalist do not hold the points of {listed(outside)}")


def merged_entry(
    entry: Mapping[str, Any], corrections: Corrections, program: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A study of a datalist after its corrections. To merge the same corrections again changes nothing.

    Parameters
    ----------
    program
        Grades of the program, by the findings' names, for findings that have no label.
    """
    state, label = corrections.state, list(entry.get("label", [MISSING] * len(TARGETS)))
    earlier = entry.get("corrections", {})
    before, confirmed = dict(earlier.get("labels", {})), set(earlier.get("confirmed", []))
    for name, grade in state.grades.items():
        n = TARGETS.index(name)
        before.setdefault(name, label[n])
        label[n] = _VALUES[grade]
    for name, grade in (program or {}).items():
        n = TARGETS.index(name)
        if label[n] == MISSING:
            confirmed.add(name)
            label[n] = _VALUES[grade]
    own = {name: list(one.position) for name, one in state.points.items() if one.by_person}
    renamed = any(change.what is What.LEVELS and change.undone is None for change in corrections.changes)
    # Of a study that is done, all points were looked at; after a renaming, the datalist's points have the old names.
    everything = {name: list(one.position) for name, one in state.points.items()}
    points = everything if state.done or renamed else {**entry.get("points", {}), **own}
    about = {
        "version": corrections.version,
        "by": list(corrections.people),
        "at": max((change.signature.at for change in corrections.changes), default=""),
        "done": state.done is not None,
        "points": sorted(own),
        "labels": before,
        "confirmed": sorted(confirmed - set(state.grades)),
    }
    after = {**entry, "label": label, "corrections": about}
    return {**after, "points": points} if points or "points" in entry else after


def _place(file: Path) -> VolumePlace:
    # The folder of a new datalist may not exist yet, so that ".." leads nowhere from it.
    image = open_volume(os.path.abspath(file))  # noqa: PTH100 - links stay as they are
    i, j, k = image.shape
    return VolumePlace((i, j, k), tuple(tuple(map(float, row)) for row in affine_of(image)))


def _equal(one: VolumePlace, other: VolumePlace) -> bool:
    return one.shape == other.shape and bool(np.allclose(one.affine, other.affine, rtol=0, atol=_SAME))


def _holds(place: VolumePlace, point: Sequence[float]) -> bool:
    """Whether a point lies in a volume, or not farther outside than the margin."""
    return bool(contains(np.array(place.affine), place.shape, point, MARGIN_MM))


def _findings(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
        return {key: content[key] for key in ("folder", "volumes", "findings")}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InvalidTableError(f"{folder.name}: expected the findings.json of predict ({err})") from err


def _program_grades(folder: Path, corrections: Corrections) -> dict[str, str]:
    """The program's grades of the findings that a slice shows.

    Raises
    ------
    InvalidTableError
        If they have the names of levels from before the reader renamed these.
    """
    findings = _findings(folder)["findings"]
    if corrections.has_other_levels({one["finding"]: one.get("point") for one in findings}):
        raise InvalidTableError(
            "its levels were renamed, and the program's grades have the names before; grade it again: "
            "monai-spine predict with --points and the reviewed folder (or merge without --confirmed)"
        )
    return {str(one["finding"]): str(one["grade"]) for one in findings if _NOT_COVERED not in one["flags"]}


def _move(content: Mapping[str, Any], old: Path, new: Path) -> None:
    """Make the paths of all entries relative to another folder."""
    for entry in (*content["training"], *content["test"]):
        for key in _SERIES:
            if key in entry:
                files = [os.path.relpath((old / file).absolute(), new.absolute()) for file in entry[key]]
                entry[key] = [Path(file).as_posix() for file in files]
