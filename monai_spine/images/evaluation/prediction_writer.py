"""Writes what a classifier says of each image once an evaluator has seen them all."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events

from monai_spine.files import write_text
from monai_spine.images.data.datalist import UNKNOWN, Record
from monai_spine.images.data.store import ImageStore
from monai_spine.images.evaluation.figures import Classified
from monai_spine.images.training.model_description import ModelDescription
from monai_spine.scoring.competition import Floats
from monai_spine.training.engine_output import Answers

logger = logging.getLogger(__name__)

Case = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Label and probabilities."""

BETWEEN = "|"
"""Between several names in one cell."""


class ImagePredictionWriter:
    """Writes ``predictions.csv``, sorted by image, and ``refused.csv`` of images that could not be read, if any.

    Columns are ``image``, ``label`` where any is known, ``predicted``, and ``probability_<class>`` for each class.

    Parameters
    ----------
    output_dir
        The folder.
    records
        In the order in which the engine's batches count them.
    description
        Of the classifier.
    store
        Of the images, which knows those that could not be read.
    root
        Paths in the table are relative to it.
    thresholds
        ``(classes,)``: from where on an image of several labels has one; None takes 0.5.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        description: ModelDescription,
        store: ImageStore,
        root: str,
        thresholds: Floats | None = None,
    ) -> None:
        self.output_dir, self.records, self.description, self.store = Path(output_dir), records, description, store
        self.root = Path(root).parent if Path(root).is_file() else Path(root)
        self.thresholds = thresholds
        self._answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Collect after each iteration, write at the end."""
        self._answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self) -> None:
        cases = self._answers.cases()
        if idist.get_rank() != 0:
            return
        kept = {n: case for n, case in cases.items() if self._files(n) not in self.store.refused}
        path = self.output_dir / "predictions.csv"
        _table(path, *self._rows(kept))
        if self.store.refused:
            reasons = [[self._relative(files), str(reason)] for files, reason in self.store.refused.items()]
            _table(self.output_dir / "refused.csv", ["image", "reason"], reasons)
        logger.info("%d images classified: %s", len(kept), path)

    def _rows(
        self, cases: Mapping[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
    ) -> tuple[list[str], list[list[str]]]:
        """Names of the columns, and the rows."""
        classes = self.description.classes
        labels, probabilities = (np.array([case[part] for case in cases.values()]) for part in (0, 1))
        known = bool((labels != UNKNOWN).any())
        decided = Classified(labels, probabilities.reshape(-1, len(classes)), self.thresholds).decided()
        rows = [
            [
                self._relative(self._files(n)),
                *([self._words(label)] if known else []),
                BETWEEN.join(name for name, yes in zip(classes, one, strict=True) if yes),
                *(f"{value:.6f}" for value in values),
            ]
            for n, label, one, values in zip(cases, labels, decided, probabilities, strict=True)
        ]
        head = ["image", *(["label"] if known else []), "predicted", *(f"probability_{name}" for name in classes)]
        return head, rows

    def _files(self, n: int) -> tuple[str, ...]:
        return tuple(self.records[n]["image"])

    def _relative(self, files: Sequence[str]) -> str:
        return BETWEEN.join(Path(os.path.relpath(file, self.root)).as_posix() for file in files)

    def _words(self, label: npt.NDArray[Any]) -> str:
        """Names of the classes that an image is labelled with; empty where nobody knows."""
        classes = self.description.classes
        if self.description.several:
            return BETWEEN.join(name for name, value in zip(classes, label, strict=True) if value == 1)
        return "" if label == UNKNOWN else classes[int(label)]


def _table(path: Path, head: Sequence[str], rows: Sequence[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *sorted(rows)])
    write_text(path, text.getvalue())
