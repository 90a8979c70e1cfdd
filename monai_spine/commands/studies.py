"""The commands that take studies: locate, predict, and measures-reference. Each imports what it needs when it runs."""

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from monai_spine.commands.options import Device, PrecisionName, Quiet, RecessModel, Weights
from monai_spine.errors import InvalidOptionError

if TYPE_CHECKING:
    from monai_spine.prediction.part import Part

Refine = Annotated[
    bool,
    typer.Option(
        "--refine/--no-refine", help="Find the recesses in axial slices, or project them from the sagittal levels."
    ),
]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Compare the checksums of the weights, or use weights that fail.")
]


class RuntimeName(str, Enum):
    """What runs the networks."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"


RuntimeOption = Annotated[
    RuntimeName,
    typer.Option(
        "--runtime",
        envvar="MONAI_SPINE_RUNTIME",
        help="What runs the networks; auto is openvino on CPUs where it is installed, else torch.",
    ),
]
PrecisionOption = Annotated[
    PrecisionName,
    typer.Option("--precision", help="bfloat16 is for models that passed: monai-spine runtime check BUNDLE."),
]
Workers = Annotated[int, typer.Option(help="Processes for whole studies and for DICOM; -1 for one per core.")]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers take the studies, such as tcp://host:8786."),
]


class NameBy(str, Enum):
    """How studies made from DICOM are named."""

    UID = "uid"
    FOLDER = "folder"


def locate(  # noqa: PLR0917 - options
    inputs: Annotated[
        list[Path], typer.Argument(metavar="NIFTI…", help="NIfTI files, folders of studies, or datalists.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for points.csv and the other results.")],
    model: Annotated[
        list[Path] | None,
        typer.Option(help="The bundle of a level localizer; repeat to average several. [default: the package's]"),
    ] = None,
    recess_model: RecessModel = None,
    refine: Refine = True,
    device: Device = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    precision: PrecisionOption = PrecisionName.FLOAT32,
    verify: Verify = True,
    workers: Workers = 1,
    cluster: Cluster = None,
    force: Annotated[bool, typer.Option("--force", help="Locate finished studies again.")] = False,
    quiet: Quiet = False,
) -> None:
    """Find the lumbar levels in sagittal volumes.

    Writes the canal, the foramina and the recesses of each level as points in RAS mm. A volume without a lumbar spine,
    or with slices that are not sagittal, gets no points; volumes.csv has the reason. A recess is searched for in the
    nearest axial slice. If it is not found there, its expected place is projected onto the slice and flagged.
    A study that an earlier run has located, with the same volumes and models, stays as it is.

    \b
    Example:
      monai-spine locate sagittal_t2.nii.gz -o points
      monai-spine locate nifti/datalist.json -o points --device cuda
    """
    from monai_spine.bundle.on_demand import OnDemand
    from monai_spine.prediction.study_processes import study_processes

    options = _localizer_options(
        model, recess_model, refine=refine, device=device, verify=verify, runtime=runtime, precision=precision
    )
    models = OnDemand.of("monai_spine.levels.several_locators.open_localizers", options)
    with study_processes(models, workers, cluster, device) as place:
        # Only now, since this takes seconds: the other processes have begun.
        from monai_spine.levels.locate import locate as run
        from monai_spine.levels.several_locators import localizer_bundles, localizers_digest

        place.check(out)
        levels, recesses = place.models_here()
        bundles = localizer_bundles(model or (), recess_model, refine=refine)
        settings = {"levels": localizers_digest(bundles, (levels, recesses))}
        summary = run(
            *(inputs, out, levels, recesses),
            quiet=quiet,
            verified=verify,
            settings=settings,
            force=force,
            processes=place.run,
        )
    typer.echo(f"{summary.line()}; see {out / 'points.csv'}")
    raise typer.Exit(summary.exit_code)


def predict(  # noqa: PLR0917 - options
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder or URL for the tables, and for a folder of each study.")
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="IN…", help="Further inputs, like those of -i.")] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "-i",
            "--input",
            help="DICOM (folder, file, zip), a folder of NIfTI studies, NIfTI files, or a datalist; or their URLs.",
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="BUNDLE[+PRESET]", help="A grader; repeat to average several. [default: the package's]"),
    ] = None,
    weights: Weights = None,
    tta: Annotated[
        str,
        typer.Option(
            metavar="flip,rotations,scales",
            help="Test-time augmentation: grade each study also flipped, turned, scaled, and take the mean.",
        ),
    ] = "",
    level_model: Annotated[
        list[Path] | None,
        typer.Option(
            "--level-model", help="The bundle of a level localizer; repeat to average several. [default: the package's]"
        ),
    ] = None,
    recess_model: RecessModel = None,
    refine: Refine = True,
    measures: Annotated[
        bool, typer.Option("--measures/--no-measures", help="Measure canal, discs and lordosis, too.")
    ] = False,
    measures_reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The cohort that measures are compared with; see measures-reference. [phantoms]"
        ),
    ] = None,
    given_points: Annotated[
        bool, typer.Option("--given-points", help="Use the points of a datalist instead of finding the levels.")
    ] = False,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Points that you marked or corrected: points.csv, points.mrk.json, or a table of points.",
        ),
    ] = None,
    name_by: Annotated[NameBy, typer.Option(help="Name DICOM studies by their UIDs or by their folders.")] = NameBy.UID,
    prior_from: Annotated[
        Path | None,
        typer.Option("--prior-from", help="Fill rows of refused studies with the prior of these labels (train.csv)."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write a page for each study (report.html), and an index (index.html).")
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write the page of each study as PDF, too (report.pdf).")] = False,
    dicom_out: Annotated[
        bool,
        typer.Option(
            "--dicom-out",
            help="Write DICOM objects for archives: structured report, key images, PDF. They hold the identity.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Grade finished studies again.")] = False,
    device: Device = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    precision: PrecisionOption = PrecisionName.FLOAT32,
    verify: Verify = True,
    workers: Workers = 1,
    cluster: Cluster = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Grade part K of N only; auto takes both from an array job, auto/N the part."),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Join the tables of parts in the output folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Grade studies from DICOM or NIfTI files.

    Each study gets 25 findings, each with the slice that shows it. Writes predictions.csv, studies.csv, and for each
    study findings.json and its levels. A second run continues where the first one stopped: studies that were graded
    with the same models and options are not graded again. The exit code is 3 if a study could not be graded;
    studies.csv has the reason.

    \b
    Example:
      monai-spine predict -i dicom/ -o graded
      monai-spine predict -i dicom/ -o graded --report --pdf
      monai-spine predict -i nifti/ -o graded --model bundles/mine --model bundles/other --tta flip,rotations
      monai-spine predict -i dicom/ -o graded --points graded/1000/points.mrk.json
      monai-spine predict -i study.zip -o graded --model bundles/lumbar_25d_grader --weights cv/models
      monai-spine predict -i nifti/ -o graded --part 3/16
      monai-spine predict -i s3://bucket/nifti -o s3://bucket/graded --part auto
      monai-spine predict --merge graded
    """
    paths = [*(inputs or []), *(more or [])]
    if merge:
        _merge_parts([*([out] if out else []), *paths])
    if out is None:
        raise InvalidOptionError("name the output folder with -o")
    from monai_spine.bundle.on_demand import OnDemand
    from monai_spine.data.object_store import url_of
    from monai_spine.grading.poses import parse_tta
    from monai_spine.prediction.study_processes import study_processes

    own = _own_part(part) if part else None
    if cluster and any(map(url_of, [*paths, out])):
        raise InvalidOptionError("--cluster needs folders that all workers see; with URLs, use --part on each machine")
    options = {
        "bundles": model or [],
        "weights": weights or [],
        "measures": measures,
        "measures_reference": measures_reference,
        "tta": parse_tta(tta),
    } | _localizer_options(
        level_model, recess_model, refine=refine, device=device, verify=verify, runtime=runtime, precision=precision
    )
    models = OnDemand.of("monai_spine.prediction.models.open_models", options)
    with study_processes(models, workers, cluster, device) as place:
        # Only now, since this takes seconds: the other processes have begun.
        from monai_spine.dicom_out.outputs import study_outputs
        from monai_spine.prediction.run import run_predict
        from monai_spine.prediction.staging import as_urls, staged

        with staged(paths, out, own) as staging:
            summary = run_predict(
                staging.paths,
                staging.out,
                processes=place,
                given_points=given_points,
                points=points,
                name_by=name_by.value,
                prior_from=prior_from,
                force=force,
                workers=workers,
                part=own,
                quiet=quiet,
                report=lambda line: typer.echo(line, err=True),
                outputs=study_outputs(report=report, pdf=pdf, dicom_out=dicom_out),
                staging=staging,
            )
    typer.echo(as_urls(summary.line(), staging.places))
    raise typer.Exit(summary.exit_code)


