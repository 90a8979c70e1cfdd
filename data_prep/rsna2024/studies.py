"""One study of a collection: its tables joined to what the converter made of its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.collection.codes import Code
from data_prep.collection.study import Entry
from data_prep.dicom.job import JobResult
from data_prep.dicom.tables import FileRow
from data_prep.faults import Fault
from data_prep.rsna2024.label_points import Place, PlacedPoint, SliceKey, place
from data_prep.rsna2024.labels import StudyTables
from monai_spine.errors import counted
from monai_spine.spine import MISSING, TARGETS, SeriesType


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
    faults += [*point_faults, *_label_faults(study, points), *_type_faults(study)]
    if not any(volumes.values()):
        faults.append(Fault(Code.NO_VOLUME, "left out of the datalist", study=study.study))
        return None, points, faults
    absent = [series_type for series_type in SeriesType if not volumes[series_type]]
    faults += [Fault(Code.NO_SERIES_TYPE, series_type.title, study=study.study) for series_type in absent]
    return _entry(study, volumes, points), points, faults


def _entry(study: StudyTables, volumes: dict[SeriesType, list[str]], points: Sequence[PlacedPoint]) -> Entry:
    entry: Entry = {"study_id": study.study, "patient_id": study.study}
    entry |= {series_type.value: files for series_type, files in volumes.items() if files}
    if study.labels is not None:
        entry["label"] = list(study.labels)
        entry["points"] = {point.mark.finding.name: [round(value, 4) for value in point.world] for point in points}
    return entry


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
        faults.append(_fault(study, "", Code.STRAY_FILES, f"{conversion.stray} files outside of series folders"))
    timed = {series for series, niftis in conversion.timed.items() if niftis}
    return faults + [_fault(study, series, Code.FOUR_DIMENSIONAL, "left out") for series in timed]


def _label_faults(study: StudyTables, points: Sequence[PlacedPoint]) -> list[Fault]:
    """Labels without points and points without labels."""
    if study.labels is None:
        return []
    placed = {point.mark.finding.name for point in points}
    faults = []
    for target, label in zip(TARGETS, study.labels, strict=True):
        if label == MISSING and target in placed:
            faults.append(Fault(Code.NO_LABEL, "", study=study.study, targets=(target,)))
        elif label != MISSING and target not in placed:
            faults.append(Fault(Code.NO_POINT, "", study=study.study, targets=(target,)))
    return faults


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
