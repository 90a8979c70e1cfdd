"""The commands that work on CSVs of any models: score, metrics, calibrate, ensemble, audit.

Each imports what it needs when it runs, so that ``--help`` does not wait for numpy or torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monai_spine.commands.options import Floor, Quiet
from monai_spine.errors import InvalidOptionError, counted, listed
from monai_spine.output_lock import output_lock

if TYPE_CHECKING:
    from monai_spine.tables.out_of_fold import OutOfFold

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


def score(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Annotated[Path, typer.Argument(help="CSV with row_id, normal_mild, moderate, severe.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, not a table.")] = False,
    missing: Annotated[
        Literal["uniform", "prior"] | None,
        typer.Option(help="Fill rows that the submission lacks, and report their number."),
    ] = None,
    prior_from: Annotated[
        Path | None,
        typer.Option(
            "--prior-from", help="Learn the prior from these labels (in the form of train.csv), not from SOLUTION."
        ),
    ] = None,
    floor: Floor = None,
) -> None:
    """Score a submission as in the RSNA 2024 competition.

    The score is shown beside those of the prior (the frequency of each grade, without images) and of uniform rows.

    \b
    Example:
      monai-spine score train.csv predictions.csv --json
      monai-spine score cohort/train.csv predictions.csv --floor cohort/floor.json
    """
    from monai_spine.tables.score_report import report_score

    report = report_score(solution, submission, missing, prior_from, floor)
    typer.echo(report.to_json() if json else report.to_text())


def metrics(  # noqa: PLR0917 - options
    solution: Solution,
    submission: Submission,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A JSON file to write all figures to.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, not tables.")] = False,
    decide: Annotated[
        Literal["natural", "weighted"],
        typer.Option(help="The most probable grade: at natural prevalence, or with the weights 1, 2, 4."),
    ] = "natural",
    natural: Natural = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[:EDGES]",
            help="Also measure subgroups by this column of --by-table; numbers are cut at edges, as in age:50,65.",
        ),
    ] = None,
    by_table: Annotated[
        Path | None, typer.Option("--by-table", help="A CSV with study_id and columns such as scanner, sex or age.")
    ] = None,
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
      monai-spine metrics train.csv predictions.csv --by sex --by age:50,65 --by-table patients.csv
    """
    from monai_spine.files import write_text
    from monai_spine.tables.metrics_report import measure
    from monai_spine.tables.out_of_fold import read_out_of_fold
    from monai_spine.tables.subgroups import read_groups

    if bool(by) != bool(by_table):
        raise InvalidOptionError("--by names columns of the table of --by-table; give both")
    table = _with_note(read_out_of_fold(solution, [submission], datalist=datalist, normalise=normalise))
    groups = read_groups(by_table, by or [], table.study_ids) if by_table else None
    report = measure(table, decision=decide, tilted=not natural, by=groups, quiet=quiet)
    if out:
        write_text(out, report.to_json() + "\n")
    typer.echo(report.to_json() if json else report.to_text())


def calibrate(  # noqa: PLR0917 - options
    tables: Annotated[
        list[Path], typer.Argument(metavar="SOLUTION SUBMISSION", help="Labels, and an out-of-fold submission.")
    ],
    out: Out,
    method: Annotated[
        Literal["best", "none", "temperature", "vector"],
        typer.Option(
            help="The scaling after division by 1, 2, 4; best: the one with the least loss on other patients."
        ),
    ] = "best",
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
    from monai_spine.tables.out_of_fold import read_out_of_fold

    if apply:
        if len(tables) != 1:
            raise InvalidOptionError(f"expected one submission with --apply, but found {counted(len(tables), 'file')}")
        with output_lock(out):
            studies = calibration.apply_calibration(apply, tables[0], out, normalise)
        typer.echo(f"{counted(studies, 'study')} calibrated; see {out / 'calibrated.csv'}")
        return
    if len(tables) != 2:
        raise InvalidOptionError(f"expected SOLUTION and SUBMISSION, but found {counted(len(tables), 'file')}")
    solution, submission = tables
    table = _with_note(read_out_of_fold(solution, [submission], datalist=datalist, normalise=normalise))
    with output_lock(out):
        report = calibration.calibrate(
            table, out, method=method, tilted=not natural, folds=folds, seed=seed, quiet=quiet
        )
    typer.echo(f"{report.to_text()}\nsee {out / 'reliability.png'}")


def ensemble(  # noqa: PLR0917 - options
    submissions: Annotated[
        list[Path],
        typer.Argument(metavar="SUBMISSION…", help="CSVs of different models; they may lack conditions or studies."),
    ],
    out: Out,
    solution: Annotated[Path | None, typer.Option(help="Labels; the submissions must then be out-of-fold.")] = None,
    method: Annotated[
        Literal["mean", "ranks", "weighted", "stacked", "boosted"],
        typer.Option(
            help="mean of probabilities; ranks: mean of ranks; weighted: fitted weights; stacked: also a correction by "
            "other findings; boosted: that correction by decision trees."
        ),
    ] = "mean",
    apply: Annotated[Path | None, typer.Option(help="Combine new submissions with this ensemble.json.")] = None,
    datalist: Datalist = None,
    folds: Folds = 5,
    seed: Seed = 0,
    normalise: Normalise = False,
    quiet: Quiet = False,
) -> None:
    """Combine the submissions of several models.

    A submission may lack conditions or studies: a row is combined from the models that have it. With labels, compares
    the methods by nested cross-validation. Writes predictions.csv (with labels: out-of-fold), coverage.csv (the rows of
    each submission), and ensemble.json for new submissions of the same models.

    \b
    Example:
      monai-spine ensemble a.csv b.csv c.csv -o mean
      monai-spine ensemble oof_a.csv oof_b.csv --solution train.csv --method stacked -o stacked
      monai-spine ensemble test_a.csv test_b.csv --apply stacked/ensemble.json -o test
    """
    from monai_spine.tables.ensemble_report import apply_ensemble, combine
    from monai_spine.tables.out_of_fold import read_out_of_fold

    if apply:
        if solution or method != "mean":
            raise InvalidOptionError(
                "with --apply, the method comes from the file: give neither --solution nor --method"
            )
        with output_lock(out):
            combined = apply_ensemble(apply, submissions, out, normalise)
        for name, submission in combined.items():
            typer.echo(f"{name} <- {submission}")
    else:
        table = _with_note(read_out_of_fold(solution, submissions, datalist=datalist, normalise=normalise))
        with output_lock(out):
            report = combine(table, out, method=method, folds=folds, seed=seed, quiet=quiet)
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
    from monai_spine.tables.out_of_fold import read_out_of_fold

    table = _with_note(read_out_of_fold(solution, [submission], datalist=datalist, normalise=normalise))
    with output_lock(out):
        report = run(
            *(table, out, datalist),
            threshold=threshold,
            drop_studies=drop_studies,
            pictures=pictures,
            tilted=not natural,
            quiet=quiet,
        )
    typer.echo(f"{report.to_text()}\nsee {out / 'audit.html'}")


def _with_note(table: OutOfFold) -> OutOfFold:
    """The table; labels that it leaves out are told on stderr."""
    if table.left_out:
        labels = counted(len(table.left_out), "label")
        typer.echo(f"note: {labels} without a row in any submission, left out: {listed(table.left_out)}", err=True)
    return table


COMMANDS = (score, metrics, calibrate, ensemble, audit)
