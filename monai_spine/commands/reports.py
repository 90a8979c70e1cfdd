"""The commands on the results of predict: report, review, sr. Each imports what it needs when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine.commands.options import Device, PrecisionName, Quiet, RecessModel, Weights

Graded = Annotated[Path, typer.Argument(metavar="OUT", help="The output folder of predict.")]
Inputs = Annotated[
    list[Path] | None,
    typer.Option("-i", "--input", help="The inputs of predict, if their volumes are not in the output folder."),
]
Graders = Annotated[
    list[Path] | None,
    typer.Option(metavar="BUNDLE[+PRESET]", help="The graders of predict. [default: the package's]"),
]


def report(  # noqa: PLR0917 - options
    out: Graded,
    inputs: Inputs = None,
    model: Graders = None,
    weights: Weights = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write pages again that are newer than the findings.")] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Write a page for each graded study, and their index.

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


class ReviewOrder(str, Enum):
    """Which studies come first; the values of `monai_spine.review.studies.Order`."""

    UNCERTAINTY = "uncertainty"
    NAME = "name"
    WORST = "worst"


def review(  # noqa: PLR0917 - options
    out: Graded,
    inputs: Inputs = None,
    model: Graders = None,
    weights: Weights = None,
    level_model: Annotated[
        list[Path] | None,
        typer.Option("--level-model", help="The level localizers of predict. [default: the package's]"),
    ] = None,
    recess_model: RecessModel = None,
    refine: Annotated[
        bool | None, typer.Option("--refine/--no-refine", help="As in predict. [default: as the studies were graded]")
    ] = None,
    measures_reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The cohort that the measures of predict are compared with. [phantoms]"),
    ] = None,
    tta: Annotated[
        str | None,
        typer.Option(
            metavar="flip,rotations,scales",
            help="Test-time augmentation, as in predict. [default: as the studies were graded]",
        ),
    ] = None,
    precision: Annotated[
        PrecisionName | None,
        typer.Option("--precision", help="As in predict. [default: as the studies were graded]"),
    ] = None,
    order: Annotated[ReviewOrder, typer.Option(help="Which studies come first.")] = ReviewOrder.UNCERTAINTY,
    by: Annotated[str, typer.Option(metavar="INITIALS", help="Your initials, which stand beside each change.")] = "",
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 for any that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only; open no browser.")] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Correct graded studies on a page in your browser.

    Move points, rename levels, change grades, and mark studies as done. A study is graded again by its corrected
    points, with the same measures and options. Changes are saved at once in OUT/<study>/corrections.json, with your
    initials; data_prep corrections merges them into a datalist. The page is for this machine alone, at an address with
    a secret that is printed on stdout. Ctrl-C ends it.

    \b
    Example:
      monai-spine review graded
      monai-spine review graded -i nifti/ --order worst --by AB
      monai-spine review graded --port 8080 --no-browser
    """
    from monai_spine.grading.poses import parse_tta
    from monai_spine.review.run import run_review
    from monai_spine.review.studies import Order

    run_review(
        out,
        browser=not no_browser,
        announce=typer.echo,
        inputs=inputs or [],
        models={
            "bundles": model or [],
            "weights": weights or [],
            "level_bundles": level_model or [],
            "recess_bundle": recess_model,
            "refine": refine,
            "measures_reference": measures_reference,
            "tta": None if tta is None else parse_tta(tta),
            "runtime": "auto",
            "precision": precision.value if precision else None,
            "device": device,
        },
        order=Order(order.value),
        by=by,
        port=port,
        quiet=quiet,
    )


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


COMMANDS = (report, review, sr)
