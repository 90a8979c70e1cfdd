"""A calibration: how to turn a model's probabilities into calibrated ones, learnt from out-of-fold files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.scoring.competition import WEIGHTS, Floats, Ints, normalised
from monai_spine.scoring.grouped_folds import grouped_folds, out_of_fold
from monai_spine.spine import MISSING, Grade, Group
from monai_spine.tables.calibration.scaling import Scaling, fit_temperature, fit_vector, identity, mean_log_loss
from monai_spine.tables.out_of_fold import columns_of

SCHEMA = "monai_spine/calibration/1"

METHODS: dict[str, Callable[[Floats, Ints], Scaling]] = {
    "none": lambda _probabilities, _grades: identity(),
    "temperature": fit_temperature,
    "vector": fit_vector,
}
"""How to fit a scaling, from the least free to the freest. ``none`` is the tilt's removal alone."""


@dataclass(frozen=True)
class Calibration:
    """From probabilities as a model gives them to calibrated ones at natural prevalence.

    First the tilt is divided out: competition-weighted probabilities are proportional to ``natural * (1, 2, 4)``. Then
    the rows of each group of conditions are scaled.

    Attributes
    ----------
    tilt
        ``(3,)``: 1, 2, 4, or 1, 1, 1 for probabilities that are natural already.
    methods
        Name of each group's scaling: a key of `METHODS`.
    scalings
        Of each group.

    Examples
    --------
    >>> calibration = Calibration.read("calibration.json")  # doctest: +SKIP
    >>> natural = calibration.apply(weighted)               # (studies, 25, 3) both  # doctest: +SKIP
    """

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
        folds: int = 5,
        seed: int = 0,
    ) -> Calibration:
        """Learn from labels ``(studies, 25)`` and probabilities ``(studies, 25, 3)`` of studies of ``patients``.

        Parameters
        ----------
        method
            A key of `METHODS`, or ``best``: for each group the one with the least natural log loss on patients that it
            was not fitted to, in a cross-validation of ``folds``.
        tilted
            Whether the probabilities are competition-weighted.
        """
        tilt = WEIGHTS if tilted else np.ones(len(Grade))
        natural = normalised(probabilities / tilt)
        fold_of = grouped_folds(grades, patients, min(folds, len(set(patients))), seed) if method == "best" else None
        methods, scalings = {}, {}
        for group in Group:
            own = columns_of(group)
            p, y = natural[:, own], grades[:, own]
            methods[group] = _best(p, y, fold_of) if fold_of is not None else method
            scalings[group] = _fit(methods[group], p, y)
        return cls(tilt, methods, scalings)

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities at natural prevalence, ``(..., 25, 3)``, from ones as the model gives them."""
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
        return json.dumps({"schema": SCHEMA, "tilt": self.tilt.tolist(), "groups": groups}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """The calibration that `to_json` wrote.

        Raises
        ------
        InvalidTableError
            If it is none.
        """
        try:
            content = json.loads(text)
            if content["schema"] != SCHEMA:
                raise ValueError(f"its schema is {content['schema']!r}")
            groups = {group: content["groups"][group.value] for group in Group}
            scalings = {g: Scaling(_triple(of["scale"]), _triple(of["bias"])) for g, of in groups.items()}
            return cls(_triple(content["tilt"]), {g: str(of["method"]) for g, of in groups.items()}, scalings)
        except (ValueError, KeyError, TypeError) as err:
            raise InvalidTableError(f"expected a calibration of the schema {SCHEMA!r} ({err})") from err

    def write(self, path: Path) -> None:
        """Write `to_json` to a file, renamed into place when whole."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """The calibration of a file.

        Raises
        ------
        MissingInputError, InvalidTableError
            If there is no such file, or it holds no calibration.
        """
        if not Path(path).is_file():
            raise MissingInputError(
                f"expected a calibration, but there is no file {path}; `monai-spine calibrate` writes one"
            )
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (InvalidTableError, UnicodeDecodeError) as err:
            raise InvalidTableError(f"{path}: {err}") from err


def _best(probabilities: Floats, grades: Ints, fold_of: np.ndarray) -> str:
    """The method with the least out-of-fold log loss; the least free one where it makes no difference."""
    known = grades != MISSING
    losses = {}
    for method in METHODS:

        def fitted(training: np.ndarray, held_out: np.ndarray, method: str = method) -> Floats:
            return _fit(method, probabilities[training], grades[training]).apply(probabilities[held_out])

        losses[method] = mean_log_loss(out_of_fold(fold_of, fitted, probabilities)[known], grades[known])
    return min(losses, key=lambda method: losses[method])


def _fit(method: str, probabilities: Floats, grades: Ints) -> Scaling:
    """Fit to the labelled rows of ``(studies, n, 3)``; without any, change nothing."""
    known = grades != MISSING
    return METHODS[method](probabilities[known], grades[known]) if known.any() else identity()


def _triple(values: object) -> Floats:
    triple = np.asarray(values, dtype=np.float64)
    if triple.shape != (len(Grade),) or not np.isfinite(triple).all():
        raise ValueError(f"expected {len(Grade)} finite numbers, but given {values!r}")
    return triple
