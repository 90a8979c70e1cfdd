"""The commands that work on CSVs of anyone's models: score, metrics, calibrate, ensemble, audit.

Each imports what it needs when it runs.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine.errors import InvalidOptionError


class Filling(str, Enum):
    """What to put in place of rows that a submission lacks."""

    UNIFORM = "uniform"
    PRIOR = "prior"


class Decide(str, Enum):
    """With which probabilities the most probable grade is decided."""

    NATURAL = "natural"
    WEIGHTED = "weighted"


class Scaling(str, Enum):
    """How to calibrate after the tilt is removed."""

    BEST = "best"
    NONE = "none"
    TEMPERATURE = "temperature"
    VECTOR = "vector"


class Combining(str, Enum):
    """How to make one answer of several."""

    MEAN = "mean"
    WEIGHTED = "weighted"
    STACKED = "stacked"


Solution = Annotated[Path, typer.Argument(help="Labels: train.csv's form, or one-hot rows with a row_id.")]
Submission = Annotated[Path, typer.Argument(help="Out-of-fold CSV with row_id, normal_mild, moderate, severe.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Datalist = Annotated[Path | None, typer.Option(help="A datalist.json that says whose studies they are.")]
Natural = Annotated[
    bool, typer.Option("--natural", help="Probabilities are at natural prevalence, not trained for weights 1, 2, 4.")
]
Normalise = Annotated[bool, typer.Option("--normalise", help="Divide rows by their sums instead of refusing them.")]
Folds = Annotated[int, typer.Option(help="Folds of the cross-validation, by patient.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same folds.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


def score(  # noqa: PLR0917 - options
    solution: Annotated[Path, typer.Argument(help="Labels: train.csv's form, or one-hot rows with a row_id.")],
    submission: Annotated[Path, typer.Argument(help="CSV with row_id, normal_mild, moderate, severe.")],
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")] = False,
    missing: Annotated[
        Filling | None, typer.Option("--missing", help="Fill rows that the submission lacks, and say how many.")
    ] = None,
    prior_from: Annotated[
        Path | None,
        typer.Option("--prior-from", help="Take the prior from these labels (train.csv's form), not from SOLUTION."),
    ] = None,
    floor: Annotated[
        Path | None,
        typer.Option("--floor", help="A phantom cohort's floor.json or truth.csv: say how far the way to it has been."),
    ] = None,
) -> None:
    """Score a submission as the RSNA 2024 competition does, beside the per-level prior and uniform answers.

    \b
    Example:
      monai-spine score train.csv predictions.csv --json
      monai-spine score cohort/train.csv predictions.csv --floor cohort/floor.json
    """
    from monai_spine.tables.submission_score import compare

    comparison = compare(solution, submission, missing.value if missing else None, prior_from, floor)
    typer.echo(comparison.to_json() if json else comparison.to_text())


def metrics(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Submission,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="JSON file for all figures.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of tables.")] = False,
    decide: Annotated[
        Decide, typer.Option(help="Take the most probable grade at natural prevalence, or of weighted probabilities.")
    ] = Decide.NATURAL,
    natural: Natural = False,
    datalist: Datalist = None,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Measure grades: AUC, kappas, sensitivity, specificity, calibration error, Brier, with confidence intervals.

    Overall, per group, condition, level, side and finding; intervals by drawing patients anew.

    \b
    Example:
      monai-spine metrics train.csv predictions.csv -o metrics.json
    """
    from monai_spine.tables.summary import run_metrics

    found = run_metrics(
        solution,
        submission,
        out,
        datalist=datalist,
        decision=decide.value,
        tilted=not natural,
        normalise=normalise,
        quiet=quiet,
    )
    typer.echo(found.to_json() if json else found.to_text())


