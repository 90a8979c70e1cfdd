"""Which study each image is of: no two patients are ever put into one study.

Files of two patients may share a StudyInstanceUID, or have none, because an anonymiser made them so. Patient and study
therefore decide together. What cannot be told apart is refused with ``MIXED_PATIENTS``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from data_prep.dicom.frames import Frame, Identity, Patient
from data_prep.dicom.refusals import Reason
from monai_spine.errors import counted

FOLDERS = "if each folder is of one patient, convert with --name-by folder"


def separated(frames: Sequence[Frame], *, by_user: bool) -> list[Frame]:
    """The frames, each with the name of its patient's study.

    Parameters
    ----------
    frames
        With the names that `data_prep.dicom.output_folder` gives them.
    given
        Whether the user says what a study is, by folders or by a table. Files of several patients in such a study
        contradict the user, and are refused.
    """
    studies: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        studies[frame.identity.study_name].append(frame)
    done: list[Frame] = []
    for group in studies.values():
        if by_user:
            done += _of_one_patient(group)
        elif group[0].identity.study:
            done += _by_patient(group)
        else:
            done += _without_uid(group)
    return done


def distinct(patients: Iterable[Patient]) -> list[Patient]:
    """The patients among headers' patients; a header that lacks some of the values is no patient of its own."""
    different: list[Patient] = []
    for patient in sorted(set(patients), key=_completeness, reverse=True):
        if all(patient.differs(other) for other in different):
            different.append(patient)
    return different


def _of(frames: Iterable[Frame]) -> list[Patient]:
    return distinct(frame.identity.patient for frame in frames)


def _completeness(patient: Patient) -> tuple[int, Patient]:
    values = (patient.number, patient.name, patient.birth_date, patient.sex)
    return sum(map(bool, values)), patient


def _of_one_patient(frames: list[Frame]) -> list[Frame]:
    patients = _of(frames)
    if len(patients) < 2:
        return _as_patient(frames, patients)
    return _refused(frames, several(patients))


def several(patients: Sequence[Patient]) -> str:
    """The detail of a study that has more than one patient."""
    return f"images of {counted(len(patients), 'patient')} in one study, by PatientID, name, birth date or sex"


def _by_patient(frames: list[Frame]) -> list[Frame]:
    """Frames of one StudyInstanceUID: a study for each of its patients."""
    patients = _of(frames)
    if len(patients) < 2:
        if not patients[0].is_known and (repeated := _repeated_series(frames)):
            detail = f"one StudyInstanceUID and no patient, but {repeated} under two frames of reference: "
            return _refused(frames, f"{detail}neither one patient nor several is proven; {FOLDERS}")
        return _as_patient(frames, patients)
    groups: dict[int, list[Frame]] = defaultdict(list)
    unclear: list[Frame] = []
    possible = {
        patient: [n for n, one in enumerate(patients) if not patient.differs(one)]
        for patient in {frame.identity.patient for frame in frames}
    }
    for frame in frames:
        numbers = possible[frame.identity.patient]
        (groups[numbers[0]] if len(numbers) == 1 else unclear).append(frame)
    detail = f"one StudyInstanceUID of {counted(len(patients), 'patient')}, and this image may be of any of them"
    done = _refused(unclear, detail)
    ordered = sorted(groups.values(), key=lambda group: min(frame.path for frame in group))
    for number, group in enumerate(ordered, start=1):
        note = f"study {number} of {len(ordered)} that share a StudyInstanceUID, of one person each"
        done += _renamed(group, f"{group[0].identity.study_name}-{number}", note)
    return done


def _repeated_series(frames: Sequence[Frame]) -> str:
    """A series number that two series of different frames of reference have; empty if there is none.

    A scanner counts the series of a study, also when it moves on to another frame of reference.
    """
    series: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for identity in {frame.identity for frame in frames}:
        if identity.series_number is not None and identity.series and identity.frame_of_reference:
            series[identity.series_number].add((identity.frame_of_reference, identity.series))
    for number, pairs in sorted(series.items()):
        references, uids = ({one[part] for one in pairs} for part in (0, 1))
        if min(len(references), len(uids)) > 1:
            return f"series number {number}"
    return ""


