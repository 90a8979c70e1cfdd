"""What a run leaves for all studies together: predictions.csv, studies.csv, and a note on what it is worth."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_spine.files import write_text
from monai_spine.prediction.outcome import Outcome
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, Grade

COLUMNS = ("study", "status", "reason", "not_covered", "flags", "bad_volumes", "filled", "trained_on")

_NOTE = """# What `monai-spine predict` left here

**{notice}**

| | |
|---|---|
| `studies.csv` | every study: graded, or refused and why; findings that no slice shows; volumes that are of no use |
| `predictions.csv` | competition-weighted probabilities of {graded} graded studies{filled} |
| `<study>/findings.json` | each finding: grade, probabilities, point, series and slice, coverage, flags |
| `<study>/points.json`, `points.mrk.json`, `levels.png` | the levels, for programs, for 3D Slicer, for people |
| `points.csv`, `volumes.csv` | the points of all studies; what became of each sagittal volume |
| `volumes/` | NIfTI volumes made of DICOM, and `files.csv`, which names the input's files as they were given |
| `<study>/outcome.json` | for the next run, which leaves finished studies alone |
"""


def write_tables(out: Path, outcomes: Sequence[Outcome], *, notice: str, trained_on: str, fill: Floats | None) -> None:
    """Write all tables.

    Parameters
    ----------
    fill
        ``(25, 3)`` rows for refused studies in predictions.csv; None leaves them out.
    """
    rows = {one.study_id: one.rows for one in outcomes if not one.refused}
    rows |= {one.study_id: fill for one in outcomes if one.refused and fill is not None}
    table = np.stack(list(rows.values())) if rows else np.zeros((0, len(FINDINGS), len(Grade)))
    write_predictions(out / "predictions.csv", list(rows), table)
    write_text(out / "studies.csv", _studies(outcomes, trained_on, fill is not None))
    refused = sum(bool(one.refused) for one in outcomes)
    filled = f", and rows of the prior for {refused} refused ones" if fill is not None and refused else ""
    write_text(out / "README.md", _NOTE.format(notice=notice, graded=len(outcomes) - refused, filled=filled))


def _studies(outcomes: Sequence[Outcome], trained_on: str, fill: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in outcomes:
        bad = "; ".join(f"{name}: {why}" for name, why in one.bad.items())
        status = "refused" if one.refused else "graded"
        covered = "" if one.refused else one.not_covered
        filled = "prior" if one.refused and fill else ""
        writer.writerow((one.study_id, status, one.refused, covered, ";".join(one.flags), bad, filled, trained_on))
    return text.getvalue()
