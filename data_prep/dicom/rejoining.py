"""Images of one stack that got identifiers of their own from an anonymiser: brought together where that is proven.

Some anonymisers make a new StudyInstanceUID, SeriesInstanceUID or PatientID for every file. Such a value says nothing.
Position and InstanceNumber then prove which images are one stack; what they do not prove stays apart, or is refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from data_prep.dicom.frames import Frame, Patient
from data_prep.dicom.refusals import Reason
from data_prep.dicom.stacks.grouping import same_grid, settings_of
from data_prep.dicom.stacks.regularity import MIN_SLICES, is_one_even_stack
from monai_spine.errors import counted

_ELEMENTS: dict[str, Callable[[Frame], object]] = {
    "StudyInstanceUID": lambda frame: frame.identity.study,
    "SeriesInstanceUID": lambda frame: frame.identity.series,
    "PatientID": lambda frame: frame.identity.patient,
}

_MAY_VARY = (
    ("StudyInstanceUID",),
    ("PatientID",),
    ("SeriesInstanceUID",),
    ("StudyInstanceUID", "PatientID"),
    ("StudyInstanceUID", "SeriesInstanceUID"),
    ("StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
)
"""What may have a value of its own in every file of a stack; the fewest elements are tried first."""


def rejoined(frames: list[Frame]) -> list[Frame]:
    """The frames, in another order. Those of one stack get one patient, study and series.

    A study UID or a patient that varies is taken for absent. Frames of one series whose patients vary, and that are not
    proven to be one stack or several, are refused with ``MIXED_PATIENTS``.
    """
    sizes = Counter(map(_owner, frames))
    done = [frame for frame in frames if sizes[_owner(frame)] >= MIN_SLICES or not _is_usable(frame)]
    if len(done) == len(frames):
        return frames
    kept = {id(frame) for frame in done}
    rest = [frame for frame in frames if id(frame) not in kept]
    for names in _MAY_VARY:
        joined = [_as_one(group, names) for group in _candidates(rest, names) if is_one_even_stack(group)]
        taken = {frame.path for group in joined for frame in group}
        done += [frame for group in joined for frame in group]
        rest = [frame for frame in rest if frame.path not in taken]
    return _with_doubts(done, rest)


def _owner(frame: Frame) -> tuple[object, ...]:
    return tuple(value(frame) for value in _ELEMENTS.values())


def _is_usable(frame: Frame) -> bool:
    return frame.reason is None and frame.geometry is not None and frame.index is None and frame.instance is not None


def _candidates(frames: Sequence[Frame], names: Sequence[str]) -> Iterator[list[Frame]]:
    """Groups of frames that are equal in all but the named elements, which differ between any two of them."""
    same = [value for name, value in _ELEMENTS.items() if name not in names]
    groups: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        identity = frame.identity
        owners = tuple(value(frame) for value in same)
        groups[owners, identity.series_number, identity.description, settings_of(frame)].append(frame)
    for alike in groups.values():
        for group in same_grid(alike):
            distinct = (len({_ELEMENTS[name](frame) for frame in group}) for name in names)
            if len(group) >= MIN_SLICES and all(count == len(group) for count in distinct):
                yield group


def _as_one(frames: list[Frame], names: Sequence[str]) -> list[Frame]:
    """The frames under one patient, study and series."""
    changed: dict[str, object] = {}
    if "StudyInstanceUID" in names:
        changed["study"] = ""
    if "SeriesInstanceUID" in names:
        changed["series"] = min(frame.identity.series for frame in frames)
    if "PatientID" in names:
        changed["patient"] = Patient()
    if len({frame.identity.frame_of_reference for frame in frames}) == len(frames):
        changed["frame_of_reference"] = ""
    what = f"another {' and '.join(names)} in every file"
    note = f"{what}; one even stack by position and InstanceNumber"
    identity = replace(frames[0].identity, **changed)  # type: ignore[arg-type]
    return [replace(frame, identity=identity).noted(note) for frame in frames]


def _with_doubts(done: list[Frame], rest: list[Frame]) -> list[Frame]:
    """All frames. Those left over whose series has several patients are refused, and so is what may belong to them."""
    series: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    left: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame in done:
        series[_series(frame)].append(frame)
    for frame in rest:
        left[_series(frame)].append(frame)
    for key, fragments in left.items():
        together = series[key] + fragments
        patients = Counter(frame.identity.patient for frame in together)
        if not _several(patients):
            series[key] = together
            continue
        detail = (
            f"{counted(len(together), 'image')} of one series under {counted(len(patients), 'patient')}: "
            "neither one patient nor several is "
            "proven"
        )
        whole = [count for count in patients.values() if count >= MIN_SLICES]
        doubtful = together if len(whole) == 1 and is_one_even_stack(together) else fragments
        ids = {id(frame) for frame in doubtful}
        series[key] = [frame for frame in together if id(frame) not in ids] + [
            replace(frame, reason=Reason.MIXED_PATIENTS, detail=detail) for frame in doubtful
        ]
    return [frame for group in series.values() for frame in group]


def _series(frame: Frame) -> tuple[str, ...]:
    """What stands for the series of a frame: its UID, or the folder of its file."""
    folder = "" if frame.identity.series else frame.path.rpartition("/")[0]
    return frame.identity.series, folder, str(frame.identity.series_number), frame.identity.description


def _several(patients: Counter[Patient]) -> bool:
    different = list(patients)
    return any(one.differs(other) for n, one in enumerate(different) for other in different[:n])