def calibrate(  # noqa: PLR0917 - options
    tables: Annotated[
        list[Path], typer.Argument(metavar="SOLUTION SUBMISSION", help="Labels, and an out-of-fold submission.")
    ],
    out: Out,
    method: Annotated[
        Scaling, typer.Option(help="After removing the tilt; best: whichever serves other patients best, by group.")
    ] = Scaling.BEST,
    apply: Annotated[
        Path | None, typer.Option(help="A calibration.json: apply it to SUBMISSION, with no SOLUTION.")
    ] = None,
    natural: Natural = False,
    datalist: Datalist = None,
    folds: Folds = 5,
    seed: Seed = 0,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate probabilities: remove the 1, 2, 4 tilt, then temperature or vector scaling per group of conditions.

    Writes calibrated.csv (natural prevalence) and weighted.csv (for the competition's score), both out-of-fold;
    calibration.json for new studies; report.json and reliability.png.

    \b
    Example:
      monai-spine calibrate train.csv oof.csv -o calibrated
      monai-spine calibrate new.csv --apply calibrated/calibration.json -o new_calibrated
    """
    from monai_spine.tables.calibration import calibrate as command

    if apply:
        if len(tables) != 1:
            raise InvalidOptionError(f"expected one submission with --apply, but given {len(tables)} files")
        studies = command.apply_calibration(apply, tables[0], out, normalise)
        typer.echo(f"{studies} studies calibrated; see {out / 'calibrated.csv'}")
        return
    if len(tables) != 2:
        raise InvalidOptionError(f"expected SOLUTION and SUBMISSION, but given {len(tables)} files")
    solution, submission = tables
    found = command.calibrate(
        solution,
        submission,
        out,
        datalist=datalist,
        method=method.value,
        tilted=not natural,
        folds=folds,
        seed=seed,
        normalise=normalise,
        quiet=quiet,
    )
    typer.echo(f"{found.to_text()}\nsee {out / 'reliability.png'}")


def ensemble(  # noqa: PLR0917 - options
    submissions: Annotated[
        list[Path], typer.Argument(metavar="SUBMISSION…", help="CSVs of different models for the same rows.")
    ],
    out: Out,
    solution: Annotated[Path | None, typer.Option(help="Labels; the submissions are out-of-fold then.")] = None,
    method: Annotated[
        Combining, typer.Option(help="Mean of probabilities; with fitted weights; and corrected from all findings.")
    ] = Combining.MEAN,
    apply: Annotated[Path | None, typer.Option(help="An ensemble.json: combine new submissions as it says.")] = None,
    datalist: Datalist = None,
    folds: Folds = 5,
    seed: Seed = 0,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Combine submissions of several models; with labels, say by nested cross-validation what pays.

    Writes predictions.csv (with labels: out-of-fold) and ensemble.json for new submissions of the same models.

    \b
    Example:
      monai-spine ensemble a.csv b.csv c.csv -o mean
      monai-spine ensemble oof_a.csv oof_b.csv --solution train.csv --method stacked -o stacked
      monai-spine ensemble test_a.csv test_b.csv --apply stacked/ensemble.json -o test
    """
    from monai_spine.tables.ensemble.combine import apply_ensemble, combine

    if apply:
        if solution or method is not Combining.MEAN:
            raise InvalidOptionError("--apply takes the method from its file: give neither --solution nor --method")
        for name, taken in apply_ensemble(apply, submissions, out, normalise).items():
            typer.echo(f"{name} <- {taken}")
    else:
        comparison = combine(
            submissions,
            out,
            solution,
            method=method.value,
            datalist=datalist,
            folds=folds,
            seed=seed,
            normalise=normalise,
            quiet=quiet,
        )
        if comparison:
            typer.echo(comparison.to_text())
    typer.echo(f"see {out / 'predictions.csv'}")


def audit(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Submission,
    out: Out,
    datalist: Annotated[
        Path | None, typer.Option(help="The solution's datalist.json, to be cleaned, and for pictures.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Suspicious: |p - y| above it, at natural prevalence.")] = 0.8,
    drop_studies: Annotated[
        int | None,
        typer.Option(min=1, help="Leave out studies with so many suspicious labels, not those labels.", metavar="N"),
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="The most labels that the contact sheet shows.")] = 60,
    natural: Natural = False,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """List labels that out-of-fold probabilities contradict, for people to read again.

    Writes audit.csv (most suspicious first), thresholds.csv, audit.html (a contact sheet), and with --datalist a
    datalist.json without the suspicious labels.

    \b
    Example:
      monai-spine audit train.csv oof.csv -o audit --datalist nifti/datalist.json
    """
    from monai_spine.tables.audit.run import audit as run

    found = run(
        solution,
        submission,
        out,
        datalist=datalist,
        threshold=threshold,
        drop_studies=drop_studies,
        pictures=pictures,
        tilted=not natural,
        normalise=normalise,
        quiet=quiet,
    )
    typer.echo(f"{found.to_text()}\nsee {out / 'audit.html'}")


COMMANDS = (score, metrics, calibrate, ensemble, audit)
