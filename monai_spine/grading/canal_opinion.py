"""What the canal's diameter says about its grade: a second opinion, which has a share in the grade of the images.

A grader that learnt from phantoms reads real images less surely than phantoms. The level localizer, whose phantoms have
random grey values, still tells there where the canal ends. Its maps are made anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_spine.errors import InvalidTableError
from monai_spine.files import read_json, write_json
from monai_spine.geometry import Array
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import FINDINGS, Grade, Group, Level

SCHEMA = "monai_spine/canal_opinion/1"
CANAL_MM = "canal_mm"
"""Key of a record: the canal's diameters by level, as `monai_spine.measures.canal.canal_diameters` gives them."""

_LEAST_MM = 4.0
"""Smaller diameters count as this one: there the maps are more often wrong than the canal is narrow."""


@dataclass(frozen=True)
class CanalOpinion:
    """The grade of the canal by its diameter, by multinomial logistic regression.

    Attributes
    ----------
    share
        From 0 to 1: the exponent of this opinion, and one less that of the images', in their logarithmic pool (Genest
        and Zidek, "Combining probability distributions", Statistical Science 1986).
    intercepts, slopes
        ``(2,)``: the logits of moderate and of severe against normal/mild are intercept + slope x mm.
    weights, localizer
        Digests of the grader's weights that it belongs to, and of the level localizer's whose maps were measured.
    """

    share: float
    intercepts: Floats
    slopes: Floats
    weights: str = ""
    localizer: str = ""

    @classmethod
    def fit(cls, mm: Array, probabilities: Floats, share: float) -> CanalOpinion:
        """From diameters ``(n,)`` and the grades' probabilities ``(n, 3)``, by maximum likelihood."""
        from scipy.optimize import minimize  # only a fit needs it

        centre = float(mm.mean())

        def of(values: Floats) -> CanalOpinion:
            # Intercepts at the mean diameter, so that they and the slopes are nearly independent.
            return cls(share, values[:2] - values[2:] * centre, values[2:])

        return of(
            minimize(
                lambda values: -float((probabilities * np.log(of(values).grades(mm))).sum()), np.zeros(4), method="BFGS"
            ).x
        )

    def grades(self, mm: Array) -> Floats:
        """Probabilities ``(n, 3)`` of the grades at natural prevalence, of diameters ``(n,)``."""
        logits = self.intercepts + self.slopes * mm.clip(_LEAST_MM)[:, None]
        logits = np.concatenate([np.zeros((len(mm), 1)), logits], axis=1)
        return normalised(np.exp(logits - logits.max(axis=1, keepdims=True)))

    def pooled(self, weighted: Floats, diameters: Mapping[Level, float]) -> Floats:
        """Competition-weighted probabilities ``(25, 3)`` with its share in the canal's grades of known diameter."""
        rows = [n for n, one in enumerate(FINDINGS) if one.condition.group is Group.SPINAL and one.level in diameters]
        pooled = weighted.copy()
        if rows:
            opinion = self.grades(np.array([diameters[FINDINGS[n].level] for n in rows])) * np.array(WEIGHTS)
            pooled[rows] = normalised(weighted[rows] ** (1 - self.share) * normalised(opinion) ** self.share)
        return pooled

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        values = {"intercepts": self.intercepts.tolist(), "slopes": self.slopes.tolist()}
        about = {"schema": SCHEMA, "share": self.share, "weights": self.weights, "localizer": self.localizer}
        write_json(path, {**about, **values})

    @classmethod
    def read(cls, path: Path, weights: str) -> CanalOpinion:
        """Read a file that `write` made for weights with this digest.

        Raises
        ------
        InvalidTableError
            If it is damaged, or was made for other weights.
        """
        try:
            content = read_json(path)
            intercepts, slopes = (np.array(content[name], dtype=np.float64) for name in ("intercepts", "slopes"))
            own = cls(float(content["share"]), intercepts, slopes, str(content["weights"]), str(content["localizer"]))
            fits = content["schema"] == SCHEMA and intercepts.shape == slopes.shape == (len(Grade) - 1,)
            if not (fits and 0 <= own.share <= 1 and np.isfinite([intercepts, slopes]).all()):
                raise ValueError("its content is not that of the schema")
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidTableError(f"{path}: expected an opinion by the canal's diameter ({error})") from error
        if own.weights != weights:
            raise InvalidTableError(f"{path}: expected the opinion that belongs to the weights beside it; delete it")
        return own


def opinion_path(weights: Path) -> Path:
    """Where the opinion that belongs to a file of weights lies: beside it."""
    return weights.with_name(f"{weights.stem}.canal.json")