@dataclass(frozen=True)
class _Unit:
    """Frames without a StudyInstanceUID that are of one study for certain: one series of one patient."""

    patient: Patient
    examination: str
    frame_of_reference: str
    series: str

    @classmethod
    def of(cls, identity: Identity) -> _Unit:
        return cls(identity.patient, identity.examination, identity.frame_of_reference, identity.series_name)

    def is_with(self, other: _Unit) -> bool:
        """Whether two units are proven to be of one study."""
        if self.contradicts(other):
            return False
        if self.patient.is_known and other.patient.is_known:
            shared = (self.patient.number and self.patient.number == other.patient.number) or (
                self.patient.name and self.patient.name == other.patient.name
            )
            if shared:
                return True
        same_place = bool(self.frame_of_reference) and self.frame_of_reference == other.frame_of_reference
        return same_place or self.series == other.series

    def contradicts(self, other: _Unit) -> bool:
        """Whether two units cannot be of one study."""
        examined = self.examination and other.examination and self.examination != other.examination
        return bool(examined) or self.patient.differs(other.patient)


def _without_uid(frames: list[Frame]) -> list[Frame]:
    """Frames without a StudyInstanceUID: a study for each patient and examination that is proven.

    Equal patients, frames of reference or series prove it. Several groups of which one has neither a PatientID nor a
    name could be of one patient or of several.
    """
    of_unit: dict[_Unit, list[Frame]] = defaultdict(list)
    for frame in frames:
        of_unit[_Unit.of(frame.identity)].append(frame)
    groups = _connected(list(of_unit))
    done: list[Frame] = []
    for group in groups:
        own = [frame for unit in group for frame in of_unit[unit]]
        if any(one.contradicts(other) for n, one in enumerate(group) for other in group[:n]):
            done += _refused(
                own, "no StudyInstanceUID, and headers that may be of one patient or of several; " + FOLDERS
            )
        elif len(groups) > 1 and not any(unit.patient.is_known for unit in group):
            detail = (
                f"no StudyInstanceUID and no patient, and {counted(len(groups), 'group')} of series "
                f"that nothing connects: "
            )
            done += _refused(own, f"{detail}neither one patient nor several is proven; {FOLDERS}")
        else:
            done += _renamed(_as_patient(own, _of(own)), _name(own), "")
    return done


def _connected(units: list[_Unit]) -> list[list[_Unit]]:
    groups: list[list[_Unit]] = []
    for unit in units:
        near = [group for group in groups if any(unit.is_with(other) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([unit, *(other for group in near for other in group)])
    return groups


def _name(frames: list[Frame]) -> str:
    """A name that other files do not change. It comes from the images: patients and folders have names of people."""
    first = min(frames, key=lambda frame: (frame.uid, frame.path))
    return f"study-{hashlib.blake2b(f'{first.uid} {first.path}'.encode(), digest_size=6).hexdigest()}"


def _as_patient(frames: list[Frame], patients: Sequence[Patient]) -> list[Frame]:
    """The frames under the patient that all of them are of: headers that lack a value do not split a series."""
    if len({frame.identity.patient for frame in frames}) < 2:
        return frames
    return _with_identity(frames, patient=patients[0])


def _renamed(frames: list[Frame], name: str, note: str) -> list[Frame]:
    return [frame.noted(note) for frame in _with_identity(frames, study_name=name)]


def _with_identity(frames: list[Frame], **changes: object) -> list[Frame]:
    changed = {identity: replace(identity, **changes) for identity in {frame.identity for frame in frames}}  # type: ignore[arg-type]
    return [replace(frame, identity=changed[frame.identity]) for frame in frames]


def _refused(frames: Iterable[Frame], detail: str) -> list[Frame]:
    return [frame if frame.reason else replace(frame, reason=Reason.MIXED_PATIENTS, detail=detail) for frame in frames]
