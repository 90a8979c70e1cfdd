"""Names of output folders and files: the DICOM UIDs, the input's folders, or salted hashes of the UIDs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from data_prep.dicom.frames import Frame, Identity

NameBy = Literal["uid", "folder"]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_NUMBER = re.compile(r"_[0-9]+$")
_NOT_PLAIN = re.compile(r"[^\w.+=@-]+")


def hashed_uid(uid: str, salt: str) -> str:
    """A UID that stands for another and cannot be traced back to it without the salt."""
    digest = hashlib.blake2b(uid.encode(), key=salt.encode()[:64], digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"


def with_names(frames: Iterable[Frame], source: Path, name_by: NameBy, salt: str | None) -> list[Frame]:
    """The frames with the study and series names under which their volumes are written.

    Parameters
    ----------
    source
        The input, whose own name stands in for folders above it.
    name_by
        ``uid`` for StudyInstanceUID and SeriesInstanceUID, ``folder`` for ``<study>/<series>/*.dcm``.
    salt
        Replace UIDs by hashes with this salt; None to keep them.
    """
    known: dict[object, Identity] = {}
    named = []
    for frame in frames:
        nameless = not (frame.identity.study and frame.identity.series)
        folder = frame.path.rpartition("/")[0] if name_by == "folder" or nameless else ""
        key = (folder, frame.identity)
        if key not in known:
            known[key] = _named(frame.identity, folder, source, name_by, salt)
        named.append(frame if known[key] == frame.identity else replace(frame, identity=known[key]))
    return _unmistakable(named)


def is_volume_of(path: str, series: Collection[tuple[str, str]]) -> bool:
    """Whether ``<study>/<series>[_<n>].<extension>`` is of one of the study and series names."""
    study, _, name = path.partition("/")
    stem = name.removesuffix(".gz").removesuffix(".nii")
    return (study, stem) in series or (study, _NUMBER.sub("", stem)) in series


def _unmistakable(frames: list[Frame]) -> list[Frame]:
    """The frames, a series called as if it were a further volume of another (``t2_1`` beside ``t2``) renamed."""
    taken = {frame.identity.names for frame in frames}
    clashes = {
        (study, name) for study, name in taken if (study, _NUMBER.sub("", name)) in taken and _NUMBER.search(name)
    }
    return [
        replace(frame, identity=_renamed(frame.identity)) if frame.identity.names in clashes else frame
        for frame in frames
    ]


def _renamed(identity: Identity) -> Identity:
    digest = hashlib.blake2b(identity.series_name.encode(), digest_size=6).hexdigest()
    return replace(identity, series_name=f"{identity.series_name}-{digest}")


def _named(identity: Identity, folder: str, source: Path, name_by: NameBy, salt: str | None) -> Identity:
    study, series = identity.study, identity.series
    if salt is not None:
        study, series = hashed_uid(study, salt), hashed_uid(series, salt)
        identity = replace(identity, study=study, series=series)
    if name_by == "folder":
        study, series = _folders(folder, source)
    elif not (identity.study and identity.series):  # files of other folders are not known to belong to these
        series = f"{series or 'series'}/{folder}"
    return replace(identity, study_name=_plain(study, "study"), series_name=_plain(series, "series"))


def _folders(folder: str, source: Path) -> tuple[str, str]:
    """The names of the grandparent and the parent folder, those above the input included."""
    base = source.resolve()
    above = base.parts if base.is_dir() else (*base.parts[:-1], base.name.partition(".")[0])
    parts = (*above, *PurePosixPath(folder).parts)
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("study", "series")


def _plain(name: str, kind: str) -> str:
    """A name that is safe as one path component; what is not plain is replaced, what is empty or long is hashed."""
    if _UID.fullmatch(name) and len(name) <= 64:
        return name
    plain = _NOT_PLAIN.sub("_", name).strip(".")
    if plain and len(plain) <= 64 and plain == name:
        return plain
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{plain[:40] or kind}-{digest}"
