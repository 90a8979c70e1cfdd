"""The figures of an evaluation of images: a line to read, and ``metrics.json``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from monai_spine.errors import InvalidTableError
from monai_spine.files import write_text
from monai_spine.images.data.datalist import Record, Task
from monai_spine.images.evaluation.figures import Classified
from monai_spine.images.evaluation.metrics import key_name
from monai_spine.images.evaluation.summary import summarise_images
from monai_spine.scoring.bootstrap import REPLICATES
from monai_spine.scoring.competition import Floats
from monai_spine.spine import MISSING
from monai_spine.training.tensorboard.review import Cases, Review, stacked

logger = logging.getLogger(__name__)


class ClassificationReport(Review):
    """Writes all figures with their confidence intervals to ``metrics.json`` in a folder, and logs the table.

    Parameters
    ----------
    output_dir
        The folder.
    records
        The images, in the order of the dataset: their groups are drawn anew for the intervals.
    classes, task
        Of the datalist.
    thresholds
        ``(classes,)``, chosen where the model was: from where on an image of several labels has one. None takes 0.5.
    replicates
        How many samples are drawn.

    Raises
    ------
    InvalidTableError
        If no image has a label.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        classes: Sequence[str],
        task: str,
        thresholds: Floats | None = None,
        replicates: int = REPLICATES,
    ) -> None:
        super().__init__()
        self.path = Path(output_dir) / "metrics.json"
        self.records, self.classes, self.task, self.replicates = records, tuple(classes), Task(task), replicates
        self.thresholds = thresholds

    def show(self, cases: Cases, epoch: int) -> None:  # noqa: ARG002
        """Write the figures."""
        labels, rows = stacked(cases)
        if (labels == MISSING).all():
            raise InvalidTableError("expected labels to hold the answers against, but no image of this section has one")
        groups = [self.records[n]["group"] for n in cases]
        given = Classified(labels, rows, self.thresholds)
        found = summarise_images(given, self.classes, groups, self.task, replicates=self.replicates)
        write_text(self.path, json.dumps(found.as_dict(), indent=2) + "\n")
        key = key_name(self.task)
        logger.info("%d images\n%s", len(labels), found.to_text())
        logger.info("%s %s: %s", key.replace("_", " "), found.figures[key], self.path)
