"""Folds of image samples: patients and copies stay together, classes are spread evenly."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from data_prep.folds import connected, distribute
from data_prep.images.sample import Sample, Section
from monai_spine.errors import InvalidOptionError, counted

DEFAULT_FOLDS = 5
_SIZE_WEIGHT = 4.0
_REFINED = 1000
"""Groups up to which they are exchanged between folds: that takes the square of their number."""


@dataclass(frozen=True)
class Split:
    """How samples are to be split."""

    folds: int | None = None
    """Number of folds for cross-validation; None for a holdout, for the validation folder that came with the images,
    or else 5."""
    holdout: float | None = None
    """Share of the samples that makes fold 0, to validate on; the others are fold 1."""
    seed: int = 0

    def check(self) -> None:
        """Refuse numbers that no split can have.

        Raises `InvalidOptionError` if both are given, or one is out of its range.
        """
        if self.folds is not None and self.holdout is not None:
            raise InvalidOptionError("expected either --folds or --holdout, but given both")
        if self.folds is not None and self.folds < 2:
            raise InvalidOptionError(f"expected two folds or more, but given --folds {self.folds}")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise InvalidOptionError(f"expected a share between 0 and 1, but given --holdout {self.holdout:g}")

    @property
    def requested(self) -> bool:
        """Whether the user requested a split, which then replaces a split by folders."""
        return self.folds is not None or self.holdout is not None

    def parts(self) -> list[float]:
        """The share of each fold."""
        if self.holdout is not None:
            return [self.holdout, 1 - self.holdout]
        folds = self.folds or DEFAULT_FOLDS
        return [1 / folds] * folds


def group_samples(samples: Sequence[Sample], links: Sequence[tuple[int, int]]) -> npt.NDArray[np.intp]:
    """A number for each sample, equal for those of one patient and those that are linked."""
    of_patient: dict[str, list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        if sample.patient:
            of_patient[sample.patient].append(number)
    chains = [(a, b) for same in of_patient.values() for a, b in pairwise(same)]
    return connected(len(samples), [*links, *chains])


def assign_folds(
    samples: Sequence[Sample], groups: npt.NDArray[np.intp], classes: int, split: Split
) -> npt.NDArray[np.intp]:
    """A fold for each sample that is not for testing, -1 for the others.

    With a validation folder and no request for folds, fold 0 is that folder and whatever belongs to its images.

    Raises `InvalidOptionError` if there are fewer groups than folds.
    """
    folds = np.full(len(samples), -1, dtype=np.intp)
    rows = np.array([n for n, sample in enumerate(samples) if sample.section is not Section.TEST], dtype=np.intp)
    if validation_given(samples) and not split.requested:
        held_out = {groups[n] for n in rows if samples[n].section is Section.VALIDATION}
        folds[rows] = [0 if groups[n] in held_out else 1 for n in rows]
        return folds
    _, owner = np.unique(groups[rows], return_inverse=True)
    parts = split.parts()
    count = int(owner.max()) + 1
    if count < len(parts):
        raise InvalidOptionError(
            f"expected at most {counted(count, 'fold')}, as many as there are groups of images that must "
            f"stay together, "
            f"but {len(parts)} are requested; give another number with --folds"
        )
    counts = _counts([samples[n] for n in rows], classes)
    weights = [_SIZE_WEIGHT, *[1.0] * classes]
    folds[rows] = distribute(owner, counts, weights, parts, seed=split.seed, refine=count <= _REFINED)
    return folds


def validation_given(samples: Sequence[Sample]) -> bool:
    """Whether a folder of validation images came with the others."""
    return any(sample.section is Section.VALIDATION for sample in samples)


def _counts(samples: Sequence[Sample], classes: int) -> npt.NDArray[np.float64]:
    """A row per sample: 1, and which classes it has."""
    counts = np.zeros((len(samples), 1 + classes))
    counts[:, 0] = 1
    counts[:, 1:] = [[sample.is_of(number) for number in range(classes)] for sample in samples]
    return counts
