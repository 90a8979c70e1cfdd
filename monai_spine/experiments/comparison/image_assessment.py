"""Assessment of image classifiers: balanced accuracy, or mean AUC where an image may have several labels."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.errors import InvalidTableError, counted, listed
from monai_spine.experiments.comparison.assessment import Assessment, Predicted, check_unseen
from monai_spine.images.data.datalist import UNKNOWN, Record, Task, read_image_datalist
from monai_spine.images.evaluation.decision_thresholds import thresholds_beside
from monai_spine.images.evaluation.figures import Classified, class_figures, overall_figures
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.patient_resampling import difference, estimate, patient_counts
from monai_spine.scoring.submission import read_table


class ImageAssessment(Assessment):
    """The images that every candidate predicts, with their labels.

    ``folds``: the folds to leave out, one training for each.
    ``test``: another datalist of the same classes, whose images are predicted instead: its ``test`` section if that has
    labels, else ``training``.
    Raises `MissingInputError` or `InvalidTableError` if a datalist or a fold does not exist, no image has a label,
    groups of the test are trained on, or the test has other classes.
    """

    lower_is_better = False

    def __init__(self, datalist: Path, folds: Sequence[int], test: Path | None = None) -> None:
        self.folder = datalist.parent
        images = read_image_datalist(datalist)
        self.classes, self.task = images.classes, images.task
        self.sides = {fold: images.split(fold) for fold in folds}
        other = read_image_datalist(test) if test else images
        if other.classes != self.classes:
            raise InvalidTableError(f"{test}: expected the classes {self.classes}, but found {other.classes}")
        self.section = "test" if _labelled(other.test) else "training" if test else None
        self.elsewhere = test
        self.records: list[Record] = (
            getattr(other, self.section) if self.section else [r for fold in folds for r in self.sides[fold][1]]
        )
        if not _labelled(self.records):
            raise InvalidTableError(
                f"{test or datalist}: none of {counted(len(self.records), 'image')} to evaluate on has a label"
            )
        if self.section:
            check_unseen(self.records, images.training, "group", "groups", "images")
        self.labels = np.array([record["label"] for record in self.records], dtype=np.int64)
        self.groups = [record["group"] for record in self.records]
        self.counts = patient_counts(self.groups)

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels."""
        return self.task is Task.MULTILABEL

    @property
    def key(self) -> str:
        """The figure that orders the candidates; more of it is better."""
        return self.task.key_metric

    @property
    def title(self) -> str:
        """The name of that figure in the picture."""
        return f"{self.key.replace('_', ' ')} (higher is better)"

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""
        return ("accuracy", "macro_f1")

    def evaluated(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the images into an evaluation; none if these are the images of the fold."""
        if self.section is None:
            return ()
        if self.elsewhere is None:
            return (("section", self.section),)
        path = str(self.elsewhere.resolve())
        return (("evaluated", f"$image_datalist.read_image_datalist({path!r}).{self.section}"),)

    def predictions(self, predicted: Predicted) -> Classified:
        """A candidate's probabilities of all images; see `Assessment`."""
        paths = {fold: parts[0][1] for fold, parts in predicted.items()}
        each = [
            self._probabilities(path, self.records if self.section else self.sides[fold][1])
            for fold, path in paths.items()
        ]
        probabilities = np.mean(each, axis=0) if self.section else np.concatenate(each)
        thresholds = None
        if self.multilabel:
            weights = [path.parents[1] / "models" / "model.pt" for path in paths.values()]
            thresholds = np.mean([thresholds_beside(one, self.classes) for one in weights], axis=0)
        return Classified(self.labels, probabilities, thresholds)

    def rows(self, predictions: Mapping[str, Classified]) -> dict[str, dict[str, float | None]]:
        """The figures of every candidate with their intervals, and its difference to the best."""
        replicates = {name: self._figures(classified) for name, classified in predictions.items()}
        best = max(replicates, key=lambda name: replicates[name][self.key][0], default="")
        _, *others = dict.fromkeys([self.key, "accuracy", "balanced_accuracy", "macro_f1", "mean_auc"])
        table = {}
        for name, figures in replicates.items():
            table[name] = {
                **estimate(figures[self.key]).as_columns(self.key),
                **difference(replicates[best][self.key], figures[self.key]).as_columns("behind_best"),
            }
            for other in others:
                table[name] |= estimate(figures[other]).as_columns(other)
        return table

    def context(self) -> dict[str, Any]:
        """Which images, and the figure that chance would reach."""
        where = f"{(self.elsewhere or Path('datalist.json')).name}: {self.section}"
        return {
            "evaluated_on": where if self.section else f"held-out folds {self.folds}",
            "task": self.task.value,
            "classes": list(self.classes),
            "images": len(self.records),
            "groups": len(set(self.groups)),
            **self.lines(),
        }

    def lines(self) -> dict[str, float]:
        """The figure of a classifier that always predicts the same class."""
        return {"chance": 0.5 if self.multilabel else 1 / len(self.classes)}

    def _figures(self, classified: Classified) -> dict[str, Floats]:
        each = [class_figures(classified, n, self.counts) for n in range(classified.classes)]
        return overall_figures(classified, each, self.counts)

    def _probabilities(self, path: Path, records: Sequence[Record]) -> Floats:
        table = read_table(path)
        columns = [f"probability_{name}" for name in self.classes]
        if not {"image", *columns} <= set(table.columns):
            raise InvalidTableError(f"{path}: expected the columns image, {listed(columns)}")
        rows = dict(zip(table["image"], table[columns].to_numpy(dtype=np.float64), strict=True))
        names = [
            # As the bundle's own writer names images: relative to the datalist, channels joined.
            "|".join(Path(os.path.relpath(file, self.folder)).as_posix() for file in record["image"])
            for record in records
        ]
        absent = [name for name in names if name not in rows]
        if absent:
            raise InvalidTableError(f"{path} lacks {len(absent)} of {counted(len(names), 'image')}: {listed(absent)}")
        return np.stack([rows[name] for name in names])


def _labelled(records: Sequence[Record]) -> bool:
    return any((np.asarray(record["label"]) != UNKNOWN).any() for record in records)
