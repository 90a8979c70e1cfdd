"""What the studies of a training look like to the grader, and how far another study is from them.

A grader answers whatever it is shown. Before its last layer, each finding is a vector of features; those of the
training's studies lie close together, and those of an image that has nothing to do with them, such as noise, a cervical
spine or a wrong contrast, lie elsewhere. The distance is Mahalanobis' (Lee et al., "A simple unified framework for
detecting out-of-distribution samples", NeurIPS 2018), with one mean and one covariance for each condition.

Patients lie elsewhere than the phantoms of a training, all in about the same direction. Measured from the phantoms'
mean, this distance hides all others. So distances can be measured from the mean of some patients, without what lies in
the direction from one mean to the other: a patient with other series may lie nearer or further along it. The
covariance, for which patients are too few, stays that of the training. On 12 patients, each with the mean and the limit
of the others and 7 % of its findings flagged, 60 % of crops without signal in the middle are flagged instead of 29 %,
and 89 % of turned ones instead of 49 % (``benchmarks/unlike_training.py``); with a share of their covariance of .3
instead of the direction, 54 % and 78 %.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.errors import InvalidTableError, one_line
from monai_spine.files import write_bytes
from monai_spine.scoring.competition import Floats
from monai_spine.spine import FINDINGS, Condition

SCHEMA = "monai_spine/training_features/1"
CONDITION_OF_FINDING = np.array([list(Condition).index(finding.condition) for finding in FINDINGS])
_DAMAGED = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class TrainingFeatures:
    """The distribution of the features of a training's studies.

    Attributes
    ----------
    mean
        ``(5, features)``, for each condition.
    whitening
        ``(5, features, features)``: the distance of a vector is the length of its difference from the mean after it.
    limit
        ``(5,)``: the distance at which a finding is unlike the training.
    patients
        ``(5, features)``: the mean of the patients that distances are measured from, where the training's studies are
        none; else None.
    about
        What it was made of, and the measured shares of findings beyond the limit.
    """

    mean: Floats
    whitening: Floats
    limit: Floats
    patients: Floats | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(cls, features: Floats) -> TrainingFeatures:
        """From the features ``(studies, 25, features)`` of a training's studies. Its limit is 1."""
        from sklearn.covariance import LedoitWolf  # a second to import, and only a training needs it

        means, whitenings = [], []
        for condition in range(len(Condition)):
            own = features[:, condition == CONDITION_OF_FINDING].reshape(-1, features.shape[-1])
            fitted = LedoitWolf().fit(own)
            means.append(fitted.location_)
            whitenings.append(np.linalg.cholesky(fitted.precision_).T)
        return cls(np.stack(means), np.stack(whitenings), np.ones(len(Condition)))

    def distances(self, features: Floats) -> Floats:
        """How far features ``(..., 25, features)`` are from the training's, as a share of the limit: ``(..., 25)``."""
        centre = self.mean if self.patients is None else self.patients
        away = self._whitened(features - centre[CONDITION_OF_FINDING])
        if self.patients is not None:
            shift = self._whitened((self.patients - self.mean)[CONDITION_OF_FINDING])
            length = np.linalg.norm(shift, axis=-1, keepdims=True)
            shift = np.divide(shift, length, out=np.zeros_like(shift), where=length > 0)
            away -= (away * shift).sum(axis=-1, keepdims=True) * shift
        return np.asarray(np.linalg.norm(away, axis=-1) / self.limit[CONDITION_OF_FINDING])

    def _whitened(self, away: Floats) -> Floats:
        return np.asarray(np.einsum("kfg,...kg->...kf", self.whitening[CONDITION_OF_FINDING], away))

    def limited(self, features: Floats, share: float) -> TrainingFeatures:
        """With such a limit that a share of these features ``(studies, 25, features)`` of each condition is beyond."""
        return self._limited(self.distances(features), share)

    def of_patients(self, features: Floats, share: float) -> TrainingFeatures:
        """With distances from the mean of patients' features ``(studies, 25, features)``, and a limit as of `limited`.

        For the limit, each patient's distance counts from the mean of the others: its own would draw the mean to it.
        One patient has no others, and gets no mean: distances stay those from the training's.
        """
        if len(features) < 2:
            return self.limited(features, share)
        others = [self._from(np.delete(features, n, axis=0)) for n in range(len(features))]
        distances = np.stack([one.distances(own) for one, own in zip(others, features, strict=True)])
        return self._from(features)._limited(distances, share)

    def _from(self, patients: Floats) -> TrainingFeatures:
        mean = [patients[:, condition == CONDITION_OF_FINDING].mean(axis=(0, 1)) for condition in range(len(Condition))]
        return replace(self, patients=np.stack(mean))

    def _limited(self, distances: Floats, share: float) -> TrainingFeatures:
        limit = [
            np.quantile(distances[:, condition == CONDITION_OF_FINDING], 1 - share)
            for condition in range(len(Condition))
        ]
        return replace(self, limit=self.limit * np.array(limit))

    def write(self, path: Path) -> None:
        """Write a safetensors file."""
        from safetensors.numpy import save

        arrays = {"mean": self.mean, "whitening": self.whitening, "limit": self.limit}
        arrays |= {} if self.patients is None else {"patients": self.patients}
        metadata = {"schema": SCHEMA, "about": json.dumps(dict(self.about))}
        contents = {name: np.ascontiguousarray(one, dtype=np.float32) for name, one in arrays.items()}
        write_bytes(path, [save(contents, metadata)])

    @classmethod
    def read(cls, path: Path, weights: str) -> TrainingFeatures:
        """Read a file that `write` made for weights with this digest.

        Raises
        ------
        InvalidTableError
            If it is damaged, or was made for other weights.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                names = ("mean", "whitening", "limit", *(["patients"] if "patients" in file.keys() else []))  # noqa: SIM118
                arrays = [file.get_tensor(name).astype(np.float64) for name in names]
            about = json.loads(metadata["about"])
            if (
                metadata["schema"] != SCHEMA
                or not all(np.isfinite(one).all() for one in arrays)
                or arrays[2].min() <= 0
            ):
                raise ValueError("its content is not that of the schema")
        except (*_DAMAGED, SafetensorError) as error:
            raise InvalidTableError(
                f"{path}: expected a file of monai-spine training-features: {one_line(error)}"
            ) from error
        if about.get("weights") != weights:
            raise InvalidTableError(
                f"{path}: expected the features of the weights beside it, but found those of others; make the file "
                "again with monai-spine training-features, or delete it"
            )
        return cls(**dict(zip(names, arrays, strict=True)), about=about)


def features_path(weights: Path) -> Path:
    """Where the features of a file of weights lie: beside it."""
    return weights.with_name(f"{weights.stem}.features.safetensors")
