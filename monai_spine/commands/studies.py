"""The commands that take studies: locate, predict. Each imports what it needs when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class NameBy(str, Enum):
    """What studies made of DICOM are called by."""

    UID = "uid"
    FOLDER = "folder"


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
    from monai_spine.bundle.shipped import LEVEL_LOCALIZER, RECESS_LOCALIZER
    from monai_spine.levels.locate import locate as run
    from monai_spine.levels.recesses.locator import RecessLocator
    from monai_spine.levels.sagittal.locator import LevelLocator

    levels = LevelLocator.from_bundle(model or LEVEL_LOCALIZER, device)
    recesses = RecessLocator.from_bundle(recess_model or RECESS_LOCALIZER, device) if refine else None
    summary = run(inputs, out, levels, recesses, quiet=quiet)
    typer.echo(f"{summary.line()}; see {out / 'points.csv'}")
    raise typer.Exit(summary.exit_code)


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


COMMANDS = (locate, predict)
