"""The output folder: names of folders and files in it, and what earlier runs left there.

Names are the DICOM UIDs, the input's folders, or salted hashes of the UIDs. Which volumes are of an earlier run says
that run's ``manifest.csv``; nothing else in the folder is touched.
"""

from __future__ import annotations

import csv
import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from data_prep.dicom.frames import Frame, Identity
from data_prep.dicom.nifti import sidecar_path
from monai_spine.csv_cells import plain
from monai_spine.errors import OutputError, SpineError
from monai_spine.files import is_table_name

NameBy = Literal["uid", "folder"]

SALT = ".salt"
"""The file that keeps a random salt until the run is done."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_VOLUME_NUMBER = re.compile(r"_[0-9]+$")
_NOT_PLAIN = re.compile(r"[^\w.+=@-]+")


def open_folder(out: Path, source: Path) -> None:
    """Create the output folder.

    Raises
    ------
    SpineError
        If it lies inside the input, is a file, or cannot be created.
    """
    resolved = out.resolve()
    if source.is_dir() and resolved.is_relative_to(source.resolve()):
        raise SpineError(f"the output folder {out} lies inside the input {source}; choose one outside of it")
    if resolved.exists() and not resolved.is_dir():
        raise SpineError(f"the output {out} is a file; expected a folder, or a new name for one")
    try:
        resolved.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the output folder {out}: {error.strerror}") from error


def random_salt(out: Path, resume: bool) -> str:
    """A new random salt, or that of the run to be resumed."""
    path = out / SALT
    return path.read_text() if resume and path.is_file() else secrets.token_hex(16)


def keep_salt(out: Path, salt: str | None) -> None:
    """Keep a salt in the output until the run is done, so that a resumed run gives the same names; None removes it."""
    path = out / SALT
    path.unlink(missing_ok=True)
    if salt is not None:
        path.touch(mode=0o600)
        path.write_text(salt)


def earlier_volumes(out: Path) -> set[str]:
    """The volumes that a manifest in the output folder lists and that are still there, relative to the folder."""
    try:
        with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
            listed = {plain(row.get("nifti") or "") for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    return {name for name in listed if _is_inside(name) and (out / name).is_file()}


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and ".." not in parts and not PurePosixPath(name).is_absolute()


def check_earlier_volumes(out: Path, earlier: Collection[str], series: Collection[tuple[str, str]]) -> None:
    """Compare an earlier run's volumes with the study and series names of this run's input.

    Raises
    ------
    SpineError
        If a volume is of a series that this input does not have: the new manifest would not list it any more.
    """
    foreign = sorted(name for name in earlier if not is_volume_of(name, series))
    if foreign:
        raise SpineError(
            f"{out} holds the volumes of another input, such as {foreign[0]} ({len(foreign)} of {len(earlier)} "
            "are not of this one); choose another output folder, or remove this one first"
        )


def remove_volumes(out: Path, names: Collection[str]) -> None:
    """Remove volumes and their sidecars. The sidecar stays where the volume does in the other format."""
    for name in names:
        (out / name).unlink(missing_ok=True)
        sidecar = sidecar_path(out / name)
        if not any(sidecar.with_suffix(end).is_file() for end in (".nii", ".nii.gz")):
            sidecar.unlink(missing_ok=True)


def is_volume_of(path: str, series: Collection[tuple[str, str]]) -> bool:
    """Whether ``<study>/<series>[_<n>].<extension>`` belongs to one of these pairs of study and series names."""
    study, _, name = path.partition("/")
    stem = name.removesuffix(".gz").removesuffix(".nii")
    return (study, stem) in series or (study, _VOLUME_NUMBER.sub("", stem)) in series


def hashed_uid(uid: str, salt: str) -> str:
    """A UID that replaces another one, which cannot be found from it without the salt."""
    digest = hashlib.blake2b(uid.encode(), key=salt.encode()[:64], digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"


def with_names(
    frames: Iterable[Frame], source: Path, name_by: NameBy, salt: str | None, *, one_study: bool = False
) -> list[Frame]:
    """The frames with the study and series names under which their volumes are written.

    Parameters
    ----------
    source
        The input. Its own path gives the names where a frame's path has fewer than two folders.
    name_by
        ``uid`` for StudyInstanceUID and SeriesInstanceUID, ``folder`` for ``<study>/<series>/*.dcm``.
    salt
        Replace UIDs by hashes with this salt; None to keep them.
    one_study
        Give all frames the same study name.
    """
    frames = list(frames)
    identities: dict[object, Identity] = {}
    named = []
    shared = _shared_names(frames, source) if name_by == "folder" and not one_study else {}
    for frame in frames:
        by_folder = name_by == "folder" or not frame.identity.series
        folder = _folder(frame) if by_folder else ""
        key = (folder, frame.identity)
        if key not in identities:
            identity = _named(frame.identity, folder, source, name_by, salt)
            if name := "study" if one_study else shared.get(folder):
                identity = replace(identity, study_name=name)
            identities[key] = identity
        identity = identities[key]
        named.append(frame if identity == frame.identity else replace(frame, identity=identity))
    return _without_clashes(named)


def _folder(frame: Frame) -> str:
    return frame.path.rpartition("/")[0]


def _shared_names(frames: Iterable[Frame], source: Path) -> dict[str, str]:
    """The study's name by a frame's folder, where study folders of one name lie in several places.

    ``P1/2020/T1`` and ``P2/2020/T1`` may be of two patients, even if no header names one.
    """
    places: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for folder in {_folder(frame) for frame in frames}:
        places[_folders(folder, source)[0]][folder.rpartition("/")[0]].add(folder)
    names: dict[str, str] = {}
    for name, folders_of in places.items():
        for place, folders in folders_of.items() if len(folders_of) > 1 else ():
            digest = hashlib.blake2b(place.encode("utf-8", "replace"), digest_size=6).hexdigest()
            names |= dict.fromkeys(folders, _plain(f"{name[:40]}-{digest}", "study"))
    return names


def _without_clashes(frames: list[Frame]) -> list[Frame]:
    """The frames. A series whose name looks like a further volume of another (``t2_1`` beside ``t2``) is renamed."""
    names = {frame.identity.names for frame in frames}
    clashes = {
        (study, name)
        for study, name in names
        if _VOLUME_NUMBER.search(name) and (study, _VOLUME_NUMBER.sub("", name)) in names
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
        study, series = (hashed_uid(uid, salt) if uid else "" for uid in (study, series))
        identity = replace(identity, study=study, series=series)
    if name_by == "folder":
        study, series = _folders(folder, source)
    elif not series:
        # Without a UID, files of two folders may be of two series. A digest of the folder tells them apart, since its
        # name may be a patient's.
        digest = hashlib.blake2b(folder.encode("utf-8", "replace"), digest_size=6).hexdigest()
        series = f"series-{digest}"
    return replace(identity, study_name=_plain(study, "study"), series_name=_plain(series, "series"))


def _folders(folder: str, source: Path) -> tuple[str, str]:
    """The names of the grandparent and the parent folder; folders above the input count too."""
    base = source.resolve()
    above = base.parts if base.is_dir() else (*base.parts[:-1], base.name.partition(".")[0])
    parts = (*above, *PurePosixPath(folder).parts)
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("study", "series")


def _plain(name: str, default: str) -> str:
    """A name that is safe as one part of a path. Other characters are replaced, and a digest keeps names different."""
    if _UID.fullmatch(name) and len(name) <= 64:
        return name
    plain = _NOT_PLAIN.sub("_", name).strip(".")
    # A folder of a study with the name of a table would be in the table's place.
    if plain and len(plain) <= 64 and plain == name and not is_table_name(plain):
        return plain
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{plain[:40] or default}-{digest}"  # which is the end of no table's name
