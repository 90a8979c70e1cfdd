"""The whole comparison: candidate by candidate, resumable, and a table, a picture and a JSON file at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_spine.errors import ExitCode, SpineError
from monai_spine.experiments.comparison.budget import measure
from monai_spine.experiments.comparison.candidate import Candidate, Part
from monai_spine.experiments.comparison.judge import Judge
from monai_spine.experiments.comparison.picture import write_picture
from monai_spine.experiments.comparison.table import Row, costs, to_csv, to_text
from monai_spine.experiments.comparison.training import Say, Site, evaluate, spent, train
from monai_spine.files import write_text


@dataclass(frozen=True)
class Budget:
    """What each candidate gets.

    Attributes
    ----------
    epochs
        For each network; None for as many as its configuration says.
    minutes
        In place of epochs: of processor time on a CPU, by the clock on a GPU, for all networks of a candidate together.
    """

    epochs: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to compare on what.

    Attributes
    ----------
    judge
        Of the items that every candidate is asked about; its folds are left out, one training each.
    """

    bundle: Path
    datalist: Path
    judge: Judge
    budget: Budget


@dataclass(frozen=True)
class Comparison:
    """The rows, the best first, failed ones last."""

    rows: list[Row]
    text: str

    @property
    def exit_code(self) -> ExitCode:
        """Whether all candidates could be compared."""
        return ExitCode.SOME_REFUSED if any(row.reason for row in self.rows) else ExitCode.DONE


def compare(plan: Plan, candidates: Sequence[Candidate], out: Path, say: Say) -> Comparison:
    """Train, evaluate and compare.

    Writes a folder for each candidate, ``comparison.csv``, ``comparison.json`` and ``comparison.png``. What was
    trained before with the same configuration, data and budget is not trained again; what was killed goes on after
    its last whole epoch. A candidate that fails has a row that says why.

    Raises
    ------
    SpineError
        If every candidate fails.
    """
    judge = plan.judge
    answers, spendings, reasons = {}, {}, {}
    for number, candidate in enumerate(candidates, start=1):
        root = out / candidate.name
        tell = _counted(say, f"[{number}/{len(candidates)}] {candidate.name}")
        try:
            said = {fold: _done(plan, candidate, fold, root, tell) for fold in judge.folds}
            answers[candidate.name] = judge.answers(said)
            spendings[candidate.name] = costs(
                [spent(path.parent.parent) for parts in said.values() for _, path in parts], len(candidate.parts)
            )
        except SpineError as error:
            reasons[candidate.name] = str(error)
            tell(f"failed: {error}")
        rows = _rows(candidates[:number], judge, answers, spendings, reasons)
        _write(out, rows, plan)
    if not answers:
        raise SpineError(f"every candidate failed; the first: {next(iter(reasons.values()))}")
    return Comparison(rows, to_text(rows, judge.key, judge.shown))


def _counted(say: Say, title: str) -> Say:
    return lambda text: say(f"{title}: {text}")


def _done(plan: Plan, candidate: Candidate, fold: int, root: Path, say: Say) -> list[tuple[Part, Path]]:
    """The candidate's networks of one fold, and where their predictions are."""
    made = []
    for part in candidate.parts:
        site = Site(part, plan.datalist, fold, plan.bundle, plan.judge.asked())
        folder = root / (part.name if len(candidate.parts) > 1 else "") / f"fold_{fold}"
        epochs = _epochs(plan, site, folder, len(candidate.parts), say)
        train(site, folder, epochs, root.parent / "cache", say)
        made.append((part, evaluate(site, folder, epochs, root.parent / "cache")))
    return made


def _epochs(plan: Plan, site: Site, root: Path, networks: int, say: Say) -> int | None:
    """How many epochs a network is trained for; measured once, then kept, so that a resumed run has the same."""
    if plan.budget.minutes is None:
        return plan.budget.epochs
    minutes = plan.budget.minutes / (networks * len(plan.judge.folds))
    path = root / "budget.json"
    known = _read(path)
    fingerprint = site.fingerprint(None)
    if known.get("fingerprint") == fingerprint and known.get("minutes") == minutes:
        return int(known["epochs"])
    say("measures an epoch")
    cost = measure(site, root / "probe")
    sizes = plan.judge.sizes(site.fold)
    seconds, epochs = cost.epoch(*sizes), cost.epochs(minutes, *sizes)
    say(f"an epoch costs {seconds:.1f} s, so {epochs} for {minutes:g} minutes")
    content = {"fingerprint": fingerprint, "minutes": minutes, "epochs": epochs, "epoch_seconds": round(seconds, 2)}
    write_text(path, json.dumps({**content, **cost.as_dict()}, indent=2) + "\n")
    return epochs


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _rows(
    candidates: Sequence[Candidate],
    judge: Judge,
    answers: dict[str, Any],
    spendings: dict[str, Any],
    reasons: dict[str, str],
) -> list[Row]:
    figures = judge.rows(answers)
    sign = 1.0 if judge.lower_is_better else -1.0
    rows = [
        Row(one.name, figures.get(one.name, {}), spendings.get(one.name, {}), reasons.get(one.name, ""))
        for one in candidates
    ]
    worst = float("inf")
    return sorted(rows, key=lambda row: (bool(row.reason), sign * (row.figures.get(judge.key) or worst)))


def _write(out: Path, rows: Sequence[Row], plan: Plan) -> None:
    judge = plan.judge
    write_text(out / "comparison.csv", to_csv(rows))
    content = {
        "budget": asdict(plan.budget),
        **judge.context(),
        "candidates": [row.as_dict() for row in rows],
    }
    write_text(out / "comparison.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    if any(not row.reason for row in rows):
        write_picture(out / "comparison.png", rows, judge.key, judge.title, judge.lines())
