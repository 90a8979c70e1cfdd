"""The command that stays: serve. It imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_spine.errors import ExitCode, InvalidOptionError


def serve(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The configuration, in YAML.")],
    check: Annotated[
        bool, typer.Option("--check", help="Check the configuration and open the models, but do not start.")
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Write a commented configuration to FILE, which must not exist yet.")
    ] = False,
) -> None:
    """Receive studies from a PACS, grade them, send results.

    The service takes MR images by C-STORE, or asks a DICOMweb server for new studies. A study is graded once nothing
    more comes, and its structured report, key images and PDF are sent to an archive by C-STORE or STOW-RS. A study that
    cannot be graded gets a note. A queue on disk survives a kill at any moment. Only peers that the configuration lists
    get in.

    It ends on SIGTERM or Ctrl-C, and logs to stderr; a log names no patient.

    \b
    Example:
      monai-spine serve --config serve.yaml --example
      monai-spine serve --config serve.yaml --check
      monai-spine serve --config serve.yaml
    """
    if example:
        from monai_spine.service.example import write_example

        write_example(config)
        typer.echo(f"written to {config}; change it, then: monai-spine serve --config {config} --check")
        return
    try:
        from monai_spine.service.run import check_configuration, run_service
    except ImportError as error:
        raise InvalidOptionError(
            f"serve needs the package {error.name}; run: pip install 'monai-spine[pacs]'"
        ) from error
    if check:
        typer.echo(check_configuration(config))
        return
    raise typer.Exit(ExitCode.DONE if run_service(config) else ExitCode.OUR_FAULT)


COMMANDS = (serve,)
