"""All studies of a collection, one by one, to ``datalist.json`` and the tables beside it."""

import functools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep import folds as folding
from data_prep.collection import quality
from data_prep.collection.coverage_table import CoverageRow
from data_prep.collection.output_folder import (
    DATALIST,
    DatalistWriter,
    open_output,
    output_file,
    output_table,
    remove_stale,
)
from data_prep.collection.quality import Tally
from data_prep.collection.study import TEST, TRAINING, Job, Outline, StudyResult, do_study, stored_study
from data_prep.dicom.tables import REFUSED
from data_prep.faults import Fault
from data_prep.workers import run as run_all
from monai_spine.console import track
from monai_spine.data.datalist import check_no_leak
from monai_spine.errors import ExitCode, counted
from monai_spine.output_lock import output_lock

COVERAGE = "coverage.csv"
QUALITY = "quality.csv"


@dataclass(frozen=True)
class Run:
    """How a collection is run."""

    folds: int = 5
    seed: int = 0
    """``folds``, ``seed``: of the cross-validation."""
    workers: int = 1
    """Processes; each does a study at a time."""
    cluster: str | None = None
    """Address of a Dask scheduler to run on instead; its workers must see the same paths."""
    resume: bool = False
    """Keep volumes that an interrupted run finished."""
    quiet: bool = False


@dataclass(frozen=True)
class Collection:
    """The result of a collection: studies in the two sections, faults and coverage, label shares per fold."""

    out: Path
    training: int
    test: int
    tally: Tally
    shares: pd.DataFrame | None
    refused: bool
    removed: int

    @property
    def exit_code(self) -> ExitCode:
        """``DONE``, or ``SOME_REFUSED`` when a study, a series or a file was left out."""
        return ExitCode.SOME_REFUSED if self.refused else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        total = self.tally.counts.total()
        faults = counted(total, "fault") if total else "no faults"
        removed = f", {counted(self.removed, 'volume')} of an earlier run removed" if self.removed else ""
        return f"{self.training} training and {self.test} test studies, {faults}{removed}"

    def report(self) -> str:
        """The command's output: one line, the faults by code, the label shares per fold, and the files to read."""
        parts = [self.line()]
        if self.tally.counts:
            parts += ["", *quality.summary_lines(self.tally)]
        if self.shares is not None:
            parts += ["", folding.text_table(self.shares)]
        return "\n".join([*parts, "", f"see {self.out / DATALIST} and {self.out / 'quality.md'}"])


def assemble(
    jobs: Sequence[Job],
    work: Callable[[Job], StudyResult],
    out: Path,
    *,
    tables: Mapping[str, Sequence[str]],
    run: Run,
    unlisted: Iterable[Fault] = (),
) -> Collection:
    """Do all studies and write OUT: the tables first, the datalist last.

    Studies run in any order, and their results are stored on the disk until all are done; then they are written in the
    order of the jobs. So memory holds the labels of all studies, and everything else of one study only.

    Parameters
    ----------
    work
        Does one study, in any process, and may safely run twice.
    tables
        Columns of the tables that the studies' rows go to, by path in OUT.
    unlisted
        Faults of studies and files that the collection does not list.

    Raises
    ------
    OutputError
        If OUT cannot be written to.
    InvalidOptionError
        If fewer patients are left than there are folds.
    """
    with output_lock(out):
        results = open_output(out)
        numbered = list(enumerate(jobs))
        done = run_all(functools.partial(do_study, work=work, results=results), numbered, run.workers, run.cluster)
        outlines = sorted(track(done, "studies", len(numbered), run.quiet), key=lambda outline: outline.number)
        folds, shares = _folds(outlines, run)
        tally, removed = _write(out, results, outlines, folds=folds, tables=tables, unlisted=unlisted)
        sections = [outline.section for outline in outlines if outline.listed]
        refused = any(outline.refused for outline in outlines)
        counts = sections.count(TRAINING), sections.count(TEST)
        collection = Collection(out, *counts, tally, shares, refused, removed)
        _write_reports(collection)
        (results / DATALIST).replace(out / DATALIST)
        shutil.rmtree(results)
        return collection


def _folds(outlines: Sequence[Outline], run: Run) -> tuple[dict[int, int], pd.DataFrame | None]:
    """Fold of each training study by its number, and the label shares."""
    members = [outline for outline in outlines if outline.section == TRAINING and outline.listed]
    if not members:
        return {}, None
    patients = [member.patient for member in members]
    labels = np.array([member.label for member in members], dtype=np.int64)
    folds = folding.assign(patients, labels, run.folds, run.seed)
    check_no_leak(
        {"study_id": member.study, "patient_id": member.patient, "fold": fold}
        for member, fold in zip(members, folds, strict=True)
    )
    numbers = [member.number for member in members]
    return dict(zip(numbers, folds, strict=True)), folding.shares(patients, labels, folds)


def _write(
    out: Path,
    results: Path,
    outlines: Sequence[Outline],
    *,
    folds: Mapping[int, int],
    tables: Mapping[str, Sequence[str]],
    unlisted: Iterable[Fault],
) -> tuple[Tally, int]:
    """Write the tables and the datalist in one pass over the stored results."""
    tally, removed, rows_of = Tally(), 0, Counter[str]()
    with ExitStack() as stack:
        add = {name: stack.enter_context(output_table(out / name, tables[name])) for name in tables}
        add_faults = stack.enter_context(output_table(out / QUALITY, quality.COLUMNS))
        datalist = DatalistWriter(stack.enter_context(output_file(results / DATALIST)))
        for outline in sorted(outlines, key=lambda outline: outline.section == TEST):
            result = stored_study(results, outline.number)
            removed += remove_stale(out, result.folder, result.volumes)
            for name, rows in result.rows.items():
                add[name](rows)
                rows_of[name] += len(rows)
            faults = sorted(result.faults, key=quality.fault_row)
            add_faults(map(quality.fault_row, faults))
            tally.add_faults(faults)
            tally.add_coverage(CoverageRow(*cells) for cells in result.rows.get(COVERAGE, []))
            if result.entry is not None:
                fold = {"fold": folds[outline.number]} if outline.number in folds else {}
                datalist.add(outline.section, {**result.entry, **fold})
        faults = sorted(unlisted, key=quality.fault_row)
        add_faults(map(quality.fault_row, faults))
        tally.add_faults(faults)
        datalist.close()
    for name in tables:
        if Path(name).name == REFUSED and not rows_of[name]:
            (out / name).unlink()
    return tally, removed


def _write_reports(collection: Collection) -> None:
    with output_file(collection.out / "quality.md") as file:
        file.write(quality.markdown("Data quality", collection.line(), collection.tally, collection.shares))
    if collection.shares is not None:
        with output_file(collection.out / "folds.csv") as file:
            collection.shares.round(4).to_csv(file, lineterminator="\n")
