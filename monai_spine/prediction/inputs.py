"""Inputs of ``predict``: DICOM, folders of NIfTI studies, the NIfTI files of one study, or datalists."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import (
    NiftiStudy,
    check_no_pairs,
    find_study,
    is_nifti,
    listed_studies,
    nifti_files,
    study_folders,
)
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.files import safe_name, text_of
from monai_spine.prediction.dicom_study import DicomStudy, RunningConversion, read_rows, refused_rows, studies_of
from monai_spine.prediction.pending_study import PendingStudy

if TYPE_CHECKING:
    from data_prep.dicom.convert import Runner

VOLUMES = "volumes"
"""Folder of the output for volumes made from DICOM."""
FORMAT: Final = "nii"
"""Of these volumes. Packed ones take two thirds of the space, but packing and unpacking them costs .1 of a processor
second, a fifth of what a full-size study takes."""


@dataclass(frozen=True)
class Inputs:
    """All studies, and how many DICOM files are in no volume; scouts are not counted.

    Attributes
    ----------
    studies
        Those with volumes, sorted by id.
    conversions
        Of the other studies, which are converted one by one. Their files are not counted yet.
    """

    studies: tuple[PendingStudy, ...]
    refused_files: int = 0
    conversions: tuple[RunningConversion, ...] = ()

    @property
    def all(self) -> tuple[PendingStudy | DicomStudy, ...]:
        """All studies, sorted by id."""
        studies: list[PendingStudy | DicomStudy] = list(self.studies)
        for one in self.conversions:
            studies += one.studies
        return tuple(sorted(studies, key=lambda study: study.study_id))


@dataclass(frozen=True)
class Conversion:
    """How DICOM is converted; see `data_prep.dicom.convert.convert`."""

    name_by: str = "uid"
    workers: int = 1
    resume: bool = True
    quiet: bool = False

    def __call__(self, source: Path, out: Path) -> Converted:
        """Convert a DICOM file, folder, DICOMDIR or zip into a folder; with ``resume``, keep earlier volumes.

        Raises
        ------
        SpineError
            If the source has no DICOM image, or the folder holds the volumes of another input.
        """
        from data_prep.dicom.convert import convert

        name_by = "folder" if self.name_by == "folder" else "uid"
        with _reasons(source, out):
            about = {"name_by": name_by, "format": FORMAT, "resume": self.resume, "quiet": self.quiet}
            convert(source, out, workers=self.workers, **about)  # type: ignore[arg-type]
        return read_converted(out, source)

    def later(
        self, top: Path, stack: ExitStack, run: Runner, *, shared: bool = False
    ) -> Callable[[Path, Path], Converted]:
        """The same for studies that are converted one by one, while the stack is open. Only headers are read now.

        ``top``: the output folder of the run. ``run``: reads headers. ``shared``: whether other machines convert, which
        see the output folder.
        """
        from data_prep.dicom.convert import planned

        name_by = "folder" if self.name_by == "folder" else "uid"

        def plan(source: Path, out: Path) -> Converted:
            with _reasons(source, out):
                about = {"name_by": name_by, "format": FORMAT, "resume": self.resume, "quiet": self.quiet}
                opened = planned(source, out, run=run, shared=shared, **about)  # type: ignore[arg-type]
                conversion = RunningConversion(stack.enter_context(opened), source, top)
                if not conversion.plan.jobs:
                    conversion.plan.finish([])  # which says what the files are, if none is DICOM
            return Converted((), 0, (conversion,))

        return plan


@contextmanager
def _reasons(source: Path, out: Path) -> Iterator[None]:
    """Say why no file can be converted: the folder of the table that says it is removed when the input is refused."""
    try:
        yield
    except SpineError as error:
        if not (out / "files.csv").is_file():
            raise
        reasons = Counter(row["reason"] for row in read_rows(out / "files.csv"))
        counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common() if reason)
        message = str(error).partition("; see ")[0]
        raise MissingInputError(f"{source}: {message} ({counts or 'it has no files'})") from error


@dataclass(frozen=True)
class Converted:
    """The studies of a DICOM input, and how many of its files are in no volume; scouts are not counted.

    ``later``: the conversion, if it goes on study by study; the other fields are empty then.
    """

    studies: tuple[PendingStudy, ...]
    refused_files: int
    later: tuple[RunningConversion, ...] = ()


def conversions(out: Path) -> list[Path]:
    """The folders of an output that hold the volumes of a DICOM input, with their tables."""
    volumes = out / VOLUMES
    return [folder for folder in (volumes, *sorted(volumes.glob("*"))) if (folder / "manifest.csv").is_file()]


def read_converted(out: Path, source: Path) -> Converted:
    """Read the tables ``manifest.csv`` and ``files.csv`` of the conversion of ``source`` into ``out``."""
    files = read_rows(out / "files.csv")
    return Converted(tuple(studies_of(out, source, read_rows(out / "manifest.csv"), files)), refused_rows(files))


def find_inputs(paths: Sequence[Path], out: Path, convert: Callable[[Path, Path], Converted]) -> Inputs:
    """All studies of the inputs.

    Parameters
    ----------
    paths
        Each is a datalist (``.json``), a folder of NIfTI studies, a folder of one study, or else DICOM: a folder, a
        file, a DICOMDIR or a zip. All NIfTI files that are paths themselves are one study.
    out
        The output folder. DICOM is converted into its ``volumes``.
    convert
        Converts a DICOM input into a folder, such as a `Conversion`.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError, SpineError
        If an input does not exist or is something else, or if two studies have one name.
    """
    for path in paths:
        if not path.exists():
            raise MissingInputError(f"expected DICOM, NIfTI or a datalist, but there is no {path}")
    files = [path for path in paths if is_nifti(path)]
    for path in paths:
        if _is_dicom(path):
            check_no_pairs(path)
    dicom = [path for path in paths if _is_dicom(path)]
    studies = [_nifti_study(find_study(_name_of(files), files))] if files else []
    refused, conversions = 0, list[RunningConversion]()
    for path in paths:
        if path in dicom:
            converted = convert(path, _volumes(out, path, len(dicom)))
            studies += [one.below(out) for one in converted.studies]
            refused += converted.refused_files
            conversions += converted.later
        elif path not in files:
            studies += _nifti_studies(path)
    # Names are checked as they are written: two ids may become one folder.
    inputs = Inputs(tuple(sorted(studies, key=lambda study: study.study_id)), refused, tuple(conversions))
    _check_names([study.study_id for study in inputs.all])
    return inputs


def check_no_dicom(paths: Sequence[Path]) -> None:
    """Refuse DICOM, whose studies are known only after the conversion, which every part would repeat.

    Raises
    ------
    InvalidOptionError
        If a path is neither NIfTI nor a datalist.
    """
    for path in paths:
        if holds_dicom(path):
            raise InvalidOptionError(
                f"{path} is DICOM, which every part would convert again; convert it once, with data_prep convert, and "
                "grade parts of the NIfTI studies"
            )


def _nifti_studies(path: Path) -> list[PendingStudy]:
    if path.is_file():
        return [PendingStudy(one.record, bad=one.left_out).below(path.parent) for one in listed_studies(path)]
    folders = [path] if nifti_files(path) else study_folders(path)
    return [_nifti_study(find_study(text_of(folder.resolve().name), nifti_files(folder)), path) for folder in folders]


def _nifti_study(nifti: NiftiStudy, root: Path | None = None) -> PendingStudy:
    bad = {name: why for name, why in nifti.left_out.items() if name in nifti.unreadable}
    left_out = {name: why for name, why in nifti.left_out.items() if name not in bad}
    study = PendingStudy(nifti.record, left_out, bad, folder=".")
    return study if root is None else study.below(root)


def holds_dicom(path: Path) -> bool:
    """Whether an input exists and is DICOM, which has to be converted."""
    return path.exists() and _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    if path.is_file():
        return not (path.suffix == ".json" or is_nifti(path))
    return not nifti_files(path) and not study_folders(path)


def _name_of(files: Sequence[Path]) -> str:
    """A study's id: the name of its only file, or of the folder that holds all of its files."""
    if len(files) == 1:
        return text_of(stem_of(files[0]))
    return text_of(Path(os.path.commonpath([file.resolve() for file in files])).name) or "study"


def _volumes(out: Path, source: Path, inputs: int) -> Path:
    """The folder for the volumes of a DICOM input; of several inputs each has its own, named after its path."""
    if inputs == 1:
        return out / VOLUMES
    return out / VOLUMES / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]


def _check_names(names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(map(safe_name, names)).items() if count > 1)
    if twice:
        raise InvalidOptionError(
            f"two studies would both be written as {twice[0]}; grade them into separate folders, or put their files "
            "into one folder"
        )
