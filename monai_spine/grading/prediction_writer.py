"""Writes a model's predictions, when an evaluator has seen all studies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_spine.bundle.provenance import RESEARCH, provenance, trained_on
from monai_spine.data.datalist import Record
from monai_spine.errors import counted
from monai_spine.grading.evidence import SeenImages
from monai_spine.grading.findings import study_findings, write_findings
from monai_spine.grading.parsed_grader import crops_of
from monai_spine.scoring.submission import write_predictions
from monai_spine.training.engine_output import gathered, studies_of

logger = logging.getLogger(__name__)


class PredictionWriter:
    """Writes ``predictions.csv`` and, for each study, ``<study>/findings.json`` into a folder.

    The engine's output is a list with a dictionary for each study: ``study_id``, and ``pred`` with the ``(25, 3)``
    probabilities. The studies of all processes are gathered, and each is written once.

    Parameters
    ----------
    output_dir
        The folder.
    records
        The studies, whose series and points ``findings.json`` needs.
    bundle_root
        The bundle of the weights, whose metadata say what they were trained on. Without it, ``findings.json`` does not
        say it.
    preprocessing
        The transforms that made the images. If `LevelCropsd` is one of them, the evidence of a finding is a slice of
        its crops; otherwise it is one of the whole volumes.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        bundle_root: str | None = None,
        preprocessing: Callable[..., Any] | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.output_dir = Path(output_dir)
        self.records = {record["study_id"]: record for record in records}
        self.provenance = (
            RESEARCH if bundle_root is None else provenance({"this bundle": trained_on(Path(bundle_root))})
        )
        self._rows: dict[str, np.ndarray] = {}

    def attach(self, engine: Engine) -> None:
        """Collect after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self) -> None:
        self._rows = {}

    def _collect(self, engine: Engine) -> None:
        for study in studies_of(engine):
            self._rows[study["study_id"]] = torch.as_tensor(study["pred"]).float().cpu().numpy().astype(np.float64)

    def _write(self) -> None:
        rows = gathered(self._rows)
        if idist.get_rank() != 0:
            return
        study_ids = sorted(rows)
        path = self.output_dir / "predictions.csv"
        write_predictions(path, study_ids, np.stack([rows[study_id] for study_id in study_ids]))
        for study_id in study_ids:
            record = self.records[study_id]
            seen = [SeenImages(crops_of(self.preprocessing, record))] if self.preprocessing else []
            findings = study_findings(record, rows[study_id], seen=seen, provenance=self.provenance)
            write_findings(self.output_dir, findings)
        logger.info("%s graded: %s", counted(len(study_ids), "study"), path)
