"""All figures of classified images with their confidence intervals, as one JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.figures import Classified, Figures, class_figures, overall_figures
from monai_spine.scoring.bootstrap import COVERAGE, REPLICATES, Estimate, estimate, patient_counts
from monai_spine.scoring.reliability import BINS
from monai_spine.spine import MISSING

SCHEMA = "monai_spine/image-metrics/1"

Estimates = dict[str, Estimate]


@dataclass(frozen=True)
class ImageSummary:
    """Figures of all classes together and of each, the sample's and their intervals.

    Attributes
    ----------
    groups
        How many there are: they are drawn anew for the intervals, each with all its images.
    """

    given: Classified
    classes: tuple[str, ...]
    task: Task
    groups: int
    replicates: int
    figures: Estimates
    each: tuple[Estimates, ...]

    def as_dict(self) -> dict[str, Any]:
        """One JSON object of the schema ``monai_spine/image-metrics/1``.

        Rows of the confusion matrix are labels, columns what was decided; of several labels each class has one of its
        own, of "no" and "yes".
        """
        confusions, truth = self.given.confusions().tolist(), self.given.truth()
        classes = {
            name: {
                "images": int((truth[:, n] == 1).sum()),
                "of": int((truth[:, n] != MISSING).sum()),
                **({"threshold": float(thresholds[n])} if (thresholds := self.given.thresholds) is not None else {}),
                **({"confusion": confusions[n]} if self.given.several else {}),
                **_plain(self.each[n]),
            }
            for n, name in enumerate(self.classes)
        }
        return {
            "schema": SCHEMA,
            "task": self.task.value,
            "images": len(self.given.labels),
            "groups": self.groups,
            "calibration_bins": BINS,
            "interval": {"coverage": COVERAGE, "replicates": self.replicates, "drawn": "groups"},
            "figures": _plain(self.figures),
            "classes": classes,
            **({} if self.given.several else {"confusion": confusions}),
        }

    def to_text(self) -> str:
        """A table to read: the figures of all, then of each class."""
        shown = ("auc", "average_precision", "sensitivity", "specificity", "f1")
        lines = [f"{name:26}{figure!s:>24}" for name, figure in self.figures.items()]
        lines += ["", f"{'':26}" + "".join(f"{name:>24}" for name in shown)]
        for name, figures in zip(self.classes, self.each, strict=True):
            lines.append(f"{name[:25]:26}" + "".join(f"{figures[one]!s:>24}" for one in shown))
        return "\n".join(lines)


def summarise_images(
    given: Classified,
    classes: Sequence[str],
    groups: Sequence[str],
    task: Task,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> ImageSummary:
    """All figures of images.

    Parameters
    ----------
    groups
        Of each image, such as its patient.
    replicates
        How many samples are drawn for the intervals.
    """
    counts = patient_counts(groups, replicates, seed)
    each = [class_figures(given, n, counts) for n in range(len(classes))]
    return ImageSummary(
        given=given,
        classes=tuple(classes),
        task=task,
        groups=len(np.unique(np.asarray(groups, dtype=str))),
        replicates=replicates,
        figures=_estimates(overall_figures(given, each, counts)),
        each=tuple(_estimates(figures) for figures in each),
    )


def _estimates(figures: Figures) -> Estimates:
    """The Brier score of many classes can reach 2, everything else 1."""
    return {name: estimate(found, highest=2.0 if name == "brier" else 1.0) for name, found in figures.items()}


def _plain(figures: Estimates) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}
