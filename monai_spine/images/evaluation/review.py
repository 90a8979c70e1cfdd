"""What a reviewer looks at of classified images: a curve for each class, and who was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from monai_spine.images.evaluation.figures import Classified
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.confusion import Confusion
from monai_spine.scoring.figures import Curve
from monai_spine.spine import MISSING


class ImageReview:
    """Curves and confusion matrices of images of these classes; `curves` and `confusions` are what handlers take.

    Parameters
    ----------
    classes
        Their names, in the order of the probabilities.
    thresholds
        ``(classes,)``: from where on an image of several labels has one; None takes 0.5.
    """

    def __init__(self, classes: Sequence[str], thresholds: Floats | None = None) -> None:
        self.classes = tuple(classes)
        self._classified = partial(Classified, thresholds=thresholds)

    def curves(self, labels: Ints, probabilities: Floats) -> dict[str, Curve]:
        """``class/<name>``: each against the rest, where there are both; arguments as for `Classified`."""
        truth = self._classified(labels, probabilities).truth()
        curves = {}
        for n, name in enumerate(self.classes):
            known = truth[:, n] != MISSING
            curves[f"class/{name}"] = Curve(truth[known, n] == 1, probabilities[known, n])
        return {name: curve for name, curve in curves.items() if curve.defined}

    def confusions(self, labels: Ints, probabilities: Floats) -> list[Confusion]:
        """One matrix; of images with several labels, one for each class."""
        found = self._classified(labels, probabilities)
        if not found.several:
            return [Confusion(f"{int(found.confusions().sum())} images", self.classes, found.confusions())]
        each = zip(self.classes, found.confusions(), strict=True)
        return [Confusion(name, ("no", "yes"), matrix) for name, matrix in each]
