"""A calibration: how a model's probabilities become calibrated ones. It is learnt from out-of-fold files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from monai_spine.scoring.competition import WEIGHTS, Floats, Ints, columns_of, normalised
from monai_spine.scoring.grouped_folds import grouped_folds, out_of_fold
from monai_spine.spine import MISSING, Grade, Group
from monai_spine.tables.calibration.scaling import Scaling, fit_temperature, fit_vector, identity, mean_log_loss
from monai_spine.tables.stored_model import StoredModel

METHODS: dict[str, Callable[[Floats, Ints], Scaling]] = {
    "none": lambda _probabilities, _grades: identity(),
    "temperature": fit_temperature,
    "vector": fit_vector,
}
"""How to fit a scaling, from the fewest parameters to the most. ``none`` removes the tilt and scales nothing."""

_FOLDS = 5


@dataclass(frozen=True)
class Calibration(StoredModel):
    """From probabilities as a model gives them to calibrated ones at natural prevalence.

    First the tilt is divided out: competition-weighted probabilities are proportional to ``natural * (1, 2, 4)``. Then
    the rows of each group of conditions are scaled.

    Attributes
    ----------
    tilt
        ``(3,)``: 1, 2, 4; or 1, 1, 1 for probabilities that are natural already.
    methods
        For each group, a key of `METHODS`.
    scalings
        For each group, its scaling.

    Examples
    --------
    >>> calibration = Calibration.read("calibration.json")  # doctest: +SKIP
    >>> natural = calibration.apply(weighted)               # (studies, 25, 3) both  # doctest: +SKIP
    """

    noun: ClassVar[str] = "a calibration"
    command: ClassVar[str] = "calibrate"
    schema: ClassVar[str] = "monai_spine/calibration/1"

    tilt: Floats
    methods: Mapping[Group, str]
    scalings: Mapping[Group, Scaling]

    @classmethod
    def fit(
        cls,
        grades: Ints,
        probabilities: Floats,
        patients: Sequence[str],
        *,
        method: str = "best",
        tilted: bool = True,
    ) -> Calibration:
        """Learn from the labels ``(studies, 25)`` and probabilities ``(studies, 25, 3)`` of studies of ``patients``.

        Parameters
        ----------
        method
            A key of `METHODS`, or ``best``. ``best`` chooses, for each group, the method with the least natural log
            loss on patients that it was not fitted to, by cross-validation.
        tilted
            Whether the probabilities are competition-weighted.
        """
        tilt = WEIGHTS if tilted else np.ones(len(Grade))
        # The tilt is known exactly, so it is divided out rather than learnt.
        natural = normalised(probabilities / tilt)
        fold_of = grouped_folds(grades, patients, min(_FOLDS, len(set(patients)))) if method == "best" else None
        methods, scalings = {}, {}
        for group in Group:
            own = columns_of(group)
            p, y = natural[:, own], grades[:, own]
            methods[group] = _best(p, y, fold_of) if fold_of is not None else method
            scalings[group] = _fit(methods[group], p, y)
        return cls(tilt, methods, scalings)

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities at natural prevalence, ``(..., 25, 3)``, from those that the model gives."""
        natural = normalised(np.asarray(probabilities, dtype=np.float64) / self.tilt)
        for group, scaling in self.scalings.items():
            own = columns_of(group)
            natural[..., own, :] = scaling.apply(natural[..., own, :])
        return normalised(natural)

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/calibration/1``."""
        groups = {
            group.value: {
                "method": self.methods[group],
                "scale": scaling.scale.tolist(),
                "bias": scaling.bias.tolist(),
            }
            for group, scaling in self.scalings.items()
        }
        return json.dumps({"schema": self.schema, "tilt": self.tilt.tolist(), "groups": groups}, indent=2)

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Calibration:
        groups = {group: content["groups"][group.value] for group in Group}
        scalings = {group: Scaling(_triple(own["scale"]), _triple(own["bias"])) for group, own in groups.items()}
        return cls(_triple(content["tilt"]), {group: str(own["method"]) for group, own in groups.items()}, scalings)


def _best(probabilities: Floats, grades: Ints, fold_of: np.ndarray) -> str:
    """The method with the least out-of-fold log loss; of equal ones that with the fewest parameters."""
    known = grades != MISSING
    losses = {}
    for method in METHODS:

        def fitted(training: np.ndarray, held_out: np.ndarray, method: str = method) -> Floats:
            return _fit(method, probabilities[training], grades[training]).apply(probabilities[held_out])

        losses[method] = mean_log_loss(out_of_fold(fold_of, fitted, probabilities)[known], grades[known])
    return min(losses, key=lambda method: losses[method])  # of equal losses the first, and METHODS has an order


def _fit(method: str, probabilities: Floats, grades: Ints) -> Scaling:
    """Fit to the labelled rows of ``(studies, n, 3)``. Without labelled rows, change nothing."""
    known = grades != MISSING
    return METHODS[method](probabilities[known], grades[known]) if known.any() else identity()


def _triple(values: object) -> Floats:
    triple = np.asarray(values, dtype=np.float64)
    if triple.shape != (len(Grade),) or not np.isfinite(triple).all():
        raise ValueError(f"expected {len(Grade)} finite numbers, but found {values!r}")
    return triple
