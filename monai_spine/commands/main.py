"""``monai-spine``: the command line. Each command imports what it needs when it runs."""

from typing import Annotated

import typer

from monai_spine import __version__, console
from monai_spine.commands import bundles, experiments, jobs, reports, runtimes, service, studies, tables

app = typer.Typer(
    help="Graded degenerative findings from lumbar-spine MRI. Research software: not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings={"default_map": {"help": False}},  # no None to coerce, for which typer imports pydantic
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


results = (*reports.COMMANDS, *service.COMMANDS)
for command in (*studies.COMMANDS, *results, *tables.COMMANDS, *experiments.COMMANDS, *bundles.COMMANDS):
    app.command()(command)
app.add_typer(jobs.app, name="job")
app.add_typer(runtimes.app, name="runtime")


def main() -> None:
    """Entry point."""
    console.run_app(app)
