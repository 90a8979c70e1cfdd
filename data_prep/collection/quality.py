"""The data-quality report that people read: faults by kind, and which findings the images cover."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from data_prep.collection.cover_table import CoverRow
from data_prep.collection.faults import MEANINGS, Fault, FaultKind
from monai_spine.data.coverage import VIEWS
from monai_spine.errors import listed
from monai_spine.spine import FINDINGS, Group, Level, SeriesType

COLUMNS = ("study_id", "series_id", "target", "kind", "detail")
EXAMPLES = 5
"""Studies that are named for each kind of fault."""


@dataclass
class Tally:
    """Faults and cover, counted while studies go by.

    Attributes
    ----------
    studies
        The studies of each kind of fault.
    examples
        The first fault of each kind.
    served
        Findings by group, level and how they are served: the view's number, ``none`` or ``unknown``.
    """

    counts: Counter[FaultKind] = field(default_factory=Counter)
    studies: dict[FaultKind, list[str]] = field(default_factory=lambda: defaultdict(list))
    examples: dict[FaultKind, Fault] = field(default_factory=dict)
    served: Counter[tuple[Group, Level, str]] = field(default_factory=Counter)

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Count a study's faults."""
        for fault in faults:
            self.counts[fault.kind] += 1
            self.examples.setdefault(fault.kind, fault)
            if fault.study_id and fault.study_id not in self.studies[fault.kind][-1:]:
                self.studies[fault.kind].append(fault.study_id)

    def add_cover(self, rows: Iterable[CoverRow]) -> None:
        """Count a study's rows of ``coverage.csv``."""
        best: dict[str, str] = {}
        for row in rows:
            if row.serves == "yes":
                best[row.target] = min(row.view, best.get(row.target, row.view))
            elif row.target:
                best.setdefault(row.target, "none" if row.serves else "unknown")
        for finding in FINDINGS:
            if finding.name in best:
                self.served[finding.condition.group, finding.level, best[finding.name]] += 1


def summary_lines(tally: Tally) -> list[str]:
    """A line for each kind of fault, the most frequent first."""
    if not tally.counts:
        return ["no faults"]
    width = max(len(kind.value) for kind in tally.counts)
    return [
        f"{count:>6} {kind.value:<{width}}  {_studies(len(tally.studies[kind])):>12}  {MEANINGS[kind]}"
        for kind, count in tally.counts.most_common()
    ]


def _studies(count: int) -> str:
    return f"{count} {'study' if count == 1 else 'studies'}" if count else ""


def markdown(title: str, line: str, tally: Tally, shares: pd.DataFrame | None) -> str:
    """``quality.md``."""
    parts = [f"# {title}", line + ".", "## Faults", *_fault_table(tally)]
    parts += ["## Which findings the images cover", *_cover_table(tally)]
    if shares is not None:
        parts += [
            "## Folds",
            "Shares in per cent of graded findings; of studies for any severe canal.",
            fold_table(shares),
        ]
    return "\n\n".join(parts) + "\n"


def _fault_table(tally: Tally) -> list[str]:
    if not tally.counts:
        return ["None."]
    rows = [
        f"| {kind.value} | {count} | {len(tally.studies[kind])} | {MEANINGS[kind]} "
        f"| {_escaped(listed(tally.studies[kind], shown=EXAMPLES))} | {_escaped(_example(tally.examples[kind]))} |"
        for kind, count in tally.counts.most_common()
    ]
    head = "| kind | times | studies | meaning | which studies | the first |\n|---|--:|--:|---|---|---|"
    return ["Each one is a row of `quality.csv`.", "\n".join([head, *rows])]


def _example(fault: Fault) -> str:
    return ": ".join(part for part in (fault.target, fault.detail) if part)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _cover_table(tally: Tally) -> list[str]:
    if not tally.served:
        return ["Not known: no study has points."]
    views = [(group, str(n), kind) for group, kinds in VIEWS.items() for n, kind in enumerate(kinds, start=1)]
    names = [f"{group.value}: {_view_name(number, kind)}" for group, number, kind in views]
    rows = [
        f"| {level.title} | " + " | ".join(_served(tally, group, level, number) for group, number, _ in views) + " |"
        for level in Level
    ]
    head = "| level | " + " | ".join(names) + " |\n|---" + "|--:" * len(names) + "|"
    text = (
        "Share of findings whose point a stack shows, in per cent. "
        "What stands in is counted where the first view shows nothing."
    )
    return [text, "\n".join([head, *rows])]


def _view_name(number: str, kind: SeriesType) -> str:
    return kind.title if number == "1" else f"{kind.title} stands in"


def _served(tally: Tally, group: Group, level: Level, view: str) -> str:
    known = {how: n for (g, at, how), n in tally.served.items() if (g, at) == (group, level) and how != "unknown"}
    total = sum(known.values())
    return f"{100 * known.get(view, 0) / total:.1f}" if total else "–"


def fold_table(shares: pd.DataFrame) -> str:
    """Label shares as a Markdown table, a column per fold, in per cent."""
    counts = {"studies", "patients"}
    rows = [
        "| "
        + " | ".join(
            [str(name).replace("_", " "), *(f"{v:.0f}" if name in counts else f"{100 * v:.1f}" for v in column)]
        )
        + " |"
        for name, column in shares.items()
    ]
    head = "| fold | " + " | ".join(map(str, shares.index)) + " |\n|---" + "|--:" * len(shares) + "|"
    return "\n".join([head, *rows])
