"""What classifiers of images are worth: balanced accuracy, or of several labels an image mean AUC, with intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.errors import InvalidTableError, listed
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.experiments.comparison.judge import named
from monai_spine.images.data.datalist import UNKNOWN, Record, Task, read_image_datalist, split_folds
from monai_spine.images.evaluation.decision_thresholds import thresholds_beside
from monai_spine.images.evaluation.figures import Classified, class_figures, overall_figures
from monai_spine.scoring.bootstrap import estimate, patient_counts
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.submission import read_table
from monai_spine.tables.score_intervals import difference


class ImageJudge:
    """Holds the images that every candidate is asked about.

    These are those of the datalist's ``test`` section if it has labels, else of the folds left out of training.

    Parameters
    ----------
    datalist
        With folds.
    folds
        To leave out, one training each.
    test
        Another datalist of the same classes, whose images to ask about; its ``test`` section if that has labels, else
        ``training``.

    Raises
    ------
    MissingInputError, InvalidTableError
        If a datalist or a fold is not there, no image has a label, or the test's are trained on or of other classes.
    """

    lower_is_better = False

    def __init__(self, datalist: Path, folds: Sequence[int], test: Path | None = None) -> None:
        self.folder = datalist.parent
        images = read_image_datalist(datalist)
        self.classes, self.task = images.classes, images.task
        self.sides = {fold: split_folds(images.training, fold) for fold in folds}
        other = read_image_datalist(test) if test else images
        if other.classes != self.classes:
            raise InvalidTableError(f"{test}: expected the classes {self.classes}, but found {other.classes}")
        self.section = "test" if _labelled(other.test) else "training" if test else None
        self.elsewhere = test
        self.records: list[Record] = (
            getattr(other, self.section) if self.section else [r for fold in folds for r in self.sides[fold][1]]
        )
        if not _labelled(self.records):
            raise InvalidTableError(f"{test or datalist}: none of {len(self.records)} images to ask about has a label")
        if self.section:
            _check_unseen(self.records, images.training)
        self.labels = np.array([record["label"] for record in self.records], dtype=np.int64)
        self.groups = [record["group"] for record in self.records]
        self.counts = patient_counts(self.groups)

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return self.task is Task.MULTILABEL

    @property
    def key(self) -> str:
        """Of which more is better."""
        return "mean_auc" if self.several else "balanced_accuracy"

    @property
    def title(self) -> str:
        """For the picture."""
        return f"{self.key.replace('_', ' ')} (higher is better)"

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""
        return ("accuracy", "macro_f1")

    @property
    def folds(self) -> list[int]:
        """Those that are left out."""
        return list(self.sides)

    def asked(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the images into an evaluation; none for the fold's own."""
        if self.section is None:
            return ()
        if self.elsewhere is None:
            return (("section", self.section),)
        path = str(self.elsewhere.resolve())
        return (("evaluated", f"$image_datalist.read_image_datalist({path!r}).{self.section}"),)

    def sizes(self, fold: int) -> tuple[int, int]:
        """Images to train on, and to validate on."""
        training, validation = self.sides[fold]
        return len(training), len(validation)

    def answers(self, said: Mapping[int, Sequence[tuple[Part, Path]]]) -> Classified:
        """What a candidate says of all images; networks of several folds are averaged on a test, else joined.

        Raises
        ------
        InvalidTableError
            If a file lacks an image.
        """
        paths = {fold: parts[0][1] for fold, parts in said.items()}
        each = [self._probabilities(path, self._of(fold)) for fold, path in paths.items()]
        found = np.mean(each, axis=0) if self.section else np.concatenate(each)
        thresholds = None
        if self.several:
            weights = [path.parents[1] / "models" / "model.pt" for path in paths.values()]
            thresholds = np.mean([thresholds_beside(one, self.classes) for one in weights], axis=0)
        return Classified(self.labels, found, thresholds)

    def rows(self, answers: Mapping[str, Classified]) -> dict[str, dict[str, float | None]]:
        """Figures of every candidate with their intervals, and how far it stands behind the best."""
        drawn = {name: self._figures(given) for name, given in answers.items()}
        best = max(drawn, key=lambda name: drawn[name][self.key][0], default="")
        order = list(dict.fromkeys([self.key, "accuracy", "balanced_accuracy", "macro_f1", "mean_auc"]))
        return {
            name: {
                **named(self.key, estimate(figures[self.key])),
                **named("behind_best", difference(drawn[best][self.key], figures[self.key])),
                **{column: value for one in order[1:] for column, value in named(one, estimate(figures[one])).items()},
            }
            for name, figures in drawn.items()
        }

    def context(self) -> dict[str, Any]:
        """Which images, and what chance alone would reach."""
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
        """What saying always the same would reach."""
        return {"chance": 0.5 if self.several else 1 / len(self.classes)}

    def _figures(self, given: Classified) -> dict[str, Floats]:
        each = [class_figures(given, n, self.counts) for n in range(given.classes)]
        return overall_figures(given, each, self.counts)

    def _of(self, fold: int) -> list[Record]:
        return self.records if self.section else self.sides[fold][1]

    def _probabilities(self, path: Path, records: Sequence[Record]) -> Floats:
        table = read_table(path)
        columns = [f"probability_{name}" for name in self.classes]
        if not {"image", *columns} <= set(table.columns):
            raise InvalidTableError(f"{path}: expected the columns image, {listed(columns)}")
        rows = dict(zip(table["image"], table[columns].to_numpy(dtype=np.float64), strict=True))
        names = [
            "|".join(Path(os.path.relpath(file, self.folder)).as_posix() for file in record["image"])
            for record in records
        ]
        absent = [name for name in names if name not in rows]
        if absent:
            raise InvalidTableError(f"{path} lacks {len(absent)} of {len(names)} images: {listed(absent)}")
        return np.stack([rows[name] for name in names])


def _labelled(records: Sequence[Record]) -> bool:
    return any((np.asarray(record["label"]) != UNKNOWN).any() for record in records)


def _check_unseen(asked: Sequence[Record], training: Sequence[Record]) -> None:
    shared = {record["group"] for record in asked} & {record["group"] for record in training}
    if shared:
        raise InvalidTableError(
            f"{len(shared)} groups of the test have images in training, too, such as {min(shared)}; take them out"
        )
