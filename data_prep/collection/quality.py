"""The data-quality report that people read: faults by code, and which findings the images cover."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from data_prep.collection.coverage_table import CoverageRow
from data_prep.faults import Fault, FaultCode
from monai_spine.data.coverage import VIEWS
from monai_spine.errors import counted, listed
from monai_spine.spine import FINDINGS, Group, Level

COLUMNS = ("study_id", "series_id", "target", "code", "detail")
EXAMPLES = 5
"""Studies that are named for each code."""


def fault_row(fault: Fault) -> tuple[str, ...]:
    """A row of ``quality.csv``; faults are sorted by it."""
    return (fault.study, fault.series, "".join(fault.targets), fault.code.name, fault.detail)


@dataclass
class Tally:
    """Faults and coverage, counted while studies go by."""

    counts: Counter[FaultCode] = field(default_factory=Counter)
    studies: dict[FaultCode, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The studies of each code."""
    examples: dict[FaultCode, Fault] = field(default_factory=dict)
    """The first fault of each code."""
    shown: Counter[tuple[Group, Level, str]] = field(default_factory=Counter)
    """Findings by group, level and the view that shows them: the view's number, ``none`` or ``unknown``."""

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Count a study's faults."""
        for fault in faults:
            self.counts[fault.code] += 1
            self.examples.setdefault(fault.code, fault)
            if fault.study and fault.study not in self.studies[fault.code][-1:]:
                self.studies[fault.code].append(fault.study)

    def add_coverage(self, rows: Iterable[CoverageRow]) -> None:
        """Count a study's rows of ``coverage.csv``."""
        best: dict[str, str] = {}
        for row in rows:
            if row.source == "yes":
                best[row.target] = min(row.view, best.get(row.target, row.view))
            elif row.target:
                best.setdefault(row.target, "none" if row.source else "unknown")
        for finding in FINDINGS:
            if finding.name in best:
                self.shown[finding.condition.group, finding.level, best[finding.name]] += 1


def summary_lines(tally: Tally) -> list[str]:
    """A line for each code, the most frequent first."""
    if not tally.counts:
        return ["no faults"]
    width = max(len(code.name) for code in tally.counts)
    studies = {code: counted(len(named), "study") for code, named in tally.studies.items() if named}
    return [
        f"{count:>6} {code.name:<{width}}  {studies.get(code, ''):>12}  {code.explanation.title}"
        for code, count in tally.counts.most_common()
    ]


def markdown(title: str, line: str, tally: Tally, shares: pd.DataFrame | None) -> str:
    """``quality.md``."""
    parts = [f"# {title}", line + ".", "## Faults", *_fault_table(tally)]
    parts += ["## Which findings the images cover", *_coverage_table(tally)]
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
        f"| {code.name} | {count} | {len(tally.studies[code])} | {code.explanation.title} "
        f"| {_escaped(listed(tally.studies[code], shown=EXAMPLES))} | {_escaped(_example(tally.examples[code]))} |"
        for code, count in tally.counts.most_common()
    ]
    head = "| code | times | studies | meaning | which studies | the first |\n|---|--:|--:|---|---|---|"
    return ["Each one is a row of `quality.csv`.", "\n".join([head, *rows])]


def _example(fault: Fault) -> str:
    return ": ".join(part for part in (*fault.targets, fault.detail) if part)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _coverage_table(tally: Tally) -> list[str]:
    if not tally.shown:
        return ["Not known: no study has points."]
    views = [
        (group, str(n), series_type)
        for group, series_types in VIEWS.items()
        for n, series_type in enumerate(series_types, start=1)
    ]
    names = [f"{group.value}: {one.title}{'' if number == '1' else ' as substitute'}" for group, number, one in views]
    rows = [
        f"| {level.title} | "
        + " | ".join(_share_shown(tally, group, level, number) for group, number, _ in views)
        + " |"
        for level in Level
    ]
    head = "| level | " + " | ".join(names) + " |\n|---" + "|--:" * len(names) + "|"
    text = (
        "Share of findings whose point a stack shows, in per cent. "
        "A substitute series is counted where the first series type shows nothing."
    )
    return [text, "\n".join([head, *rows])]


def _share_shown(tally: Tally, group: Group, level: Level, view: str) -> str:
    known = {by: n for (g, at, by), n in tally.shown.items() if (g, at) == (group, level) and by != "unknown"}
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
