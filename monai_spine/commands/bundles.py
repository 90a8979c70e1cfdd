"""The commands for the bundles of the package: bundles, bundle. Each imports what it needs when it runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def bundles(
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")] = False,
) -> None:
    """List the bundles of the package.

    Shows the name, the version, the training data of the weights, and the path.

    \b
    Example:
      monai-spine bundles
      monai-spine bundles --json
    """
    from monai_spine.bundle.shipped import shipped_bundles

    shipped = shipped_bundles()
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "path": str(one.path)} for one in shipped], indent=2))
        return
    rows = [("name", "version", "trained on", "path")]
    rows += [(one.name, one.version, one.trained_on or "no weights", str(one.path)) for one in shipped]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def bundle(
    name: Annotated[str, typer.Argument(help="The name of a bundle, as monai-spine bundles lists it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder that the copy is put into.")],
) -> None:
    """Copy a bundle of the package.

    You can then change its configuration, or train it.

    \b
    Example:
      monai-spine bundle lumbar_25d_grader -o mine
      python -m monai.bundle run training --config_file mine/lumbar_25d_grader/configs/train.json --dataset_dir nifti
    """
    from monai_spine.bundle.shipped import copy_bundle

    typer.echo(copy_bundle(name, out))


COMMANDS = (bundles, bundle)
