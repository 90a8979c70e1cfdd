"""``python -m data_prep``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

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


def main() -> None:
    """Entry point."""
    console.run(app)
