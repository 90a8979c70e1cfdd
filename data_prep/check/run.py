"""The check of a datalist from reading it to writing the report."""

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.check import fingerprint as fingerprints
from data_prep.check.codes import Code
from data_prep.check.cohort_faults import faults_between_entries, faults_between_images
from data_prep.check.entries import Study, read_studies
from data_prep.check.fingerprint import Fingerprint
from data_prep.check.pictures import Panel, panels
from data_prep.check.point_faults import Grid, faults_of_labels, faults_of_points
from data_prep.check.report import CheckedData, as_json, render
from data_prep.check.volume_facts import VolumeFacts, facts_of
from data_prep.check.volume_faults import faults_against, faults_between_volumes, faults_of_volume, faults_within
from data_prep.check.volumes import UnusableVolumeError, read
from data_prep.dicom import nifti
from data_prep.faults import Fault, Severity
from data_prep.workers import run as run_all
from monai_spine.console import track
from monai_spine.data.series_typing import PLANES
from monai_spine.errors import InvalidOptionError, OutputError, reason_of
from monai_spine.output_lock import output_lock
from monai_spine.spine import FINDINGS, SeriesType

logger = logging.getLogger(__name__)

FOLDER = "check"
"""Beside the datalist, where no other folder is named."""
PICTURES = 40


def check(
    datalist: Path,
    out: Path | None = None,
    *,
    fingerprint: Path | None = None,
    pictures: int = PICTURES,
    workers: int = 1,
    quiet: bool = False,
) -> tuple[CheckedData, Path]:
    """Check a datalist, and write ``check.json``, ``fingerprint.json`` and ``check.html``.

    Studies are read one at a time by every worker; those shown in the report are read once more.

    Parameters
    ----------
    out
        Folder for the three files; ``check/`` beside the datalist if None.
    fingerprint
        A ``fingerprint.json`` or ``check.json`` of an earlier data set, to hold the volumes and labels against.
    pictures
        The most studies with errors or warnings that the report shows.

    Returns
    -------
    What was found, and the folder.

    Raises
    ------
    MissingInputError
        If the datalist or the fingerprint is not there.
    InvalidTableError
        If one of them breaks its format.
    InvalidOptionError
        If a number of pictures is negative.
    OutputError
        If the folder cannot be written to.
    """
    if pictures < 0:
        raise InvalidOptionError(f"expected a number of pictures from 0, but given --pictures {pictures}")
    stored = None if fingerprint is None else fingerprints.read(fingerprint)
    studies, broken = read_studies(datalist)
    folder = datalist.parent
    out = folder / FOLDER if out is None else out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}; name another with --out") from error
    with output_lock(out):
        return _check(datalist, out, studies, broken, stored, fingerprint, pictures, workers, quiet)


def _check(  # noqa: PLR0917 - the parameters of `check`, read
    datalist: Path,
    out: Path,
    studies: Sequence[Study],
    broken: Sequence[Fault],
    stored: Fingerprint | None,
    fingerprint: Path | None,
    pictures: int,
    workers: int,
    quiet: bool,
) -> tuple[CheckedData, Path]:
    folder = datalist.parent
    checked_studies = sorted(
        track(run_all(functools.partial(check_study, folder=folder), studies, workers), "studies", len(studies), quiet),
        key=lambda one: one.number,
    )
    checked = _checked(datalist.name, studies, [*broken], checked_studies, stored)
    shown = _to_show(checked)
    drawn = _draw(checked, shown[:pictures], folder, workers, quiet)
    stored_name = "" if fingerprint is None else fingerprint.name
    html = render(checked, drawn, unpictured=len(shown[pictures:]), stored=stored, stored_name=stored_name)
    nifti.write(out / "fingerprint.json", [as_json(checked.fingerprint).encode()])
    nifti.write(out / "check.html", [html.encode()])
    nifti.write(out / "check.json", [checked.as_json().encode()])  # last: if it exists, the others do
    return checked, out


@dataclass(frozen=True)
class CheckedStudy:
    """What is known of a study without its images."""

    number: int
    facts: tuple[VolumeFacts, ...]
    faults: tuple[Fault, ...]


