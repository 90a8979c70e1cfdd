"""The commands that work on CSVs of any models: score, metrics, calibrate, ensemble, audit.

Each imports what it needs when it runs, so that ``--help`` does not wait for numpy or torch.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine.errors import InvalidOptionError, counted


class Filling(str, Enum):
    """How to fill rows that a submission lacks."""

    UNIFORM = "uniform"
    PRIOR = "prior"


class Decide(str, Enum):
    """Which probabilities decide the most probable grade."""

    NATURAL = "natural"
    WEIGHTED = "weighted"


class Scaling(str, Enum):
    """The scaling after the probabilities are divided by the weights 1, 2, 4."""

    BEST = "best"
    NONE = "none"
    TEMPERATURE = "temperature"
    VECTOR = "vector"


class Combining(str, Enum):
    """How to combine submissions."""

    MEAN = "mean"
    WEIGHTED = "weighted"
    STACKED = "stacked"


Solution = Annotated[Path, typer.Argument(help="Labels: in the form of train.csv, or one-hot rows with a row_id.")]
Submission = Annotated[Path, typer.Argument(help="Out-of-fold CSV with row_id, normal_mild, moderate, severe.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Datalist = Annotated[Path | None, typer.Option(help="A datalist.json with the patient of each study.")]
Natural = Annotated[
    bool,
    typer.Option("--natural", help="The probabilities are at natural prevalence, not trained for the weights 1, 2, 4."),
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Divide rows whose sum is not 1 by it, instead of refusing them.")
]
Folds = Annotated[int, typer.Option(help="Number of folds of the cross-validation by patient.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same folds.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress on stderr.")]


def score(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Annotated[Path, typer.Argument(help="CSV with row_id, normal_mild, moderate, severe.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, not a table.")] = False,
    missing: Annotated[
        Filling | None, typer.Option("--missing", help="Fill rows that the submission lacks, and report their number.")
    ] = None,
    prior_from: Annotated[
        Path | None,
        typer.Option(
            "--prior-from", help="Learn the prior from these labels (in the form of train.csv), not from SOLUTION."
        ),
    ] = None,
    floor: Annotated[
        Path | None,
        typer.Option(
            "--floor",
            help="A phantom cohort's floor.json or truth.csv: report the share of the way from the prior to the floor.",
        ),
    ] = None,
) -> None:
    """Score a submission as in the RSNA 2024 competition.

    The score is shown beside those of the prior (the frequency of each grade, without images) and of uniform rows.

    \b
    Example:
      monai-spine score train.csv predictions.csv --json
      monai-spine score cohort/train.csv predictions.csv --floor cohort/floor.json
    """
    from monai_spine.tables.score_report import report_score

    report = report_score(solution, submission, missing.value if missing else None, prior_from, floor)
    typer.echo(report.to_json() if json else report.to_text())


def metrics(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Submission,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A JSON file to write all figures to.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, not tables.")] = False,
    decide: Annotated[
        Decide, typer.Option(help="The most probable grade: at natural prevalence, or with the weights 1, 2, 4.")
    ] = Decide.NATURAL,
    natural: Natural = False,
    datalist: Datalist = None,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Measure the quality of predictions.

    Metrics: AUC, kappa, sensitivity, specificity, calibration error and Brier score; overall, and for each group,
    condition, level, side and finding. The intervals are from a bootstrap over patients.

    \b
    Example:
      monai-spine metrics train.csv predictions.csv -o metrics.json
    """
    from monai_spine.tables.metrics_report import report_metrics

    report = report_metrics(
        solution,
        submission,
        out,
        datalist=datalist,
        decision=decide.value,
        tilted=not natural,
        normalise=normalise,
        quiet=quiet,
    )
    typer.echo(report.to_json() if json else report.to_text())


