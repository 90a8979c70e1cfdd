"""The whole comparison: candidate by candidate, with a table, a picture and a JSON file; it can be resumed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_spine.bundle.planned_settings import refuse_settings
from monai_spine.bundle.run import Report
from monai_spine.errors import ExitCode, InvalidOptionError, MissingInputError, SpineError, counted
from monai_spine.experiments import fold_run
from monai_spine.experiments.comparison.assessment import Assessment
from monai_spine.experiments.comparison.candidate import Candidate, Part
from monai_spine.experiments.comparison.epoch_cost import measure_epoch
from monai_spine.experiments.comparison.report import Row, costs, to_csv, to_text, write_picture
from monai_spine.experiments.fold_run import FoldRun, prefixed, read_state
from monai_spine.files import read_json, write_json, write_text
from monai_spine.output_lock import output_lock

OWN = (*fold_run.OWN, "epochs")
"""Configuration entries that a comparison sets itself."""


@dataclass(frozen=True)
class Plan:
    """On which data to compare, and with which budget for each candidate."""

    bundle: Path
    datalist: Path
    assessment: Assessment
    """The items that every candidate predicts, and the folds that are left out, one training for each."""
    epochs: int | None = None
    """For each network; None for as many as its configuration has."""
    minutes: float | None = None
    """Instead of epochs: minutes for all networks and folds of a candidate together, of processor time on a CPU, by the
    clock on a GPU."""


@dataclass(frozen=True)
class Comparison:
    """The rows, the best first and failed ones last, and the table of them."""

    rows: list[Row]
    text: str

    @property
    def exit_code(self) -> ExitCode:
        """Whether all candidates could be compared."""
        return ExitCode.SOME_REFUSED if any(row.reason for row in self.rows) else ExitCode.DONE


def assessment_of(datalist: Path, folds: Sequence[int], test: Path | None, floor: Path | None) -> Assessment:
    """The assessment for a datalist of studies or of images; see `StudyAssessment` and `ImageAssessment`.

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` as for these, and if the datalist is not
    JSON, or there is a floor for images.
    """
    if not datalist.is_file():
        raise MissingInputError(f"expected a datalist, but there is no file {datalist}")
    content = read_json(datalist)
    if not isinstance(content, dict) or "classes" not in content:
        from monai_spine.experiments.comparison.study_assessment import StudyAssessment

        return StudyAssessment(datalist, folds, test, floor)
    if floor:
        raise InvalidOptionError("--floor is for studies of phantoms; leave it out for images")
    from monai_spine.experiments.comparison.image_assessment import ImageAssessment

    return ImageAssessment(datalist, folds, test)


def compare(plan: Plan, candidates: Sequence[Candidate], out: Path, report: Report) -> Comparison:
    """Train, evaluate and compare.

    Writes a folder for each candidate, ``comparison.csv``, ``comparison.json`` and ``comparison.png``. A network that
    was trained with the same configuration, data and budget is not trained again. A training that was killed resumes
    after its last complete epoch. A candidate that fails has a row with the reason.

    Raises `InvalidOptionError` if a setting is unknown or impossible; then nothing is written.
    Raises `SpineError` if every candidate fails, and `OutputError` if another process works in ``out``.
    """
    for candidate in candidates:
        for part in candidate.parts:
            refuse_settings(part.configs, part.settings)
    with output_lock(out):
        return _compared(plan, candidates, out, report)


def _compared(plan: Plan, candidates: Sequence[Candidate], out: Path, report: Report) -> Comparison:
    assessment = plan.assessment
    predictions: dict[str, Any] = {}
    costs_of: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for number, candidate in enumerate(candidates, start=1):
        report_own = prefixed(report, f"[{number}/{len(candidates)}] {candidate.name}: ")
        try:
            runs = {
                fold: _run_fold(plan, candidate, fold, out / candidate.name, report_own) for fold in assessment.folds
            }
            predictions[candidate.name] = assessment.predictions(
                {fold: [(part, run.predictions) for part, run in parts] for fold, parts in runs.items()}
            )
            records = [run.records for parts in runs.values() for _, run in parts]
            costs_of[candidate.name] = costs(records, len(candidate.parts))
        except SpineError as error:
            reasons[candidate.name] = str(error)
            report_own(f"failed: {error}")
        # After each candidate, so that a comparison that is killed leaves the table of those before.
        figures = assessment.rows(predictions)
        rows = _sorted(
            [
                Row(one.name, figures.get(one.name, {}), costs_of.get(one.name, {}), reasons.get(one.name, ""))
                for one in candidates[:number]
            ],
            assessment,
        )
        _write(out, rows, plan)
    if not predictions:
        raise SpineError(f"every candidate failed; the first: {next(iter(reasons.values()))}")
    return Comparison(rows, to_text(rows, assessment.key, assessment.shown))


def _run_fold(plan: Plan, candidate: Candidate, fold: int, root: Path, report: Report) -> list[tuple[Part, FoldRun]]:
    """Train and evaluate a candidate's networks on one fold."""
    runs = []
    for part in candidate.parts:
        folder = root / (part.name if len(candidate.parts) > 1 else "") / f"fold_{fold}"
        cache = root.parent / "cache" if part.entry("cache_dir") is not None else None
        run = FoldRun(part.configs, part.settings, plan.bundle, plan.datalist, fold, folder, cache=cache)
        epochs = _epochs(plan, run, part, len(candidate.parts), report)
        run = replace(run, epochs=epochs, evaluated=plan.assessment.evaluated())
        run.train(report)
        run.evaluate()
        runs.append((part, run))
    return runs


def _epochs(plan: Plan, run: FoldRun, part: Part, networks: int, report: Report) -> int | None:
    """How many epochs to train a network. The number is measured once and saved, so that a resumed run has the same."""
    if plan.minutes is None:
        return plan.epochs
    # A candidate of several networks gets no more time than one of a single network.
    minutes = plan.minutes / (networks * len(plan.assessment.folds))
    path = run.root / "budget.json"
    state = read_state(path)
    if state.get("fingerprint") == run.fingerprint and state.get("minutes") == minutes:
        return int(state["epochs"])
    report("measures an epoch")
    cost = measure_epoch(run, part.entry("batch_size"))
    sizes = plan.assessment.sizes(run.fold)
    seconds, epochs = cost.epoch(*sizes), cost.epochs(minutes, *sizes)
    report(f"an epoch costs {seconds:.1f} s, so {counted(epochs, 'epoch')} for {minutes:g} min")
    content = {"fingerprint": run.fingerprint, "minutes": minutes, "epochs": epochs, "epoch_seconds": round(seconds, 2)}
    write_json(path, {**content, **cost.as_dict()})
    return epochs


def _sorted(rows: Sequence[Row], assessment: Assessment) -> list[Row]:
    """The best first; rows without the figure after those with it; failed ones last."""
    sign, worst = 1.0 if assessment.lower_is_better else -1.0, float("inf")

    def rank(row: Row) -> tuple[bool, float]:
        figure = row.figures.get(assessment.key)
        return bool(row.reason), worst if figure is None else sign * figure

    return sorted(rows, key=rank)


def _write(out: Path, rows: Sequence[Row], plan: Plan) -> None:
    assessment = plan.assessment
    write_text(out / "comparison.csv", to_csv(rows))
    content = {
        "budget": {"epochs": plan.epochs, "minutes": plan.minutes},
        **assessment.context(),
        "candidates": [row.as_dict() for row in rows],
    }
    write_json(out / "comparison.json", content)
    if any(not row.reason for row in rows):
        write_picture(out / "comparison.png", rows, assessment.key, assessment.title, assessment.lines())
