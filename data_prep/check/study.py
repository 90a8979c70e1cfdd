"""One study: read each of its volumes once, measure it, and say what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.check.entries import Study
from data_prep.check.faults import Fault
from data_prep.check.point_faults import Grid, faults_of_labels, faults_of_points
from data_prep.check.volume_facts import VolumeFacts, facts_of
from data_prep.check.volume_faults import PLANES, faults_between_volumes, faults_of_volume
from data_prep.check.volumes import UnusableVolumeError, read
from monai_spine.spine import SeriesType


@dataclass(frozen=True)
class CheckedStudy:
    """What is known of a study without its images."""

    number: int
    facts: tuple[VolumeFacts, ...]
    faults: tuple[Fault, ...]


def check_study(study: Study, folder: Path) -> CheckedStudy:
    """Check a study by itself; one volume is in memory at a time.

    Parameters
    ----------
    folder
        Of the datalist.
    """
    facts: list[VolumeFacts] = []
    faults: list[Fault] = []
    grids: dict[SeriesType, list[Grid]] = {}
    doubtful: set[SeriesType] = set()
    for kind, path in study.paths:
        try:
            volume = read(folder, path)
        except UnusableVolumeError as error:
            faults.append(study.fault(error.code, str(error), kind=kind, path=path))
            doubtful.add(kind)
            continue
        known = facts_of(volume, study.number, kind, path)
        faults += faults_of_volume(study, volume, known)
        grids.setdefault(kind, []).append((volume.affine, volume.shape))
        facts.append(known)
        if known.plane is not PLANES[kind]:
            doubtful.add(kind)
    certain = {kind: volumes for kind, volumes in grids.items() if kind not in doubtful}
    faults += [*faults_between_volumes(study, facts), *faults_of_points(study, certain), *faults_of_labels(study)]
    return CheckedStudy(study.number, tuple(facts), tuple(faults))
