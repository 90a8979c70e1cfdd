"""``monai-spine metrics``: how well predicted grades agree with labels, overall and for every finding, as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from monai_spine.console import track
from monai_spine.errors import counted
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import BINS, LOWEST, confusions, figure_values
from monai_spine.scoring.patient_resampling import (
    COVERAGE,
    REPLICATES,
    Estimate,
    estimate,
    patient_counts,
    score_estimate,
    score_replicates,
)
from monai_spine.scoring.prevalence import WEIGHTS, natural_prevalence, normalised
from monai_spine.spine import FINDINGS, Condition, Grade, Group, Level, Side, columns_of
from monai_spine.tables.out_of_fold import OutOfFold
from monai_spine.tables.subgroups import Subgroup, measure_subgroups, subgroups_text

SCHEMA = "monai_spine/metrics/1"

Decision = Literal["natural", "weighted"]

_SEED = 0


@dataclass(frozen=True)
class Pool:
    """Findings whose rows are pooled for one set of figures, such as a condition's five levels."""

    division: str
    """The key of the JSON that holds the pool: ``all``, ``groups``, ``conditions``, ``levels``, ``sides`` or
    ``findings``."""
    name: str
    columns: list[int]
    """Indices of the findings among the 25."""


@dataclass(frozen=True)
class PoolFigures:
    """The figures of a pool: its confusion matrix, and every other figure by name."""

    pool: Pool
    confusion: Ints
    figures: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """For JSON. The rows of the confusion matrix are labels, its columns decided grades."""
        return {
            "rows": int(self.confusion.sum()),
            "labels": {grade.column: int(n) for grade, n in zip(Grade, self.confusion.sum(axis=1), strict=True)},
            "confusion": self.confusion.tolist(),
            **{name: figure.as_dict() for name, figure in self.figures.items()},
        }


@dataclass(frozen=True)
class MetricsReport:
    """All figures of a submission."""

    studies: int
    patients: int
    left_out: int
    """Labelled rows of these studies that the submission lacks."""
    decision: Decision
    replicates: int
    score: dict[str, Estimate]
    pools: list[PoolFigures] = field(default_factory=list)
    subgroups: Sequence[Subgroup] = ()

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/metrics/1``."""
        nested: dict[str, dict[str, Any]] = {}
        for pool in self.pools:
            nested.setdefault(pool.pool.division, {})[pool.pool.name] = pool.as_dict()
        content = {
            "schema": SCHEMA,
            "studies": self.studies,
            "patients": self.patients,
            "left_out": self.left_out,
            "decision": self.decision,
            "calibration_bins": BINS,
            "interval": {"coverage": COVERAGE, "replicates": self.replicates, "seed": _SEED, "drawn": "patients"},
            "score": {part: figure.as_dict() for part, figure in self.score.items()},
            **nested,
        }
        if self.subgroups:
            by_column: dict[str, dict[str, Any]] = {}
            for one in self.subgroups:
                by_column.setdefault(one.column, {})[one.name] = one.as_dict()
            content["subgroups"] = by_column
        return json.dumps(content, indent=2)

    def to_text(self) -> str:
        """Tables for people: the score, and the figures of all findings together and of the three groups."""
        lines = [f"{'':30}{'value [95 % interval]':>24}"]
        lines += [f"{part:30}{figure!s:>24}" for part, figure in self.score.items()]
        shown = [pool for pool in self.pools if pool.pool.division in {"all", "groups"} and pool.confusion.any()]
        lines += ["", f"{'':30}" + "".join(f"{pool.pool.name:>24}" for pool in shown)]
        for name in shown[0].figures:
            lines.append(f"{name:30}" + "".join(f"{pool.figures[name]!s:>24}" for pool in shown))
        lines += ["", "labels (down) by decided grade (across):"]
        heads = [grade.column for grade in Grade]
        for pool in shown:
            lines.append(f"{pool.pool.name:30}" + "".join(f"{head:>13}" for head in heads))
            for head, row in zip(heads, pool.confusion, strict=True):
                lines.append(f"{head:>30}" + "".join(f"{n:13}" for n in row))
        if self.subgroups:
            lines += ["", *subgroups_text(self.subgroups)]
        lines += [
            "",
            f"{counted(self.studies, 'study')} of {counted(self.patients, 'patient')}; "
            f"intervals from {counted(self.replicates, 'replicate')}",
        ]
        return "\n".join(lines)


def pools() -> list[Pool]:
    """All findings, the groups, conditions, levels and sides, and every finding by itself."""
    divisions: dict[str, type[Group | Condition | Level | Side]] = {
        "groups": Group,
        "conditions": Condition,
        "levels": Level,
        "sides": Side,
    }
    return [
        Pool("all", "all", list(range(len(FINDINGS)))),
        *(Pool(name, part.value, columns_of(part)) for name, parts in divisions.items() for part in parts),
        *(Pool("findings", finding.name, [n]) for n, finding in enumerate(FINDINGS)),
    ]


def measure(
    table: OutOfFold,
    *,
    decision: Decision = "natural",
    tilted: bool = True,
    replicates: int = REPLICATES,
    by: Mapping[str, Sequence[str]] | None = None,
    quiet: bool = True,
) -> MetricsReport:
    """All figures of graded studies.

    Parameters
    ----------
    table
        The predictions of one model. For the intervals, patients are drawn with all of their studies.
    decision
        Whether the decided grade is the most probable one at ``natural`` prevalence, as in ``findings.json``, or with
        the competition's ``weighted`` probabilities. Areas, Brier scores and calibration errors always use natural
        probabilities.
    tilted
        Whether the probabilities are competition-weighted. Otherwise they are natural.
    by
        For each column that makes subgroups, the group of each study.
    """
    labels, probabilities = table.grades, table.probabilities[0]
    natural = natural_prevalence(probabilities) if tilted else normalised(probabilities)
    # The competition's metric rewards probabilities times 1, 2, 4; findings.json grades by natural ones.
    weighted = normalised(natural * WEIGHTS)
    decided = (natural if decision == "natural" else weighted).argmax(axis=-1)
    counts = patient_counts(table.patients, replicates, _SEED)
    figures = partial(_pool_figures, labels, natural, decided, counts)
    every = pools()
    scores = score_replicates(labels, probabilities, counts)
    return MetricsReport(
        studies=len(labels),
        patients=len(set(table.patients)),
        left_out=len(table.left_out),
        decision=decision,
        replicates=replicates,
        score={part: score_estimate(values) for part, values in scores.items()},
        pools=[figures(pool) for pool in track(every, "figures", len(every), quiet)],
        subgroups=measure_subgroups(table, by or {}, natural, decided, counts),
    )


def _pool_figures(labels: Ints, natural: Floats, decided: Ints, counts: Floats, pool: Pool) -> PoolFigures:
    own = pool.columns
    matrices = confusions(labels[:, own], decided[:, own], counts)
    values = figure_values(labels[:, own], natural[:, own], matrices, counts)
    figures = {name: estimate(replicates, LOWEST.get(name, 0.0)) for name, replicates in values}
    return PoolFigures(pool, matrices[0].astype(np.int64), figures)