def _localizer_options(
    levels: list[Path] | None,
    recesses: Path | None,
    *,
    refine: bool,
    device: str | None,
    verify: bool,
    runtime: RuntimeName,
    precision: PrecisionName,
) -> dict[str, Any]:
    """The options of `open_localizers`, which `open_models` has, too."""
    return {
        "level_bundles": levels or [],
        "recess_bundle": recesses,
        "refine": refine,
        "device": device,
        "verify": verify,
        "runtime": runtime.value,
        "precision": precision.value,
    }


def _own_part(text: str) -> "Part":
    """The part that this machine grades. If an array job chose it, a line on stderr says which one."""
    from monai_spine.prediction.part import parse_part

    own = parse_part(text, os.environ)
    if text.startswith("auto"):
        typer.echo(f"part {own.number}/{own.count}", err=True)
    return own


def _merge_parts(folders: list[Path]) -> NoReturn:
    """Join the tables of parts in one output folder, and end the command."""
    from monai_spine.prediction.merged_parts import merge_parts
    from monai_spine.prediction.staging import as_urls, staged

    if len(folders) != 1:
        raise InvalidOptionError("--merge takes the output folder of the parts, and no inputs: predict --merge graded")
    with staged([], folders[0], merging=True) as staging:
        merged = merge_parts(staging.out)
        staging.store()
        typer.echo(as_urls(merged.line(), staging.places))
    raise typer.Exit(merged.exit_code)


def measures_reference(
    graded: Annotated[Path, typer.Argument(help="An output folder of predict.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, such as cohort.json.")],
    name: Annotated[str, typer.Option(help="What the cohort is, for reports.")] = "cohort",
    reference: Annotated[
        Path | None, typer.Option(help="Where errors and the canal's limits are taken from. [default: the package's]")
    ] = None,
) -> None:
    """Make percentiles of measures from your own cohort.

    It needs 20 studies or more that predict has measured. Give the file to predict with --measures-reference.

    \b
    Example:
      monai-spine measures-reference graded -o volunteers.json --name "healthy volunteers, 30 to 60 years"
      monai-spine predict -i dicom/ -o patients --measures-reference volunteers.json
    """
    from monai_spine.files import read_json
    from monai_spine.measures.reference import read_reference, reference_of

    studies = [read_json(path) for path in sorted(graded.glob("*/findings.json"))]
    made = reference_of(studies, name, read_reference(reference))
    made.write(out)
    typer.echo(f"{made.name}: {out}")


COMMANDS = (locate, predict, measures_reference)
