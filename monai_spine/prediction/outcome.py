"""What became of a study, kept beside its findings so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from monai_spine import __version__
from monai_spine.crops.stack import file_state
from monai_spine.data.datalist import Record, volumes
from monai_spine.files import write_text
from monai_spine.scoring.competition import Floats
from monai_spine.spine import FINDINGS, Grade

SCHEMA = "monai_spine/outcome/1"
NAME = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes
    ----------
    fingerprint
        Of its volumes, the models and the options; another one means that it has to be done again.
    refused
        Why it was not graded; empty if it was.
    located
        Whether ``points.json`` stands beside it.
    weighted
        Competition-weighted probabilities ``(25, 3)``, empty if it was refused.
    not_covered
        Findings that no slice shows.
    flags
        Those of any finding but ``not_covered``, sorted.
    bad
        Volumes that could not be used, and why.
    """

    study_id: str
    fingerprint: str
    refused: str = ""
    located: bool = False
    weighted: list[list[float]] = field(default_factory=list)
    not_covered: int = 0
    flags: list[str] = field(default_factory=list)
    bad: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> Floats:
        """``weighted`` as an array."""
        return np.array(self.weighted, dtype=np.float64).reshape(-1, len(Grade))

    def write(self, folder: Path) -> None:
        """Write ``outcome.json`` into the study's folder, as the last of its files."""
        write_text(folder / NAME, json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n")


def read_outcome(folder: Path, fingerprint: str) -> Outcome | None:
    """The outcome of a study's folder if it is whole and has that fingerprint."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA or content["fingerprint"] != fingerprint:
            return None
        outcome = Outcome(**content)
        whole = bool(outcome.refused) or outcome.rows.shape == (len(FINDINGS), len(Grade))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    files = ["findings.json"] * (not outcome.refused) + ["points.json"] * outcome.located
    return outcome if whole and all((folder / name).is_file() for name in files) else None


def fingerprint(record: Record, settings: Mapping[str, object]) -> str:
    """Of a study's volumes (names, sizes, times of change), its points and the settings of the run."""
    about = {
        "version": __version__,
        "settings": dict(settings),
        "study": record["study_id"],
        "volumes": [[Path(file).name, *file_state(file)] for file in volumes(record)],
        "points": {name: list(point) for name, point in record["points"].items()},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
