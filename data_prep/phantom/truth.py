"""What nobody knows of a patient: a phantom's own probabilities of each grade, and its exact points, for training.

Recorded labels hold the reader's noise, which a network would learn by heart; `disease` knows the probability of every
label.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from monai_spine.data.datalist import read_datalist, read_schema
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.spine import FINDINGS, Grade

_GRADES = [grade.column for grade in Grade]


def write_truth(datalist: Path, truths: Sequence[Path], out: Path) -> int:
    """Write a datalist with the truth of its phantoms.

    Each study that has labels gets `soft_label`, the probabilities of the grades of every finding with a label, and the
    points of ``truth.csv``. Paths of volumes stay as they are, so that ``out`` belongs beside ``datalist``.

    Parameters
    ----------
    datalist
        Of phantoms in the competition's layout, from ``python -m data_prep rsna``.
    truths
        The files ``truth.csv`` of their cohorts.
    out
        The file to write.

    Returns
    -------
    How many studies it has.

    Raises
    ------
    MissingInputError, InvalidTableError
        If a file is missing, is no such file, or has no truth for a study.
    """
    rows = {
        (row["study_id"], f"{row['condition']}_{row['level']}"): row for path in truths for row in _read_truth(path)
    }
    read_datalist(datalist)  # whose error names what is wrong
    content = read_schema(datalist, "a datalist", "rsna")
    for record in content["training"]:
        study = record["study_id"]
        own = [rows.get((study, finding.name)) for finding in FINDINGS]
        if None in own:
            raise InvalidTableError(f"{datalist}: study {study} has no truth in {', '.join(map(str, truths))}")
        known = [row for row in own if row is not None]
        labels = record.get("label") or [None] * len(FINDINGS)
        record["soft_label"] = [
            [float(row[grade]) for grade in _GRADES] if label is not None and label >= 0 else None
            for row, label in zip(known, labels, strict=True)
        ]
        record["points"] = {
            finding.name: [float(row[axis]) for axis in "xyz"]
            for finding, row in zip(FINDINGS, known, strict=True)
            if row["x"]
        }
    write_text(out, json.dumps(content) + "\n")
    return len(content["training"])


def _read_truth(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise MissingInputError(f"there is no {path}; expected truth.csv of python -m data_prep phantom")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"study_id", "condition", "level", "x", "y", "z", *_GRADES} - set(rows[0] if rows else ())
    if missing:
        raise InvalidTableError(f"{path}: expected the truth of phantoms, but it lacks {', '.join(sorted(missing))}")
    return rows
