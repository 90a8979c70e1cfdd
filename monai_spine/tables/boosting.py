"""Stacking by gradient boosting: decision trees on the same features as the linear model of `stacking`.

Each group of conditions has one booster (scikit-learn's `HistGradientBoostingClassifier`), shared by levels and sides
and trained with the competition's weights. Its answer is mixed with the pooled probabilities::

    answer = (1 - share) * pooled + share * boosted

Cross-validation within the training studies chooses the share and the number of rounds for each group, with the
competition's loss. A share of 0 is among the choices: where trees learn nothing, the pooled probabilities stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.patient_resampling import grouped_folds
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import MISSING, Grade, Group, columns_of
from monai_spine.tables.pooling import TINY, GroupLoss
from monai_spine.tables.stacking import features, groups_with_grades

ROUNDS = (15, 30, 60, 120)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What the cross-validation chooses from: rounds of boosting, and shares of the booster in the answer."""

_FOLDS = 3
# Small trees with few thresholds: the labels are noisy, and a group has a few thousand of them.
_SETTINGS = {
    "learning_rate": 0.1,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "max_bins": 63,
}


@dataclass(frozen=True)
class Tree:
    """A decision tree as arrays with an entry for each node; the root is node 0, and children come after parents."""

    feature: Ints
    """The feature that a node asks for; -1 in a leaf."""
    threshold: Floats
    """Rows whose feature is at most this go to the left."""
    missing_left: Ints
    """1 where rows without the feature go to the left."""
    left: Ints
    right: Ints
    """``left``, ``right``: the nodes below."""
    value: Floats
    """What a leaf adds to the logit."""

    def apply(self, rows: Floats) -> Floats:
        """Values ``(n,)`` of rows ``(n, F)``."""
        node = np.zeros(len(rows), dtype=np.int64)
        while (inner := np.flatnonzero(self.feature[node] >= 0)).size:
            here = node[inner]
            asked = rows[inner, self.feature[here]]
            to_left = np.where(np.isnan(asked), self.missing_left[here] == 1, asked <= self.threshold[here])
            node[inner] = np.where(to_left, self.left[here], self.right[here])
        return self.value[node]


@dataclass(frozen=True)
class Booster:
    """One group's trees, ``(rounds, 3)``, the logits that they start from, and the booster's share in the answer."""

    share: float
    start: Floats
    trees: tuple[tuple[Tree, ...], ...]

    def probabilities(self, rows: Floats) -> Floats:
        """``(n, 3)`` of features ``(n, F)``, at competition weighting."""
        logits = np.tile(self.start, (len(rows), 1))
        for round_ in self.trees:
            for grade, tree in enumerate(round_):
                logits[:, grade] += tree.apply(rows)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=-1, keepdims=True))

    def content(self) -> dict[str, Any]:
        """For JSON."""
        trees = [[{name: array.tolist() for name, array in vars(tree).items()} for tree in own] for own in self.trees]
        return {"share": self.share, "start": self.start.tolist(), "trees": trees}

    @classmethod
    def from_content(cls, content: Any, size: int) -> Booster:
        """The booster of `content`, for so many features; raises ValueError, KeyError or TypeError for other values."""
        share, start = float(content["share"]), np.asarray(content["start"], dtype=np.float64)
        trees = tuple(tuple(_checked(tree, size) for tree in own) for own in content["trees"])
        if not 0 <= share <= 1 or start.shape != (len(Grade),) or not np.isfinite(start).all():
            raise ValueError(f"expected a share from 0 to 1 and three logits to start from, but found {share}, {start}")
        if any(len(own) != len(Grade) for own in trees):
            raise ValueError("expected three trees in each round")
        return cls(share, start, trees)


Boosters = Mapping[Group, Booster]
"""A booster for each group in which trees are better than the pooled probabilities alone."""


def apply_boosters(boosters: Boosters, probabilities: Floats, pooled: Floats) -> Floats:
    """Mixed probabilities, of the shape of ``pooled``; see `features` for the parameters."""
    inputs, mixed = features(probabilities, pooled), pooled.copy()
    for group, booster in boosters.items():
        own = columns_of(group)
        boosted = booster.probabilities(inputs[:, own].reshape(-1, inputs.shape[-1])).reshape(mixed[:, own].shape)
        mixed[:, own] += booster.share * (boosted - mixed[:, own])
    return mixed


