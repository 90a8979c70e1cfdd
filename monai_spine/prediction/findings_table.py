"""``findings.csv``: a row for each finding of all graded studies, with the DICOM object of the slice that shows it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.files import csv_text, safe_name, write_text
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.source_frame import Instance, SourceFrame
from monai_spine.spine import Grade

READER_COLUMNS = ("reader_grade", "reader")
COLUMNS = (
    *("study", "finding", "condition", "level", "side", "grade", *(grade.column for grade in Grade), "flags"),
    *("series_type", "series", "slice", "sop_instance_uid", "instance_number", "frame"),
    *READER_COLUMNS,
)


def write_findings_table(out: Path, studies: Sequence[PendingStudy], tables: Path | None = None) -> Path:
    """Write ``findings.csv`` from the ``findings.json`` of graded studies.

    The columns of the grades are probabilities at natural prevalence. Three columns name the DICOM object of the slice,
    if the study came as DICOM and its file can still be read. The last two have a reader's grade, and the initials.

    Parameters
    ----------
    out
        The folder with a folder for each study.
    tables
        Where the table goes; None for ``out``.
    """
    rows: list[Iterable[object]] = [COLUMNS]
    for study in studies:
        content = json.loads((out / safe_name(study.study_id) / "findings.json").read_text(encoding="utf-8"))
        rows += _rows(study, content["findings"])
    path = (tables or out) / "findings.csv"
    write_text(path, csv_text(rows))
    return path


def _rows(study: PendingStudy, findings: Sequence[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    instances: dict[SourceFrame, Instance] = {}
    for one in findings:
        # Axis 2 is that of the slices in all volumes of the converter; others came as NIfTI.
        source = study.frames.get((one["series"], one["slice"])) if one["slice_axis"] == 2 else None
        if source is not None and source not in instances:
            instances[source] = source.instance()
        instance = instances[source] if source is not None else Instance()
        values = (one[key] for key in ("finding", "condition", "level", "side", "grade"))
        natural = (one["natural"][grade.column] for grade in Grade)
        evidence = (";".join(one["flags"]), one["series_type"], one["series"], one["slice"])
        dicom = (instance.uid, instance.number, source.frame if source is not None else "")
        yield (study.study_id, *values, *natural, *evidence, *dicom, *reader_cells(one))


def reader_cells(finding: Mapping[str, Any]) -> tuple[str, str]:
    """The cells of the reader's grade of an entry of ``findings.json``."""
    reader = finding.get("reader") or {}
    return str(reader.get("grade", "")), str(reader.get("by", ""))
