"""Writes the predictions of all images to a table at the end of an evaluation."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events

from monai_spine.errors import counted
from monai_spine.files import csv_text, write_text
from monai_spine.images.data.datalist import UNKNOWN, Record
from monai_spine.images.data.store import ImageStore
from monai_spine.images.evaluation.figures import Classified
from monai_spine.images.network.model_description import ClassifierDescription
from monai_spine.scoring.competition import Floats
from monai_spine.training.engine_output import CollectedCases

logger = logging.getLogger(__name__)

SEPARATOR = "|"
"""Separates several names in one cell."""


class ImagePredictionWriter:
    """Writes ``predictions.csv``, sorted by image, and ``refused.csv`` with the images that could not be read, if any.

    The columns are ``image``, ``label`` if any label is known, ``predicted``, and ``probability_<class>`` for each
    class.

    Parameters
    ----------
    output_dir
        The folder of the tables.
    records
        The images, in the order of the dataset.
    description
        The classifier.
    store
        The store of the images, which knows those that could not be read.
    root
        The file or folder to which paths in the table are relative.
    thresholds
        ``(classes,)``: the probability from which an image has a label, if it may have several; None for 0.5.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        description: ClassifierDescription,
        store: ImageStore,
        root: str,
        thresholds: Floats | None = None,
    ) -> None:
        self.output_dir, self.records, self.description, self.store = Path(output_dir), records, description, store
        self.root = Path(root).parent if Path(root).is_file() else Path(root)
        self.thresholds = thresholds
        self._cases = CollectedCases()

    def attach(self, engine: Engine) -> None:
        """Collect predictions after each iteration, and write them at the end."""
        self._cases.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self) -> None:
        cases = self._cases.by_id()  # every process takes part in gathering
        if idist.get_rank() != 0:
            return
        # The network has classified a black image in the place of one that could not be read.
        readable = {n: case for n, case in cases.items() if self._files(n) not in self.store.refused}
        path = self.output_dir / "predictions.csv"
        _table(path, *self._rows(readable))
        if self.store.refused:
            reasons = [[self._relative(files), str(reason)] for files, reason in self.store.refused.items()]
            _table(self.output_dir / "refused.csv", ["image", "reason"], reasons)
        logger.info("%s classified: %s", counted(len(readable), "image"), path)

    def _rows(
        self, cases: Mapping[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
    ) -> tuple[list[str], list[list[str]]]:
        """The names of the columns, and the rows."""
        classes = self.description.classes
        labels, probabilities = (np.array([case[part] for case in cases.values()]) for part in (0, 1))
        known = bool((labels != UNKNOWN).any())
        decided = Classified(labels, probabilities.reshape(-1, len(classes)), self.thresholds).decided()
        rows = [
            [
                self._relative(self._files(n)),
                *([self._label_text(label)] if known else []),
                SEPARATOR.join(name for name, present in zip(classes, decision, strict=True) if present),
                *(f"{value:.6f}" for value in values),
            ]
            for n, label, decision, values in zip(cases, labels, decided, probabilities, strict=True)
        ]
        head = ["image", *(["label"] if known else []), "predicted", *(f"probability_{name}" for name in classes)]
        return head, rows

    def _files(self, n: int) -> tuple[str, ...]:
        return tuple(self.records[n]["image"])

    def _relative(self, files: Sequence[str]) -> str:
        return SEPARATOR.join(Path(os.path.relpath(file, self.root)).as_posix() for file in files)

    def _label_text(self, label: npt.NDArray[Any]) -> str:
        """Names of the classes of an image; empty if they are unknown."""
        classes = self.description.classes
        if self.description.multilabel:
            return SEPARATOR.join(name for name, value in zip(classes, label, strict=True) if value == 1)
        return "" if label == UNKNOWN else classes[int(label)]


def _table(path: Path, head: Sequence[str], rows: Sequence[list[str]]) -> None:
    # Sorted, so that the table does not depend on the number of processes.
    write_text(path, csv_text([head, *sorted(rows)]))
