"""Which rows each submission of an ensemble has: by condition, with and without a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from monai_spine.csv_cells import neutral
from monai_spine.files import whole_file
from monai_spine.scoring.competition import Ints
from monai_spine.spine import FINDINGS, MISSING, Condition, Group
from monai_spine.tables.out_of_fold import OutOfFold

_COLUMNS = [[n for n, finding in enumerate(FINDINGS) if finding.condition is condition] for condition in Condition]


@dataclass(frozen=True)
class RowCoverage:
    """How many rows of each condition the submissions have, ``(models, 5)``, and how many of these have a label."""

    names: tuple[str, ...]
    studies: Ints
    """``(models,)``: studies of which a submission has any row."""
    rows: Ints
    labelled: Ints
    total: int
    """Rows that any submission has."""

    @classmethod
    def of(cls, table: OutOfFold) -> RowCoverage:
        """The coverage of a table's submissions."""
        labels = table.covered & (table.grades != MISSING)
        rows, labelled = (_by_condition(which) for which in (table.covered, labels))
        studies = table.covered.any(axis=2).sum(axis=1)
        return cls(table.names, studies.astype(np.int64), rows, labelled, int(table.present.sum()))

    @property
    def is_complete(self) -> bool:
        """Whether every submission has all rows."""
        return bool((self.rows.sum(axis=1) == self.total).all())

    def as_dict(self) -> dict[str, dict[str, int]]:
        """For JSON: by submission, the studies and the rows of each condition."""
        conditions = [condition.value for condition in Condition]
        return {
            name: {"studies": int(studies), **dict(zip(conditions, map(int, rows), strict=True))}
            for name, studies, rows in zip(self.names, self.studies, self.rows, strict=True)
        }

    def to_text(self) -> str:
        """A table for people, by group of conditions."""
        width = max(16, *(len(name) + 2 for name in self.names))
        groups = [[n for n, condition in enumerate(Condition) if condition.group is group] for group in Group]
        lines = [f"{'rows':{width}}{'studies':>10}" + "".join(f"{group.value:>14}" for group in Group)]
        for name, studies, rows in zip(self.names, self.studies, self.rows, strict=True):
            lines.append(f"{name:{width}}{studies:>10}" + "".join(f"{rows[own].sum():>14}" for own in groups))
        lines.append("a row counts for the submissions that have it; the scores of a submission are those of its rows")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write a CSV with a row for each submission and condition."""
        table = pd.DataFrame(
            [
                [neutral(name), condition.value, self.rows[n, m], self.labelled[n, m], self.studies[n]]
                for n, name in enumerate(self.names)
                for m, condition in enumerate(Condition)
            ],
            columns=["submission", "condition", "rows", "labelled_rows", "studies"],
        )
        with whole_file(path) as partial:
            table.to_csv(partial, index=False)


def _by_condition(which: np.ndarray) -> Ints:
    return np.stack([which[:, :, own].sum(axis=(1, 2)) for own in _COLUMNS], axis=1).astype(np.int64)
