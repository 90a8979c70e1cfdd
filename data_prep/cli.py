"""``python -m data_prep``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.phantom.size import Size
from monai_spine import console

app = typer.Typer(
    help="From DICOM studies to checked NIfTI volumes and datalist.json.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
)

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


@app.callback()
def _options() -> None:
    """Keep the sub-command names even while there is only one of them."""


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="New or empty folder, filled in the competition's layout.")],
    studies: Annotated[int, typer.Option(help="How many studies.")] = 10,
    seed: Annotated[int, typer.Option(help="Study 17 of a seed is the same in every cohort.")] = 0,
    size: Annotated[Size, typer.Option(help="Image size.")] = Size.SMALL,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = -1,
    quiet: Quiet = False,
) -> None:
    """Make a cohort of lumbar phantom studies as DICOM, with labels and the truth behind them.

    Example: python -m data_prep phantom demo/rsna --studies 60 --seed 1
    """
    from data_prep.phantom.cohort import generate

    generate(out, studies, seed, size=size, workers=workers, quiet=quiet)


def main() -> None:
    """Entry point."""
    console.run(app)
