"""The outcomes of a run: for each study a file with which a later run resumes, and the tables of all studies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from monai_spine.data.finished_mark import read_mark, write_mark
from monai_spine.files import csv_text, write_text
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, Grade

logger = logging.getLogger(__name__)

SCHEMA = "monai_spine/outcome/2"
NAME = "outcome.json"

_COLUMNS = (
    *("study", "status", "reason", "not_covered", "flags", "bad_volumes", "refused_outputs"),
    *("filled", "trained_on", "runtime", "seconds", "peak_mb", "machine"),
)

_README = """# Results of `monai-spine predict`

**{provenance}**

| | |
|---|---|
| `studies.csv` | every study: graded, or refused and why; findings that no slice shows; volumes that cannot be used |
| `findings.csv` | all findings of graded studies: grade, natural probabilities, flags, series, slice, DICOM object |
| `predictions.csv` | competition-weighted probabilities of all graded studies{filled} |
| `<study>/findings.json` | each finding: grade, probabilities, point, series and slice, coverage, flags |
| `<study>/points.json`, `points.mrk.json`, `levels.png` | the levels, for programs, for 3D Slicer, for people |
| `points.csv`, `volumes.csv` | the points of all studies; the state of each sagittal volume |
| `log.txt` | a line for each study, with its seconds and the time left |
| `volumes/` | NIfTI volumes made from DICOM, and `files.csv`, with the names of the input files |
| `index.html`, `<study>/report.html`, `report.pdf` | pages for people, with `--report` or `--pdf` |
| `<study>/corrections.json` | what people corrected with `monai-spine review`; no run changes it |
| `<study>/dicom/` | DICOM objects with the identity of the patient, with `--dicom-out` |
| `<study>/outcome.json` | for the next run, which does not grade finished studies again |
"""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one study.

    Attributes
    ----------
    fingerprint
        Of its volumes, the models and the options. If it differs in a later run, the study is graded again.
    refused
        Why the study was not graded; empty if it was graded.
    located
        Whether its folder has a ``points.json``.
    weighted
        Competition-weighted probabilities ``(25, 3)``; empty if the study was refused.
    not_covered
        How many findings no slice shows.
    flags
        The flags of all findings without ``not_covered``, sorted.
    bad
        Volumes that could not be used, and why.
    refused_outputs
        Further outputs that were asked for and cannot be made of this study, and why.
    runtime
        What ran the networks, and in which precision; see `Models.runtime_cell`.
    seconds, peak_mb, machine
        See `StudyCost`.
    """

    study_id: str
    fingerprint: str
    refused: str = ""
    located: bool = False
    weighted: list[list[float]] = field(default_factory=list)
    not_covered: int = 0
    flags: list[str] = field(default_factory=list)
    bad: Mapping[str, str] = field(default_factory=dict)
    refused_outputs: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""
    seconds: float = 0.0
    peak_mb: int = 0
    machine: str = ""

    @property
    def rows(self) -> Floats:
        """``weighted`` as an array."""
        return np.array(self.weighted, dtype=np.float64).reshape(-1, len(Grade))

    @property
    def files(self) -> list[str]:
        """The other files in the study's folder that later runs read."""
        return ["findings.json"] * (not self.refused) + ["points.json"] * self.located

    def write(self, folder: Path) -> None:
        """Write ``outcome.json`` into the study's folder. It must be the last file: it says that all is complete."""
        write_mark(folder / NAME, {"schema": SCHEMA, **asdict(self)}, self.files)


def read_outcome(folder: Path, fingerprint: str) -> Outcome | None:
    """The outcome in a study's folder; None if it is incomplete or damaged, or has another fingerprint."""
    content = read_mark(folder / NAME, SCHEMA, fingerprint)
    if content is None:
        return None
    del content["schema"]
    try:
        outcome = Outcome(**content)
        complete = bool(outcome.refused) or outcome.rows.shape == (len(FINDINGS), len(Grade))
    except (ValueError, TypeError) as error:
        logger.warning("%s: damaged, so the study is graded again (%s)", folder / NAME, error)
        return None
    return outcome if complete else None


def write_tables(
    out: Path, outcomes: Sequence[Outcome], *, provenance: str, trained_on: str, fill: Floats | None
) -> None:
    """Write ``predictions.csv``, ``studies.csv`` and ``README.md`` for all studies together.

    Parameters
    ----------
    fill
        ``(25, 3)`` rows for refused studies in ``predictions.csv``; None leaves these studies out.
    """
    rows = {one.study_id: one.rows for one in outcomes if not one.refused}
    rows |= {one.study_id: fill for one in outcomes if one.refused and fill is not None}
    table = np.stack(list(rows.values())) if rows else np.zeros((0, len(FINDINGS), len(Grade)))
    write_predictions(out / "predictions.csv", list(rows), table)
    write_text(out / "studies.csv", _studies(outcomes, trained_on, fill is not None))
    # No numbers: `review` may grade a refused study later.
    filled = ", and rows of the prior for refused ones" if fill is not None else ""
    readme = _README.format(provenance=provenance, filled=filled)
    write_text(out / "README.md", readme)


def _studies(outcomes: Sequence[Outcome], trained_on: str, fill: bool) -> str:
    rows: list[tuple[object, ...]] = [_COLUMNS]
    for one in outcomes:
        bad = "; ".join(f"{name}: {why}" for name, why in one.bad.items())
        status = "refused" if one.refused else "graded"
        not_covered = "" if one.refused else one.not_covered
        filled = "prior" if one.refused and fill else ""
        outputs = "; ".join(f"{name}: {why}" for name, why in one.refused_outputs.items())
        flags = ";".join(one.flags)
        cost = (one.runtime, one.seconds, one.peak_mb, one.machine)
        about = (one.study_id, status, one.refused, not_covered, flags, bad, outputs, filled, trained_on)
        rows.append((*about, *cost))
    return csv_text(rows)
