"""The figures of a pool of findings, for the sample and every bootstrap replicate: what `metrics` reports."""

from collections.abc import Iterator

from monai_spine.scoring import figures as metrics
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import bin_sums, calibration_errors
from monai_spine.spine import Grade

LOWEST = {"kappa_quadratic": -1.0, "kappa_linear": -1.0}
"""The lowest possible value of a figure, where it is not 0."""


def confusions(labels: Ints, decided: Ints, counts: Floats) -> Floats:
    """Confusion matrices ``(1 + replicates, 3, 3)``: labels by decided grades, both ``(studies, n)``."""
    return (counts @ metrics.study_confusions(labels, decided)).reshape(-1, len(Grade), len(Grade))


def figure_values(y: Ints, p: Floats, matrices: Floats, counts: Floats) -> Iterator[tuple[str, Floats]]:
    """Name and values ``(1 + replicates,)`` of every figure of a pool of findings.

    ``y``, ``p``: labels ``(studies, n)``, and probabilities ``(studies, n, 3)`` at natural prevalence.
    ``matrices``, ``counts``: from `confusions` and `patient_counts`.
    """
    rows = matrices.sum(axis=(-2, -1))
    severe, worse = int(Grade.SEVERE), int(Grade.MODERATE)
    yield "auc_severe", metrics.areas(y, p[..., severe], severe, counts)
    yield "auc_moderate_or_worse", metrics.areas(y, p[..., worse:].sum(axis=-1), worse, counts)
    yield "kappa_quadratic", metrics.kappas(matrices, 2)
    yield "kappa_linear", metrics.kappas(matrices, 1)
    yield "sensitivity_severe", metrics.sensitivities(matrices, severe)
    yield "specificity_severe", metrics.specificities(matrices, severe)
    yield "sensitivity_moderate_or_worse", metrics.sensitivities(matrices, worse)
    yield "specificity_moderate_or_worse", metrics.specificities(matrices, worse)
    yield "balanced_accuracy", metrics.balanced_accuracies(matrices)
    yield "brier", metrics.ratio(counts @ metrics.study_briers(y, p), rows)
    for grade in Grade:
        yield f"ece_{grade.column}", calibration_errors(counts @ bin_sums(y, p, grade), rows)
