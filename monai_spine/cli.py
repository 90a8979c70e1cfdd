"""``monai-spine``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine import __version__, console
from monai_spine.table_commands import COMMANDS

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


for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point."""
    console.run(app)
