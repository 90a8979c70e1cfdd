"""The figures of an evaluation: a line to read, and ``metrics.json``."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_spine.files import write_text

logger = logging.getLogger(__name__)


class ScoreReport:
    """Writes all of an evaluator's metrics to ``metrics.json`` in a folder, and logs the score beside the prior's.

    Figures that are not defined for these studies, such as an AUC without any severe label, are null.
    """

    def __init__(self, output_dir: str) -> None:
        self.path = Path(output_dir) / "metrics.json"

    def attach(self, engine: Engine) -> None:
        """Write when the evaluator is done."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, evaluator: Engine) -> None:
        if idist.get_rank() != 0:
            return
        metrics = {name: float(value) for name, value in evaluator.state.metrics.items()}
        defined = {name: None if math.isnan(value) else value for name, value in sorted(metrics.items())}
        write_text(self.path, json.dumps(defined, indent=2) + "\n")
        score, prior = metrics.get("score", math.nan), metrics.get("score_of_prior", math.nan)
        logger.info("score %.4f  prior %.4f: %s", score, prior, self.path)