def calibrate(  # noqa: PLR0917 - options
    tables: Annotated[
        list[Path], typer.Argument(metavar="SOLUTION SUBMISSION", help="Labels, and an out-of-fold submission.")
    ],
    out: Out,
    method: Annotated[
        Scaling,
        typer.Option(
            help="The scaling after division by 1, 2, 4; best: the one with the least loss on other patients."
        ),
    ] = Scaling.BEST,
    apply: Annotated[
        Path | None, typer.Option(help="Apply this calibration.json to SUBMISSION; leave SOLUTION out.")
    ] = None,
    natural: Natural = False,
    datalist: Datalist = None,
    folds: Folds = 5,
    seed: Seed = 0,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate the probabilities of a submission.

    Divides the probabilities by the competition's weights 1, 2, 4 of the grades, which gives natural prevalence. Then
    fits temperature or vector scaling to each group of conditions. Writes calibrated.csv (natural prevalence) and
    weighted.csv (for the competition's score), both out-of-fold; calibration.json for new studies; report.json and
    reliability.png.

    \b
    Example:
      monai-spine calibrate train.csv oof.csv -o calibrated
      monai-spine calibrate new.csv --apply calibrated/calibration.json -o new_calibrated
    """
    from monai_spine.tables import calibration_report as calibration

    if apply:
        if len(tables) != 1:
            raise InvalidOptionError(f"expected one submission with --apply, but found {len(tables)} files")
        studies = calibration.apply_calibration(apply, tables[0], out, normalise)
        typer.echo(f"{counted(studies, 'study')} calibrated; see {out / 'calibrated.csv'}")
        return
    if len(tables) != 2:
        raise InvalidOptionError(f"expected SOLUTION and SUBMISSION, but found {len(tables)} files")
    solution, submission = tables
    report = calibration.calibrate(
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
    typer.echo(f"{report.to_text()}\nsee {out / 'reliability.png'}")


def ensemble(  # noqa: PLR0917 - options
    submissions: Annotated[
        list[Path], typer.Argument(metavar="SUBMISSION…", help="CSVs of different models, with the same rows.")
    ],
    out: Out,
    solution: Annotated[Path | None, typer.Option(help="Labels; the submissions must then be out-of-fold.")] = None,
    method: Annotated[
        Combining,
        typer.Option(
            help="mean of probabilities; weighted: fitted weights; stacked: also a correction by other findings."
        ),
    ] = Combining.MEAN,
    apply: Annotated[Path | None, typer.Option(help="Combine new submissions with this ensemble.json.")] = None,
    datalist: Datalist = None,
    folds: Folds = 5,
    seed: Seed = 0,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Combine the submissions of several models.

    With labels, compares the methods by nested cross-validation. Writes predictions.csv (with labels: out-of-fold) and
    ensemble.json for new submissions of the same models.

    \b
    Example:
      monai-spine ensemble a.csv b.csv c.csv -o mean
      monai-spine ensemble oof_a.csv oof_b.csv --solution train.csv --method stacked -o stacked
      monai-spine ensemble test_a.csv test_b.csv --apply stacked/ensemble.json -o test
    """
    from monai_spine.tables.ensemble_report import apply_ensemble, combine

    if apply:
        if solution or method is not Combining.MEAN:
            raise InvalidOptionError(
                "with --apply, the method comes from the file: give neither --solution nor --method"
            )
        for name, submission in apply_ensemble(apply, submissions, out, normalise).items():
            typer.echo(f"{name} <- {submission}")
    else:
        report = combine(
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
        if report:
            typer.echo(report.to_text())
    typer.echo(f"see {out / 'predictions.csv'}")


def audit(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Submission,
    out: Out,
    datalist: Annotated[
        Path | None, typer.Option(help="The datalist.json of SOLUTION: it is cleaned, and gives the pictures.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="A label is suspect if |p - y| is larger, at natural prevalence.")
    ] = 0.8,
    drop_studies: Annotated[
        int | None,
        typer.Option(min=1, help="Leave out studies with N or more suspect labels, not these labels.", metavar="N"),
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="The most labels that the contact sheet shows.")] = 60,
    natural: Natural = False,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """List labels that are probably wrong.

    They contradict the out-of-fold probabilities, so people should read them again. Writes audit.csv (most suspect
    first), thresholds.csv, audit.html (a contact sheet), and with --datalist a datalist.json without the suspect
    labels.

    \b
    Example:
      monai-spine audit train.csv oof.csv -o audit --datalist nifti/datalist.json
    """
    from monai_spine.tables.audit_report import audit as run

    report = run(
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
    typer.echo(f"{report.to_text()}\nsee {out / 'audit.html'}")


COMMANDS = (score, metrics, calibrate, ensemble, audit)
