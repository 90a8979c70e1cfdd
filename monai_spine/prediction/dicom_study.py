"""A study of a DICOM input, which is converted when its turn comes, in any process of this machine."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from monai_spine.csv_cells import plain
from monai_spine.data.datalist import record_of
from monai_spine.data.studies import find_study
from monai_spine.data.volume_names import STUDY_FOLDER, volume_name
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.source_frame import SourceFrame
from monai_spine.prediction.study_cost import StudyCost, measured

if TYPE_CHECKING:
    from data_prep.dicom.convert import PlannedConversion
    from data_prep.dicom.job import Job, JobResult, Settings
    from data_prep.dicom.tables import FileRow

Row = Mapping[str, str]

_HARMLESS = frozenset({"LOCALIZER", "TOO_FEW_SLICES"})
"""Reasons of the converter for stacks that nobody grades: scouts."""


@dataclass(frozen=True)
class ConvertedStudy:
    """A study with its volumes.

    Attributes
    ----------
    results
        What the converter did; empty if the study came as NIfTI, or was converted before.
    volumes
        The folder of the conversion; None if the study came as NIfTI, or was converted before.
    cost
        What the conversion took.
    """

    study: PendingStudy
    results: tuple[JobResult, ...] = ()
    volumes: Path | None = None
    cost: StudyCost = field(default_factory=StudyCost)

    def given_up(self, reason: str) -> ConvertedStudy:
        """See `PendingStudy.given_up`."""
        return replace(self, study=self.study.given_up(reason))


@dataclass(frozen=True)
class DicomStudy:
    """A study that is to be converted. Only the headers of its files have been read.

    Attributes
    ----------
    jobs, settings
        What the converter does; see `data_prep.dicom.job.run_job`.
    source
        The input.
    volumes
        The folder of the conversion.
    out
        The output folder of the run.
    without_image
        Files of the input that hold no image. Those of this study may be among them.
    """

    study_id: str
    jobs: tuple[Job, ...]
    settings: Settings
    source: Path
    volumes: Path
    out: Path
    without_image: tuple[FileRow, ...] = ()

    def converted(self) -> ConvertedStudy:
        """Convert it. Volumes that an earlier run has finished stay as they are.

        Raises
        ------
        OutputError
            If the output cannot be written.
        """
        from data_prep.dicom.job import run_job
        from data_prep.dicom.tables import as_texts

        results, cost = measured(lambda: tuple(run_job(job, self.settings) for job in self.jobs))
        manifest = as_texts("manifest.csv", sorted(row for one in results for row in one.manifest))
        files = as_texts("files.csv", [*(row for one in results for row in one.files), *self.without_image])
        (study,) = studies_of(self.volumes, self.source, manifest, files)
        return ConvertedStudy(study.below(self.out), results, self.volumes, cost)

    def given_up(self, reason: str) -> ConvertedStudy:
        """See `PendingStudy.given_up`; its files are refused, too."""
        from data_prep.dicom.job import refused_job

        study = PendingStudy(record_of({"study_id": self.study_id}, self.volumes)).given_up(reason)
        return ConvertedStudy(study, tuple(refused_job(job, reason) for job in self.jobs), self.volumes)

    def absolute(self) -> DicomStudy:
        """The same study with absolute paths, for a process with another working directory."""
        return replace(self, source=self.source.absolute(), volumes=self.volumes.absolute(), out=self.out.absolute())

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its frames."""
        return tuple(dict.fromkeys(Path(frame.pixels.location) for job in self.jobs for frame in job.frames))


Study = PendingStudy | DicomStudy | ConvertedStudy


def converted(study: Study) -> ConvertedStudy:
    """The study with its volumes; see `DicomStudy.converted`."""
    if isinstance(study, PendingStudy):
        return ConvertedStudy(study)
    return study.converted() if isinstance(study, DicomStudy) else study


@dataclass
class RunningConversion:
    """The conversion of one input, study by study, and what is done of it. ``out``: the output folder of the run."""

    plan: PlannedConversion
    source: Path
    out: Path
    results: list[JobResult] = field(default_factory=list)

    @property
    def studies(self) -> tuple[DicomStudy, ...]:
        """All studies, sorted by their names."""
        rest = tuple(row for row in self.plan.without_image if row.status == "refused")
        return tuple(
            DicomStudy(name, jobs, self.plan.settings, self.source, self.plan.out, self.out, rest)
            for name, jobs in self.plan.studies.items()
        )

    @property
    def refused_files(self) -> int:
        """How many files are in no volume; scouts are not counted."""
        rows = [*(row for one in self.results for row in one.files), *self.plan.without_image]
        return sum(row.status == "refused" and row.reason not in _HARMLESS for row in rows)


def studies_of(out: Path, source: Path, manifest: Iterable[Row], files: Iterable[Row]) -> list[PendingStudy]:
    """The studies of a conversion, sorted by their names.

    Parameters
    ----------
    out, source
        The conversion's output folder and input.
    manifest, files
        Rows of its ``manifest.csv`` and ``files.csv``.
    """
    stacks: dict[str, list[Row]] = defaultdict(list)
    for row in manifest:
        stacks[row["study"]].append(row)
    frames: dict[str, dict[tuple[str, int], SourceFrame]] = defaultdict(dict)
    unused = []
    for row in files:
        if row["k"] and not row["t"]:  # volumes over time are not graded
            folder, _, name = row["nifti"].rpartition("/")
            frames[folder][name, int(row["k"])] = SourceFrame(source, row["path"], row["frame"])
        elif row["status"] == "refused":
            unused.append(SourceFrame(source, row["path"], row["frame"]))
    studies = [_study(out, study, rows, frames) for study, rows in sorted(stacks.items())]
    return [one if one.frames else replace(one, unused=tuple(unused)) for one in studies]


def refused_rows(files: Iterable[Row]) -> int:
    """How many files are in no volume, by the rows of ``files.csv``; scouts are not counted."""
    return sum(row["status"] == "refused" and row["reason"] not in _HARMLESS for row in files)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table of the converter."""
    with path.open(newline="", encoding="utf-8") as table:
        return [{key: plain(cell) for key, cell in row.items()} for row in csv.DictReader(table)]


def _study(
    out: Path, study: str, rows: Sequence[Row], frames: Mapping[str, Mapping[tuple[str, int], SourceFrame]]
) -> PendingStudy:
    own = {row["nifti"].rpartition("/")[0] for row in rows}  # the folder of the study's volumes
    files = sorted(out / row["nifti"] for row in rows if row["status"] == "converted")
    nifti = find_study(study, files)
    left_out, bad = dict(nifti.left_out), dict[str, str]()
    for row in rows:
        if row["status"] == "refused":
            name = f"{row['series_uid'] or 'series'}, stack {row['stack']}"
            reason = ": ".join(filter(None, (row["reason"], row["detail"])))
            (left_out if row["reason"] in _HARMLESS else bad)[name] = reason
    # An unreadable volume might have been needed; a scout never is.
    bad |= {name: left_out.pop(name) for name in nifti.unreadable}
    top = nifti.record[STUDY_FOLDER]
    slices = {
        (volume_name(out / folder / name, top), k): frame
        for folder in own
        for (name, k), frame in frames.get(folder, {}).items()
    }
    return PendingStudy(nifti.record, left_out, bad, slices)
