"""``monai-spine audit``: a list of labels to read again, and a datalist without them, from out-of-fold files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from monai_spine.csv_cells import neutral
from monai_spine.errors import InvalidOptionError, counted
from monai_spine.files import write_json, write_text
from monai_spine.scoring.competition import JEFFREYS, Floats, Ints, against_prior, level_prior, row_losses
from monai_spine.scoring.prevalence import natural_prevalence, normalised
from monai_spine.spine import MISSING, Grade
from monai_spine.tables.audit_sheet import cards, contact_sheet
from monai_spine.tables.out_of_fold import OutOfFold
from monai_spine.tables.suspects import (
    Suspect,
    ThresholdRow,
    check_same_labels,
    cleaned_datalist,
    find_suspects,
    read_entries,
    threshold_table,
)


@dataclass(frozen=True)
class AuditReport:
    """Suspect labels, and what other thresholds would flag.

    ``loss``, ``prior``: mean log loss of the submission's probabilities, and of the prior of the solution's labels.
    """

    suspects: Sequence[Suspect]
    table: Sequence[ThresholdRow]
    threshold: float
    studies: int
    labels: int
    loss: float
    prior: float

    @property
    def warning(self) -> str:
        """What to say before the list if the model knows less than the prior; else empty."""
        if self.loss < self.prior:
            return ""
        return (
            f"log loss {self.loss:.4f} (lower is better), {against_prior(self.loss, self.prior)}. A label is suspect "
            "where it contradicts the model, so do not trust this list; train a better model first"
        )

    def to_text(self) -> str:
        """The table of thresholds, and how many labels are suspect; first a warning, if there is one."""
        heads = [
            "|p - y| above",
            "labels",
            "of all",
            *(group.value for group in self.table[0].of_group),
            "studies with any",
        ]
        lines = [f"warning: {self.warning}"] if self.warning else []
        lines.append("".join(f"{head:>17}" for head in heads))
        for row in self.table:
            shares = "".join(f"{share:17.1%}" for share in [row.share, *row.of_group.values()])
            lines.append(f"{row.threshold:17.2f}{row.flagged:17}{shares}{row.studies:17}")
        studies = len({one.study_id for one in self.suspects})
        lines.append(
            f"{len(self.suspects)} of {counted(self.labels, 'label')} are suspect at {self.threshold:g}, "
            f"in {studies} of {counted(self.studies, 'study')}"
        )
        return "\n".join(lines)


def audit(
    table: OutOfFold,
    out: Path,
    datalist: Path | None = None,
    *,
    threshold: float = 0.8,
    drop_studies: int | None = None,
    pictures: int = 60,
    tilted: bool = True,
    quiet: bool = False,
) -> AuditReport:
    """Write ``audit.csv``, ``thresholds.csv`` and ``audit.html``, and with a datalist a cleaned ``datalist.json``.

    Raises `InvalidOptionError` if the threshold is not between 0 and 1, and `MissingInputError` or `InvalidTableError`
    if the datalist does not exist, or has other labels than the solution.

    Parameters
    ----------
    table
        Predictions of a model that was not trained on these labels.
    threshold
        Labels with a larger error are suspect; see `monai_spine.tables.suspects`.
    drop_studies
        Leave out studies with at least so many suspect labels, instead of removing these labels.
    pictures
        The most labels that the contact sheet shows.
    tilted
        Whether the submission is competition-weighted.
    """
    if not 0 < threshold < 1:
        raise InvalidOptionError(f"expected a threshold between 0 and 1, but found --threshold {threshold:g}")
    if drop_studies is not None and datalist is None:
        raise InvalidOptionError("--drop-studies removes studies from a datalist: give the datalist with --datalist")
    # With the tilt, severe grades would be suspected too seldom and normal ones too often.
    natural = natural_prevalence(table.probabilities[0]) if tilted else table.probabilities[0]
    suspects = find_suspects(table.study_ids, table.grades, natural, threshold)
    entries = read_entries(datalist) if datalist else {}
    if datalist:
        check_same_labels(datalist, entries, suspects)
        content = cleaned_datalist(datalist, suspects, out, drop_studies)
        write_json(out / "datalist.json", content, indent=1)
    loss, prior = _losses(table.grades, table.probabilities[0], tilted)
    report = AuditReport(
        suspects=suspects,
        table=threshold_table(table.grades, natural),
        threshold=threshold,
        studies=len(table.study_ids),
        labels=int((table.grades != MISSING).sum()),
        loss=loss,
        prior=prior,
    )
    _write_tables(out, report)
    shown = cards(suspects[:pictures], entries, datalist.parent if datalist else out, quiet)
    page = contact_sheet(
        shown, len(suspects), threshold, report.table, report.studies, report.labels, warning=report.warning
    )
    write_text(out / "audit.html", page)
    return report


def _losses(grades: Ints, probabilities: Floats, tilted: bool) -> tuple[float, float]:
    """Mean log losses of probabilities and of the prior of the same labels; weighted if both are tilted."""
    prior = level_prior(grades, JEFFREYS)
    rows = np.broadcast_to(prior if tilted else natural_prevalence(prior), probabilities.shape)
    losses = [row_losses(grades, normalised(one)) for one in (probabilities, rows)]
    counts = [weights if tilted else weights > 0 for _, weights in losses]
    own, of_prior = (
        float((loss * weights).sum() / max(weights.sum(), 1)) for (loss, _), weights in zip(losses, counts, strict=True)
    )
    return own, of_prior


def _write_tables(out: Path, report: AuditReport) -> None:
    rows = pd.DataFrame([_row(rank, one) for rank, one in enumerate(report.suspects, start=1)], columns=_COLUMNS)
    write_text(out / "audit.csv", rows.map(neutral).to_csv(index=False, float_format="%.6g"))
    thresholds = [
        {
            "threshold": row.threshold,
            "labels": row.flagged,
            "share": row.share,
            **{f"share_{group.value}": share for group, share in row.of_group.items()},
            "studies": row.studies,
        }
        for row in report.table
    ]
    write_text(out / "thresholds.csv", pd.DataFrame(thresholds).to_csv(index=False, float_format="%.6g"))


_COLUMNS = [
    *("rank", "row_id", "study_id", "condition", "level", "label", "likeliest"),
    *(grade.column for grade in Grade),
    *("error", "expected_distance"),
]


def _row(rank: int, one: Suspect) -> list[object]:
    finding = one.finding
    names = [finding.row_id(one.study_id), one.study_id, finding.condition.value, finding.level.value]
    return [rank, *names, one.label.title, one.likeliest.title, *one.probabilities, one.error, one.distance]
