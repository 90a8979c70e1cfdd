"""What a reader said of a study in ``monai-spine review``, beside the program's findings in its files.

``corrections.json`` is written first. All other files follow from it, so that those which a kill has left behind are
made good at the next start (`behind`, `update_readers`).
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.csv_cells import plain
from monai_spine.data.corrections import Corrections
from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.data.finished_mark import has_changed, update_checksum
from monai_spine.errors import SpineError, one_line
from monai_spine.files import raw_csv, whole_file, write_text
from monai_spine.prediction.findings_table import READER_COLUMNS, reader_cells
from monai_spine.prediction.object_files import remove_objects
from monai_spine.prediction.outcomes import NAME as OUTCOME

logger = logging.getLogger(__name__)

FINDINGS = "findings.json"


def with_reader(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content of ``findings.json`` with the reader's grades of a study's folder.

    Each finding gets ``reader``: ``grade``, ``by`` and ``at``, or None; the study gets ``reviewed``: ``by`` and ``at``,
    or None. What the program found stays as it is.
    """
    corrections = _corrections(folder)
    # After a study was graded again without --points, a grade would be at another level.
    used = {one["finding"]: one.get("point") for one in content["findings"]}
    state = corrections.state if corrections and not corrections.has_other_levels(used) else None
    grades = {} if state is None else {name: (grade, state.graded_by[name]) for name, grade in state.grades.items()}
    readers = {name: {"grade": grade, **vars(signature)} for name, (grade, signature) in grades.items()}
    findings = [{**one, "reader": readers.get(one["finding"])} for one in content["findings"]]
    reviewed = vars(state.done) if state and state.done else None
    return {**content, "reviewed": reviewed, "findings": findings}


def behind(out: Path) -> list[Path]:
    """The folders of studies whose findings lack what their corrections say."""
    return [file.parent for file in sorted(out.glob(f"*/{NAME}")) if _lacking(file.parent) is not None]


def update_readers(out: Path, folders: Iterable[Path]) -> None:
    """Write what readers said into ``findings.csv`` and the ``findings.json`` of studies, whose outcomes stay valid.

    DICOM objects, which show other grades, are removed. ``findings.json`` is replaced last: as long as it lacks
    something, all is written again. If a file cannot be written, the objects stay beside the findings that they show.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    lacking = {folder: content for folder in folders if (content := _lacking(folder)) is not None}
    if lacking:
        _write_cells(out / "findings.csv", {str(one["study_id"]): one["findings"] for one in lacking.values()})
    for folder, content in lacking.items():
        text = (json.dumps(content, indent=2) + "\n").encode()
        with whole_file(folder / FINDINGS) as partial:
            partial.write_bytes(text)
            update_checksum(folder / OUTCOME, FINDINGS, text)
            remove_objects(folder)


def needs_grading(folder: Path, used: Mapping[str, Any]) -> bool:
    """Whether a study waits to be graded again: its findings were made with other points (``used``, RAS mm or None, by
    their names) than its corrections have, or a kill has left files of two gradings."""
    corrections = _corrections(folder)
    if corrections is None or not corrections.changes:
        return False
    return corrections.differ_from(used) or has_changed(folder / OUTCOME)


def _lacking(folder: Path) -> dict[str, Any] | None:
    """What ``findings.json`` should be by the corrections; None if it is, or if that cannot be known."""
    try:
        content = json.loads((folder / FINDINGS).read_text(encoding="utf-8"))
        if _corrections(folder) is None:
            return None
        after = with_reader(content, folder)
        return after if _of_readers(after) != _of_readers(content) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a refused study has none, and `report` and `review` name those that are damaged


def _of_readers(content: Mapping[str, Any]) -> tuple[object, ...]:
    return content.get("reviewed"), *(one.get("reader") for one in content["findings"])


def _write_cells(table: Path, findings: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write the reader's grades into the rows of some studies, by their names, in ``findings.csv``."""
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    if not {"study", "finding", *READER_COLUMNS} <= set(head):
        return  # of another version
    cells = {(study, one["finding"]): reader_cells(one) for study, own in findings.items() for one in own}
    study, name, first = (head.index(one) for one in ("study", "finding", READER_COLUMNS[0]))
    for row in filter(None, rows):
        if (key := (plain(row[study]), row[name])) in cells:
            row[first : first + 2] = cells[key]
    write_text(table, raw_csv([head, *rows]))


def _corrections(folder: Path) -> Corrections | None:
    try:
        return read_corrections(folder / NAME) if (folder / NAME).is_file() else None
    except SpineError as error:
        logger.warning("the grades of readers are left out: %s", one_line(error))
        return None