def check_study(study: Study, folder: Path) -> CheckedStudy:
    """Check a study of the datalist in a folder by itself; one volume is in memory at a time."""
    facts: list[VolumeFacts] = []
    faults: list[Fault] = []
    grids: dict[SeriesType, list[Grid]] = {}
    doubtful: set[SeriesType] = set()
    for series_type, path in study.paths:
        try:
            volume = read(folder, path, PLANES[series_type])
            measured = facts_of(volume, study.number, series_type, path)
            faults += faults_of_volume(study, volume, measured)
        except Exception as error:  # what the command is there to find must not end it
            code = error.code if isinstance(error, UnusableVolumeError) else Code.VOLUME_FAILED
            detail = str(error) if isinstance(error, UnusableVolumeError) else reason_of(error)
            detail = detail.replace(str(folder / path), Path(path).name)
            faults.append(study.fault(code, detail, series_type=series_type, path=path))
            doubtful.add(series_type)
            continue
        grids.setdefault(series_type, []).append((volume.affine, volume.shape))
        facts.append(measured)
        if measured.plane is not PLANES[series_type]:
            doubtful.add(series_type)
    certain = {series_type: volumes for series_type, volumes in grids.items() if series_type not in doubtful}
    try:
        faults += [*faults_between_volumes(study, facts), *faults_of_points(study, certain), *faults_of_labels(study)]
    except Exception as error:  # a fault of ours in one study must not end the check
        faults.append(study.fault(Code.VOLUME_FAILED, reason_of(error)))
    return CheckedStudy(study.number, tuple(facts), tuple(faults))


def _checked(
    name: str,
    studies: Sequence[Study],
    broken: Sequence[Fault],
    checked_studies: Sequence[CheckedStudy],
    stored: Fingerprint | None,
) -> CheckedData:
    """The result, with the faults that show only when all studies are known."""
    by_number = {study.number: study for study in studies}
    facts = [fact for one in checked_studies for fact in one.facts]
    faults = [*broken, *(fault for one in checked_studies for fault in one.faults)]
    faults += faults_between_entries(studies)
    faults += faults_between_images(by_number, facts)
    plain = _without_faults(facts, faults)
    faults += faults_within(by_number, plain)
    if stored is not None:
        faults += [*faults_against(by_number, plain, stored.spreads), *fingerprints.faults_of_shares(studies, stored)]
    faults.sort(key=lambda f: (f.code.rank, -1 if f.number is None else f.number, f.path, f.detail))  # the worst first
    faultless = _without_faults(facts, (fault for fault in faults if fault.code.severity is Severity.ERROR))
    return CheckedData(name, studies, facts, faults, fingerprints.fingerprint_of(studies, facts, faultless))


def _without_faults(facts: Sequence[VolumeFacts], faults: Iterable[Fault]) -> list[VolumeFacts]:
    blamed = {(fault.number, fault.path) for fault in faults}
    return [one for one in facts if (one.number, one.path) not in blamed]


def _to_show(checked: CheckedData) -> list[int]:
    """Numbers of the studies with errors or warnings, the worst first."""
    readable = {study.number for study in checked.studies}
    concerned = (
        number
        for fault in checked.faults
        if fault.code.severity is not Severity.NOTE
        for number in (fault.number, *fault.others)
    )
    return [number for number in dict.fromkeys(concerned) if number in readable]


def _draw(
    checked: CheckedData, numbers: Sequence[int], folder: Path, workers: int, quiet: bool
) -> dict[int, list[Panel]]:
    """Panels of the studies of these numbers, in their order."""
    by_number = {study.number: study for study in checked.studies}
    blamed: dict[int, set[str]] = {}
    paths: dict[int, set[str]] = {}
    for fault in checked.faults:
        if fault.number is not None and fault.code.severity is not Severity.NOTE:
            blamed.setdefault(fault.number, set()).update(fault.targets)
            paths.setdefault(fault.number, set()).add(fault.path)
    jobs = [(by_number[n], blamed.get(n, set()), paths.get(n, set())) for n in numbers]
    drawn = dict(track(run_all(functools.partial(_panels, folder=folder), jobs, workers), "pictures", len(jobs), quiet))
    return {number: drawn[number] for number in numbers}


def _panels(job: tuple[Study, set[str], set[str]], folder: Path) -> tuple[int, list[Panel]]:
    study, targets, paths = job
    blamed = [finding for finding in FINDINGS if finding.name in targets]
    try:
        return study.number, panels(study, folder, blamed, paths)
    except Exception as error:  # the report is good without this picture
        logger.debug("study %s: no picture, %s", study.study_id, reason_of(error), exc_info=error)
        return study.number, []
