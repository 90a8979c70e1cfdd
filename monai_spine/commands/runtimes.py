"""The command ``runtime``, for what runs the networks. Each of its commands imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from monai_spine.commands.options import Quiet

app = typer.Typer(
    help="What runs the networks of predict and locate.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"default_map": {"help": False}},
)


@app.callback()
def _commands() -> None:
    """What runs the networks of predict and locate."""


@app.command()
def check(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE…", help="Bundles of localizers or graders, with their weights.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Further studies whose points are compared: a datalist or a folder of NIfTI."),
    ] = None,
    studies: Annotated[int, typer.Option(min=2, help="Phantoms to compare.")] = 40,
    quiet: Quiet = False,
) -> None:
    """Compare bfloat16 with float32, as --precision bfloat16 needs it.

    Locates and grades phantoms in both precisions with OpenVINO. A model passes if areas under the ROC curve and the
    score change by less than .002, and 99 of 100 points by less than .1 mm. The table is printed, and kept beside the
    converted model. predict --precision bfloat16 uses bfloat16 for the models that passed, and float32 for the others.
    The exit code is 3 if a model did not pass.

    \b
    Example:
      monai-spine runtime check bundles/lumbar_25d_grader
      monai-spine runtime check bundles/lumbar_level_localizer bundles/lumbar_recess_localizer --data nifti/
    """
    from monai_spine.errors import ExitCode
    from monai_spine.grading.precision_check import check_precision
    from monai_spine.runtime.precision_gate import passed, table

    results = check_precision(bundles, data or [], studies=studies, quiet=quiet)
    for one in results:
        typer.echo(f"{one.bundle.resolve().name}: {'passed' if passed(one.rows) else 'not passed'}\n")
        typer.echo(f"{table(one.rows)}\n")
        for file in one.files:
            typer.echo(f"kept in {file}\n")
    raise typer.Exit(ExitCode.DONE if all(passed(one.rows) for one in results) else ExitCode.SOME_REFUSED)