def fit_boosters(grades: Ints, probabilities: Floats, pooled: Floats, patients: Sequence[str], seed: int) -> Boosters:
    """Learn a booster for each group with labels of all three grades.

    ``grades``: ``(studies, 25)``, `MISSING` in rows that no model has.
    ``probabilities``, ``pooled``: see `features`.
    ``patients``: the patient of each study: the cross-validation keeps a patient's studies together.
    """
    inputs = features(probabilities, pooled)
    fold_of = grouped_folds(grades, patients, min(_FOLDS, len(set(patients))), seed)
    boosters = {}
    for group in groups_with_grades(grades, lowest=len(Grade)):
        own = columns_of(group)
        labels, rows, before = grades[:, own], inputs[:, own], pooled[:, own]
        rounds, share = _chosen(group, grades, (labels, rows, before), fold_of, seed)
        if share > 0:
            fitted = _fitted(labels, rows, rounds, seed)
            boosters[group] = Booster(share, _start(fitted), _trees(fitted))
    return boosters


def _chosen(
    group: Group, grades: Ints, arrays: tuple[Ints, Floats, Floats], fold_of: np.ndarray, seed: int
) -> tuple[int, float]:
    """The rounds and the share with the least loss on studies that the trees were not fitted to."""
    labels, rows, pooled = arrays
    losses = np.zeros((len(ROUNDS), len(SHARES)))
    for fold in np.unique(fold_of):
        held_out, training = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if len(set(labels[training].ravel().tolist()) - {MISSING}) < len(Grade):
            return ROUNDS[0], 0.0
        model, loss = _fitted(labels[training], rows[training], max(ROUNDS), seed), GroupLoss(grades[held_out], group)
        stages = list(model.staged_predict_proba(rows[held_out].reshape(-1, rows.shape[-1])))
        for n, rounds in enumerate(ROUNDS):
            boosted = stages[rounds - 1].reshape(pooled[held_out].shape)
            for m, share in enumerate(SHARES):
                mixed = pooled[held_out] + share * (boosted - pooled[held_out])
                with torch.no_grad():
                    losses[n, m] += len(held_out) * float(loss(torch.from_numpy(np.clip(mixed, TINY, 1)).log()))
    best_round, best_share = divmod(int(losses.argmin()), len(SHARES))
    return ROUNDS[best_round], SHARES[best_share]


def _fitted(labels: Ints, rows: Floats, rounds: int, seed: int) -> HistGradientBoostingClassifier:
    known = labels != MISSING
    rows = np.where(np.isnan(rows[known]).all(axis=0), 0.0, rows[known])  # scikit-learn refuses features without values
    model = HistGradientBoostingClassifier(max_iter=rounds, early_stopping=False, random_state=seed, **_SETTINGS)
    return model.fit(rows, labels[known], sample_weight=WEIGHTS[labels[known]])


def _start(model: HistGradientBoostingClassifier) -> Floats:
    return np.asarray(model._baseline_prediction, dtype=np.float64).ravel()


def _trees(model: HistGradientBoostingClassifier) -> tuple[tuple[Tree, ...], ...]:
    # scikit-learn can store a model only as a pickle, which may hold code. The trees are plain tables.
    return tuple(tuple(_tree(predictor.nodes) for predictor in own) for own in model._predictors)


def _tree(nodes: np.ndarray) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).clip(-1e300, 1e300),  # JSON has no infinity
        missing_left=nodes["missing_go_to_left"].astype(np.int64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        value=nodes["value"].astype(np.float64),
    )


def _checked(content: Any, size: int) -> Tree:
    whole = {name: np.asarray(content[name]) for name in ("feature", "missing_left", "left", "right")}
    real = {name: np.asarray(content[name], dtype=np.float64) for name in ("threshold", "value")}
    nodes, place = len(real["value"]), np.arange(len(real["value"]))
    inner = whole["feature"] >= 0
    if any(array.shape != (nodes,) for array in (*whole.values(), *real.values())) or nodes == 0:
        raise ValueError("expected a tree of arrays of one length")
    if any(array.dtype.kind != "i" for array in whole.values()) or not np.isfinite([*real.values()]).all():
        raise ValueError("expected a tree of finite numbers")
    # Children after parents: a tree with a cycle would never end.
    below = np.stack([whole["left"], whole["right"]])[:, inner]
    if whole["feature"].max() >= size or (below <= place[inner]).any() or (below >= nodes).any():
        raise ValueError(f"expected a tree on {size} features whose branches lead onwards")
    feature, missing_left, left, right = (array.astype(np.int64) for array in whole.values())
    return Tree(feature, real["threshold"], missing_left, left, right, real["value"])
