"""All figures of an evaluation with their confidence intervals: ``metrics.json``, and a table in the log."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.errors import InvalidTableError, counted
from monai_spine.files import write_json
from monai_spine.images.data.datalist import Record, Task
from monai_spine.images.evaluation.figures import Classified, Figures, class_figures, overall_figures
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.figures import BINS
from monai_spine.scoring.patient_resampling import COVERAGE, REPLICATES, Estimate, estimate, patient_counts
from monai_spine.spine import MISSING
from monai_spine.training.tensorboard.review import Cases, Review, stacked

logger = logging.getLogger(__name__)

SCHEMA = "monai_spine/image-metrics/1"
_CLASS_COLUMNS = ("auc", "average_precision", "sensitivity", "specificity", "f1")
"""Figures of each class in the table."""

Estimates = dict[str, Estimate]


class ClassificationReport(Review):
    """Writes all figures with their confidence intervals to ``metrics.json``, and logs the table.

    ``output_dir``: the folder of ``metrics.json``.
    ``records``: the images, in the order of the dataset; the intervals come from resampling their groups.
    ``thresholds``: ``(classes,)``: the probability from which an image has a label, if it may have several; None for
    0.5. They must come from the validation that chose the weights, not from the images that are evaluated here.
    Raises `InvalidTableError` if no image has a label.
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
        labels, probabilities = stacked(cases)
        if (labels == MISSING).all():
            raise InvalidTableError("expected labels to hold the answers against, but no image of this section has one")
        groups = [self.records[n]["group"] for n in cases]
        classified = Classified(labels, probabilities, self.thresholds)
        summary = summarise_images(classified, self.classes, groups, self.task, replicates=self.replicates)
        write_json(self.path, summary.as_dict())
        key = Task(self.task).key_metric
        logger.info("%s\n%s", counted(len(labels), "image"), summary.to_text())
        logger.info("%s %s: %s", key.replace("_", " "), summary.figures[key], self.path)


@dataclass(frozen=True)
class ImageSummary:
    """Figures of all classes together and of each class, with their confidence intervals."""

    classified: Classified
    """Labels and probabilities of the images."""
    classes: tuple[str, ...]
    task: Task
    """``classes``, ``task``: those of the datalist."""
    groups: int
    """Number of groups; the bootstrap draws groups, each with all its images."""
    replicates: int
    """Number of bootstrap samples."""
    figures: Estimates
    """Figures of all classes together."""
    by_class: tuple[Estimates, ...]
    """Figures of each class against the rest."""

    def as_dict(self) -> dict[str, Any]:
        """One JSON object of the schema ``monai_spine/image-metrics/1``.

        The rows of a confusion matrix are labels, its columns decisions. With several labels an image, each class has a
        matrix of its own, of "no" and "yes".
        """
        confusions, truth = self.classified.confusions().tolist(), self.classified.truth()
        thresholds, multilabel = self.classified.thresholds, self.classified.multilabel
        classes = {
            name: {
                "images": int((truth[:, n] == 1).sum()),
                "of": int((truth[:, n] != MISSING).sum()),
                **({"threshold": float(thresholds[n])} if thresholds is not None else {}),
                **({"confusion": confusions[n]} if multilabel else {}),
                **_plain(self.by_class[n]),
            }
            for n, name in enumerate(self.classes)
        }
        return {
            "schema": SCHEMA,
            "task": self.task.value,
            "images": len(self.classified.labels),
            "groups": self.groups,
            "calibration_bins": BINS,
            "interval": {"coverage": COVERAGE, "replicates": self.replicates, "drawn": "groups"},
            "figures": _plain(self.figures),
            "classes": classes,
            **({} if multilabel else {"confusion": confusions}),
        }

    def to_text(self) -> str:
        """A table: the figures of all classes together, then of each class."""
        lines = [f"{name:26}{figure!s:>24}" for name, figure in self.figures.items()]
        lines += ["", f"{'':26}" + "".join(f"{name:>24}" for name in _CLASS_COLUMNS)]
        for name, figures in zip(self.classes, self.by_class, strict=True):
            lines.append(f"{name[:25]:26}" + "".join(f"{figures[column]!s:>24}" for column in _CLASS_COLUMNS))
        return "\n".join(lines)


def summarise_images(
    classified: Classified,
    classes: Sequence[str],
    groups: Sequence[str],
    task: Task,
    *,
    replicates: int = REPLICATES,
) -> ImageSummary:
    """All figures of classified images.

    ``groups``: the group of each image, such as its patient.
    """
    # Images of one patient are alike. Drawing single images would give intervals that are too narrow.
    counts = patient_counts(groups, replicates)
    by_class = [class_figures(classified, n, counts) for n in range(len(classes))]
    return ImageSummary(
        classified=classified,
        classes=tuple(classes),
        task=task,
        groups=len(np.unique(np.asarray(groups, dtype=str))),
        replicates=replicates,
        figures=_estimates(overall_figures(classified, by_class, counts)),
        by_class=tuple(_estimates(figures) for figures in by_class),
    )


def _estimates(figures: Figures) -> Estimates:
    # The Brier score of more than two classes can reach 2, every other figure 1.
    return {name: estimate(values, highest=2.0 if name == "brier" else 1.0) for name, values in figures.items()}


def _plain(figures: Estimates) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}
