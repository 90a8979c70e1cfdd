"""What the studies of a training look like to the grader, and how far another study is from them.

A grader answers whatever it is shown. Before its last layer, each finding is a vector of features; those of the
training's studies lie close together, and those of an image that has nothing to do with them, such as noise, a cervical
spine or a wrong contrast, lie elsewhere. The distance is Mahalanobis' (Lee et al., "A simple unified framework for
detecting out-of-distribution samples", NeurIPS 2018), with one mean and one covariance for each condition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    about
        What it was made of, and the measured shares of findings beyond the limit.
    """

    mean: Floats
    whitening: Floats
    limit: Floats
    about: Mapping[str, Any]

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
        return cls(np.stack(means), np.stack(whitenings), np.ones(len(Condition)), {})

    def distances(self, features: Floats) -> Floats:
        """How far features ``(..., 25, features)`` are from the training's, as a share of the limit: ``(..., 25)``."""
        away = features - self.mean[CONDITION_OF_FINDING]
        length = np.linalg.norm(np.einsum("kfg,...kg->...kf", self.whitening[CONDITION_OF_FINDING], away), axis=-1)
        return np.asarray(length / self.limit[CONDITION_OF_FINDING])

    def limited(self, features: Floats, share: float) -> TrainingFeatures:
        """With such a limit that a share of these features ``(studies, 25, features)`` of each condition is beyond."""
        distances = self.distances(features)
        limit = [
            np.quantile(distances[:, condition == CONDITION_OF_FINDING], 1 - share)
            for condition in range(len(Condition))
        ]
        return TrainingFeatures(self.mean, self.whitening, self.limit * np.array(limit), self.about)

    def write(self, path: Path) -> None:
        """Write a safetensors file."""
        from safetensors.numpy import save

        arrays = {"mean": self.mean, "whitening": self.whitening, "limit": self.limit}
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
                arrays = [file.get_tensor(name).astype(np.float64) for name in ("mean", "whitening", "limit")]
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
        mean, whitening, limit = arrays
        return cls(mean, whitening, limit, about)


def features_path(weights: Path) -> Path:
    """Where the features of a file of weights lie: beside it."""
    return weights.with_name(f"{weights.stem}.features.safetensors")
