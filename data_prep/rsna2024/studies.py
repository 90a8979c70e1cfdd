"""One study of a collection: its tables joined to what the converter made of its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.collection.codes import Code
from data_prep.collection.study import Entry, label_faults, make_entry
from data_prep.dicom.job import JobResult
from data_prep.dicom.tables import FileRow
from data_prep.faults import Fault
from data_prep.rsna2024.label_points import Place, PlacedPoint, SliceKey, place
from data_prep.rsna2024.labels import StudyTables
from monai_spine.errors import counted
from monai_spine.spine import SeriesType


@dataclass
class ConvertedStudy:
    """What the converter made of one study."""

    slices: dict[SliceKey, Place] = field(default_factory=dict)
    """Where each slice went, by the path ``<study>/<series>/<instance>.dcm`` of its file, and by its frame where the
    file has several."""
    volumes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """3-D volumes of each series folder in the order of their stacks, relative to the converter's output."""
    timed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """4-D volumes of each series folder."""
    refused: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How many files of each series folder were refused, by reason."""
    stray: int = 0
    """How many files lie elsewhere than in a series folder."""

    @property
    def series(self) -> set[str]:
        """All series folders with a DICOM file in them."""
        return {path.split("/")[1] for path, _ in self.slices}

    @classmethod
    def of(cls, result: JobResult) -> ConvertedStudy:
        """A study's rows, put together by series folder."""
        study = cls()
        for row in result.files:
            parts = row.path.split("/")
            if len(parts) == 3 and row.status != "ignored":
                study._add_file(parts[1], row)
            elif len(parts) != 3:
                study.stray += 1
        for manifest in sorted(result.manifest, key=lambda row: row.stack):
            if manifest.nifti:
                study._add_volume(manifest.nifti)
        return study

    def _add_file(self, series: str, row: FileRow) -> None:
        self.slices[row.path, row.frame] = Place("", None) if row.k is None else Place(row.nifti, row.k)
        if row.t is not None:
            self.timed[series].add(row.nifti)
        if row.status == "refused":
            self.refused[series][row.reason] += 1

    def _add_volume(self, nifti: str) -> None:
        sources = {path.split("/")[1] for (path, _), place in self.slices.items() if place.nifti == nifti}
        for series in sorted(sources):
            if nifti not in self.timed[series]:
                self.volumes[series].append(nifti)


def join(
    study: StudyTables, conversion: ConvertedStudy, images: Path, converted: Path, out: Path
) -> tuple[Entry | None, list[PlacedPoint], list[Fault]]:
    """The entry of a study (None if it has no volume), its points in patient space, and its faults.

    ``converted`` is the converter's output folder; paths in the entry are relative to ``out``.
    """
    faults = _series_faults(study, conversion)
    volumes = _volumes_by_type(study, conversion, converted.relative_to(out))
    points, point_faults = place(study.points, images, converted, conversion.slices)
    places = {point.mark.finding: point.position for point in points}
    faults += [*point_faults, *_type_faults(study)]
    if study.labels is not None:
        faults += label_faults(study.study, study.labels, places)
    # The study's points belong to its labels: studies of the test have neither.
    own = None if study.labels is None else places
    entry, entry_faults = make_entry(study.study, study.study, volumes, study.labels, own)
    return entry, points, [*faults, *entry_faults]


def _volumes_by_type(study: StudyTables, conversion: ConvertedStudy, prefix: Path) -> dict[SeriesType, list[str]]:
    """Volumes of every series type in the order of the table, then of the stacks."""
    volumes: dict[SeriesType, list[str]] = {series_type: [] for series_type in SeriesType}
    for series, series_type in study.series:
        volumes[series_type] += [(prefix / nifti).as_posix() for nifti in conversion.volumes.get(series, [])]
    return volumes


def _series_faults(study: StudyTables, conversion: ConvertedStudy) -> list[Fault]:
    """Series without images, images without a series type, and stacks that were refused."""
    listed, present = dict(study.series), conversion.series
    faults = [
        _fault(study, s, Code.NO_IMAGES, series_type.title) for s, series_type in listed.items() if s not in present
    ]
    faults += [_fault(study, s, Code.UNKNOWN_SERIES, "left out") for s in present - set(listed)]
    faults += [
        _fault(study, series, Code.REFUSED_STACK, f"{counted(count, 'file')}: {reason}")
        for series, reasons in conversion.refused.items()
        for reason, count in reasons.items()
    ]
    if conversion.stray:
        faults.append(
            _fault(study, "", Code.STRAY_FILES, f"{counted(conversion.stray, 'file')} outside of series folders")
        )
    timed = {series for series, niftis in conversion.timed.items() if niftis}
    return faults + [_fault(study, series, Code.FOUR_DIMENSIONAL, "left out") for series in timed]


def _type_faults(study: StudyTables) -> list[Fault]:
    """Points on series of the wrong type, or of none."""
    types = dict(study.series)
    return [
        replace(
            _fault(study, mark.series, Code.WRONG_SERIES_TYPE, _title(types.get(mark.series))),
            targets=(mark.finding.name,),
        )
        for mark in study.points
        if types.get(mark.series) is not mark.finding.condition.series_type
    ]


def _title(series_type: SeriesType | None) -> str:
    return "a series without a type" if series_type is None else series_type.title


def _fault(study: StudyTables, series: str, code: Code, detail: str) -> Fault:
    return Fault(code, detail, study=study.study, series=series)
