"""``monai-spine calibrate``: learn a calibration from out-of-fold files, and report its effect by cross-validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from monai_spine.console import track
from monai_spine.errors import counted
from monai_spine.files import write_figure, write_text
from monai_spine.scoring.competition import Floats, Ints, competition_score
from monai_spine.scoring.figures import BINS, bin_sums, calibration_errors, reliability, study_briers
from monai_spine.scoring.patient_resampling import (
    REPLICATES,
    Estimate,
    estimate,
    grouped_folds,
    out_of_fold,
    patient_counts,
)
from monai_spine.scoring.prevalence import WEIGHTS, natural_prevalence
from monai_spine.spine import MISSING, Grade, Group, columns_of
from monai_spine.tables.calibration import FLOOR, Calibration
from monai_spine.tables.out_of_fold import OutOfFold, read_out_of_fold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GIVEN, NATURAL, CALIBRATED = "as given", "tilt removed", "calibrated"
"""The stages that the table and the diagram show."""


@dataclass(frozen=True)
class CalibrationReport:
    """The effect of a calibration on patients that it was not fitted to."""

    calibration: Calibration
    figures: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    """Calibration errors, natural log loss and Brier score: by stage, then by group that has labels, then by name."""
    scores: Mapping[str, float]
    """The competition's score of the weighted probabilities, by stage; NaN unless all groups have labels."""
    studies: int
    patients: int
    folds: int
    seed: int
    """``folds``, ``seed``: of the cross-validation."""

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/calibration_report/1``."""
        stages = {
            stage: {
                "competition_score": round(self.scores[stage], 6) if np.isfinite(self.scores[stage]) else None,
                **{group: {name: e.as_dict() for name, e in of.items()} for group, of in groups.items()},
            }
            for stage, groups in self.figures.items()
        }
        content: dict[str, Any] = {
            "schema": "monai_spine/calibration_report/1",
            "studies": self.studies,
            "patients": self.patients,
            "folds": self.folds,
            "seed": self.seed,
            "bins": BINS,
            "replicates": REPLICATES,
            "chosen": {group.value: method for group, method in self.calibration.methods.items()},
            "stages": {stage.replace(" ", "_"): content for stage, content in stages.items()},
        }
        return json.dumps(content, indent=2)

    def to_text(self) -> str:
        """A table for people: every stage, each on patients that nothing was fitted to."""
        names = next(iter(self.figures[GIVEN].values()))
        lines = [f"{'group':14}{'stage':22}" + "".join(f"{name:>23}" for name in names)]
        for group in self.figures[GIVEN]:
            for stage, groups in self.figures.items():
                lines.append(f"{group:14}{stage:22}" + "".join(f"{figure!s:>23}" for figure in groups[group].values()))
            lines.append("")
        if np.isfinite(self.scores[GIVEN]):
            lines.append(f"{'':14}{'':22}{'competition score':>23}")
            lines += [*(f"{'':14}{stage:22}{score:23.4f}" for stage, score in self.scores.items()), ""]
        lines += [f"{group}: {self._sentence(Group(group))}" for group in self.figures[GIVEN]]
        lines.append(
            f"{counted(self.studies, 'study')} of {counted(self.patients, 'patient')}; fitted on other "
            f"patients' rows ({counted(self.folds, 'fold')}); "
            "95 % intervals"
        )
        return "\n".join(lines)

    def _sentence(self, group: Group) -> str:
        """The method that was chosen for a group, and what it did to the calibration error of severe."""
        before, after = (self.figures[stage][group.value]["ece_severe"].value for stage in (GIVEN, CALIBRATED))
        method = self.calibration.methods[group]
        chosen = "tilt removed, nothing else" if method == "none" else f"{method} scaling"
        return f"{chosen}; calibration error of severe {before:.4f} → {after:.4f} (÷ {before / after:.1f})"


def calibrate(
    table: OutOfFold,
    out: Path,
    *,
    method: str = "best",
    tilted: bool = True,
    folds: int = 5,
    seed: int = 0,
    quiet: bool = False,
) -> CalibrationReport:
    """Write ``calibration.json``, ``calibrated.csv``, ``weighted.csv``, ``report.json`` and ``reliability.png``.

    Both tables hold out-of-fold rows: each study's rows come from a calibration that was fitted to other patients, so
    the files may be scored. ``calibration.json`` is learnt from all studies, and is for new ones.

    ``method``, ``tilted``: see `Calibration.fit`.
    ``folds``, ``seed``: of the cross-validation by patient.
    Raises `InvalidTableError` if a group has labels of one grade only, and `InvalidOptionError` if patients are too few
    for the folds.
    """
    table.check_groups()
    # By patient: two studies of one patient share anatomy and reader.
    fold_of = grouped_folds(table.grades, table.patients, folds, seed)
    with threadpool_limits(1):  # for six parameters, more threads only wait for each other
        stages = _stages(table, fold_of, method, tilted, quiet)
        whole = _fitted(table, np.arange(len(table.study_ids)), method, tilted)
    counts = patient_counts(table.patients, seed=seed)
    report = CalibrationReport(
        calibration=whole,
        figures={
            stage: {group.value: _group_figures(table.grades, rows, counts, group) for group in table.groups}
            for stage, rows in stages.items()
        },
        scores={
            stage: competition_score(table.grades, rows if stage == GIVEN else rows * WEIGHTS).score
            for stage, rows in stages.items()
        },
        studies=len(table.study_ids),
        patients=len(set(table.patients)),
        folds=folds,
        seed=seed,
    )
    _write(out, table, report, stages)
    return report


def apply_calibration(path: Path, submission: Path, out: Path, normalise: bool = False) -> int:
    """Calibrate a new submission with a stored ``calibration.json``; write ``calibrated.csv`` and ``weighted.csv``.

    Returns the number of studies.
    """
    calibration = Calibration.read(path)
    table = read_out_of_fold(None, [submission], normalise=normalise)
    _write_tables(out, table, calibration.apply(table.probabilities[0]))
    return len(table.study_ids)


def _stages(table: OutOfFold, fold_of: np.ndarray, method: str, tilted: bool, quiet: bool) -> dict[str, Floats]:
    """Probabilities as given, with the tilt removed, and out-of-fold after each scaling; last, the requested one."""
    submitted = table.probabilities[0]
    scaled = {"temperature": "temperature", "vector": "vector", CALIBRATED: method}
    stages = {GIVEN: submitted, NATURAL: natural_prevalence(submitted) if tilted else submitted}
    for stage, method_of_stage in track(scaled.items(), "cross-validation", len(scaled), quiet):

        def fitted(training: np.ndarray, held_out: np.ndarray, method: str = method_of_stage) -> Floats:
            return _fitted(table, training, method, tilted).apply(submitted[held_out])

        stages[stage] = out_of_fold(fold_of, fitted, submitted)
    return stages


def _fitted(table: OutOfFold, studies: np.ndarray, method: str, tilted: bool) -> Calibration:
    patients = [table.patients[n] for n in studies]
    return Calibration.fit(
        table.grades[studies], table.probabilities[0, studies], patients, method=method, tilted=tilted
    )


def _group_figures(grades: Ints, probabilities: Floats, counts: Floats, group: Group) -> dict[str, Estimate]:
    own = columns_of(group)
    y, p = grades[:, own], probabilities[:, own]
    known = y != MISSING
    rows = counts @ known.sum(axis=1)
    truth = np.take_along_axis(p, np.where(known, y, 0)[..., None], axis=-1)[..., 0]
    losses = np.where(known, -np.log(np.clip(truth, FLOOR, 1)), 0.0).sum(axis=1)
    errors = {g.column: calibration_errors(counts @ bin_sums(y, p, g), rows) for g in reversed(Grade)}
    return {
        **{f"ece_{grade}": estimate(values) for grade, values in errors.items()},
        "log_loss": estimate(counts @ losses / rows, highest=np.inf),
        "brier": estimate(counts @ study_briers(y, p) / rows, highest=2.0),
    }


def _write(out: Path, table: OutOfFold, report: CalibrationReport, stages: Mapping[str, Floats]) -> None:
    report.calibration.write(out / "calibration.json")
    write_text(out / "report.json", report.to_json() + "\n")
    _write_tables(out, table, stages[CALIBRATED])
    shown = {stage: stages[stage] for stage in (GIVEN, NATURAL, CALIBRATED)}
    errors = {
        f"{group}/{grade.column}": "calibration error\n"
        + "\n".join(f"{stage} {report.figures[stage][group][f'ece_{grade.column}'].value:.4f}" for stage in shown)
        for group in report.figures[GIVEN]
        for grade in Grade
    }
    write_reliability(out / "reliability.png", table.grades, shown, errors)


def _write_tables(out: Path, table: OutOfFold, natural: Floats) -> None:
    table.write(out / "calibrated.csv", natural)
    table.write(out / "weighted.csv", natural * WEIGHTS)


_COLOURS = ("#b5b5b5", "#d98c2b", "#1f5fa8")
_MARKERS = ("o", "s", "D")


def write_reliability(path: Path, grades: Ints, stages: Mapping[str, Floats], errors: Mapping[str, str]) -> None:
    """Write reliability diagrams as PNG: a column for each group that has labels, a row for each grade.

    ``grades``: ``(studies, 25)``.
    ``stages``: by name, up to three sets of probabilities to compare, ``(studies, 25, 3)`` each.
    ``errors``: the text in the corner of each panel, by ``<group>/<grade>``: its calibration errors.
    """
    from matplotlib.figure import Figure  # imported here, so that `--apply`, which draws nothing, starts without it

    groups = [group for group in Group if (grades[:, columns_of(group)] != MISSING).any()]
    figure = Figure(figsize=(0.9 + 3.7 * len(groups), 12.6), layout="constrained", dpi=110)
    panels = figure.subplots(len(Grade), len(groups), sharex=True, sharey=True, squeeze=False)
    for row, grade in enumerate(reversed(Grade)):
        for column, group in enumerate(groups):
            own = columns_of(group)
            axes = panels[row, column]
            _panel(axes, grades[:, own], {name: rows[:, own] for name, rows in stages.items()}, grade)
            axes.set_title(f"{group.value}: {grade.title}", fontsize=12)
            axes.text(0.97, 0.03, errors[f"{group.value}/{grade.column}"], transform=axes.transAxes, **_CORNER)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(4, 2 * len(groups)), frameon=False, fontsize=12)
    figure.supxlabel("predicted probability")
    figure.supylabel("observed share")
    write_figure(path, figure)


_CORNER = {"ha": "right", "va": "bottom", "fontsize": 9.5, "family": "monospace", "linespacing": 1.4}


def _panel(axes: Axes, grades: Ints, stages: Mapping[str, Floats], grade: Grade) -> None:
    """One grade of one group. The area of a marker grows with the number of findings in its bin."""
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=(0, (4, 4)), label="perfect")
    for (name, probabilities), colour, marker in zip(stages.items(), _COLOURS, _MARKERS, strict=False):
        curve = reliability(grades, probabilities, grade)
        filled = curve.rows > 0
        predicted, observed = curve.predicted[filled], curve.observed[filled]
        size = 14 + 110 * np.sqrt(curve.rows[filled] / max(1, curve.rows.sum()))
        axes.plot(predicted, observed, color=colour, linewidth=1.6)
        axes.scatter(predicted, observed, s=size, color=colour, marker=marker, label=name)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
