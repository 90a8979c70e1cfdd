"""``monai-spine``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine import __version__, console, search_commands, table_commands

app = typer.Typer(
    help="Graded degenerative findings from lumbar-spine MRI. Research software: not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings={"default_map": {"help": False}},  # no None to coerce, for which typer imports pydantic
)


class Filling(str, Enum):
    """What to put in place of rows that a submission lacks."""

    UNIFORM = "uniform"
    PRIOR = "prior"


class NameBy(str, Enum):
    """What studies made of DICOM are called by."""

    UID = "uid"
    FOLDER = "folder"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What every command takes."""


@app.command()
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
    from monai_spine.leaderboard import compare

    comparison = compare(solution, submission, missing.value if missing else None, prior_from, floor)
    typer.echo(comparison.to_json() if json else comparison.to_text())


@app.command()
def locate(  # noqa: PLR0917 - options
    inputs: Annotated[
        list[Path], typer.Argument(metavar="NIFTI…", help="NIfTI files, folders of studies, or datalists.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for points.csv and what belongs to it.")],
    model: Annotated[Path | None, typer.Option(help="A localizer's bundle, not the one shipped.")] = None,
    recess_model: Annotated[
        Path | None, typer.Option("--recess-model", help="A recess localizer's bundle, not the one shipped.")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Look for the recesses in axial slices, or project them.")
    ] = True,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default a GPU where there is one.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Find the lumbar levels in sagittal volumes: canal, foramina and recesses as points in RAS mm.

    A volume without a lumbar spine, or whose slices are not sagittal, gets no points and a line in volumes.csv.
    Recesses are looked for in the axial slice nearest to them; one that is not seen there is projected, and flagged so.

    \b
    Example:
      monai-spine locate sagittal_t2.nii.gz -o points
      monai-spine locate nifti/datalist.json -o points --device cuda
    """
    from monai_spine.levels import locator, recess_locator
    from monai_spine.levels.locate import locate as run

    levels = locator.LevelLocator.from_bundle(model or locator.BUNDLE, device)
    recesses = (
        recess_locator.RecessLocator.from_bundle(recess_model or recess_locator.BUNDLE, device) if refine else None
    )
    summary = run(inputs, out, levels, recesses, quiet=quiet)
    typer.echo(f"{summary.line()}; see {out / 'points.csv'}")
    raise typer.Exit(summary.exit_code)


@app.command()
def predict(  # noqa: PLR0917 - options
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tables and a folder for each study.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="IN…", help="Further inputs, as -i takes them.")] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "-i", "--input", help="DICOM (folder, file, zip), a folder of NIfTI studies, NIfTI files, a datalist."
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="BUNDLE[+PRESET]", help="A grader, not the one shipped; repeat to average several."),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of weights, not BUNDLE/models; one for each --model."),
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Grade each study in a mirror, too, and take the mean.")] = False,
    level_model: Annotated[
        Path | None, typer.Option("--level-model", help="A level localizer's bundle, not the one shipped.")
    ] = None,
    recess_model: Annotated[
        Path | None, typer.Option("--recess-model", help="A recess localizer's bundle, not the one shipped.")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Look for the recesses in axial slices, or project them.")
    ] = True,
    given_points: Annotated[
        bool, typer.Option("--given-points", help="Use a datalist's points instead of looking for the levels.")
    ] = False,
    name_by: Annotated[NameBy, typer.Option(help="Name DICOM studies by their UIDs or by their folders.")] = NameBy.UID,
    prior_from: Annotated[
        Path | None,
        typer.Option("--prior-from", help="Fill rows of refused studies with the prior of these labels (train.csv)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do finished studies again.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default a GPU where there is one.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that convert DICOM; -1 for one per core.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Grade studies: from DICOM or NIfTI to 25 findings each, with the slice that shows each of them.

    Writes predictions.csv, studies.csv, and for each study findings.json and the levels that were found. Run again, it
    goes on where it stopped: studies done with the same models and options are left alone. Ends with 3 when a study
    could not be graded; studies.csv says why.

    \b
    Example:
      monai-spine predict -i dicom/ -o graded
      monai-spine predict -i nifti/ -o graded --model bundles/mine --model bundles/other --tta
      monai-spine predict -i study.zip -o graded --model bundles/lumbar_25d_grader+efficientnet_b0 --weights cv/models
    """
    from monai_spine.prediction.command import run

    summary = run(
        [*(inputs or []), *(more or [])],
        out,
        models={
            "bundles": model or [],
            "weights": weights or [],
            "level_bundle": level_model,
            "recess_bundle": recess_model,
            "refine": refine,
            "mirrored": tta,
            "device": device,
        },
        given_points=given_points,
        name_by=name_by.value,
        prior_from=prior_from,
        force=force,
        workers=workers,
        quiet=quiet,
        say=lambda text: typer.echo(text, err=True),
    )
    typer.echo(summary.line())
    raise typer.Exit(summary.exit_code)


@app.command()
def cv(  # noqa: PLR0917 - options
    bundle: Annotated[Path, typer.Argument(help="A grader's bundle, such as bundles/lumbar_25d_grader.")],
    data: Annotated[Path, typer.Option(help="A datalist.json with folds, or its folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for a folder of each fold, and the tables.")],
    folds: Annotated[list[int] | None, typer.Option(help="A fold to do; repeat for several. All by default.")] = None,
    preset: Annotated[
        list[Path] | None, typer.Option(help="A preset of the bundle, or a configuration file; repeat for several.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A configuration entry; repeat.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No lines of progress on stderr.")] = False,
) -> None:
    """Cross-validate a grader: train once a fold, and join what each says of the studies that it never saw.

    Writes out_of_fold.csv and solution.csv, which score, calibrate, ensemble and audit take, and models/fold_0.pt …,
    which predict takes. Run again, it skips finished folds and goes on with one that was killed.

    \b
    Example:
      monai-spine cv bundles/lumbar_25d_grader --data nifti -o cv --preset convnext_nano_gated --set epochs=12
      monai-spine predict -i dicom -o graded --model bundles/lumbar_25d_grader --weights cv/models
    """
    from monai_spine.bundle_run import parse_settings
    from monai_spine.cross_validation import OWN, Plan, cross_validate

    datalist = data / "datalist.json" if data.is_dir() else data
    plan = Plan(bundle, datalist, tuple(preset or ()), parse_settings(settings or [], OWN))
    outcome = cross_validate(plan, out, folds, lambda text: None if quiet else typer.echo(text, err=True))
    typer.echo(f"{outcome.line()}; see {out / 'out_of_fold.csv'}")


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="New folder for everything the demo makes.")] = Path("demo"),
    studies: Annotated[int, typer.Option(min=10, help="Phantom studies to train on.")] = 150,
    held_out: Annotated[int, typer.Option("--held-out", min=5, help="Phantom studies to grade.")] = 40,
    epochs: Annotated[int, typer.Option(min=1, help="Training epochs.")] = 40,
) -> None:
    """Run the whole chain on phantom studies; from the root of the repository.

    \b
    Example:
      monai-spine demo demo
    """
    from monai_spine.demo import Plan, run_demo

    run_demo(out, Plan(studies, held_out, epochs))


for command in (*search_commands.COMMANDS, *table_commands.COMMANDS):
    app.command()(command)


def main() -> None:
    """Entry point."""
    console.run(app)
