"""The commands on the results of predict: report, sr. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_spine.commands.studies import Device, Quiet


def report(  # noqa: PLR0917 - options
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The output folder of predict.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Option("-i", "--input", help="The inputs of predict, if their volumes are not in the output folder."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="BUNDLE[+PRESET]", help="The graders of predict. [default: the package's]"),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of weights, one for each --model. [default: BUNDLE/models]"),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write pages again that are newer than the findings.")] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Write a page for each graded study, and an index of all.

    Each study gets report.html, a single file without a network: the levels, the crops that were graded, grades and
    probabilities, and where the network looked. index.html lists all studies and the refused ones.

    \b
    Example:
      monai-spine report graded
      monai-spine report graded -i nifti/ --pdf
    """
    from monai_spine.report.output import HTML, PDF, PageOutput
    from monai_spine.report.run import run_report

    pages = PageOutput([HTML, *([PDF] if pdf else [])])
    summary = run_report(
        out,
        pages,
        inputs=inputs or [],
        bundles=model or [],
        weights=weights or [],
        device=device,
        force=force,
        quiet=quiet,
    )
    typer.echo(summary.line())
    raise typer.Exit(summary.exit_code)


def sr(
    file: Annotated[Path, typer.Argument(metavar="INPUT.dcm", help="A DICOM structured report.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for programs.")] = False,
) -> None:
    """Print a DICOM structured report (TID 1500) as a table.

    A row for each finding: what, where, the grade, the probabilities, the point in RAS mm, and its place in the image.

    \b
    Example:
      monai-spine sr graded/1.2.3/dicom/sr.dcm
    """
    from monai_spine.dicom_out.sr_table import read_report

    table = read_report(file)
    typer.echo(table.to_csv() if csv else table.to_text(), nl=not csv)


COMMANDS = (report, sr)
