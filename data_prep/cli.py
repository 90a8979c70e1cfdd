"""``python -m data_prep``: the command line. Each command imports what it needs when it runs."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from data_prep.choices import MAX_BYTES, PhantomSize
from data_prep.images import cli as images
from data_prep.images.cli import Quiet, Seed, Workers
from monai_spine import console

app = typer.Typer(
    help="From DICOM studies to checked NIfTI volumes and datalist.json.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings={"default_map": {"help": False}},  # no None to coerce, for which typer imports pydantic
)

app.add_typer(images.app, name="images")


class Plane(str, Enum):
    """Planes of ``--only``; the values of `monai_spine.geometry.Plane`."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for volumes, datalist.json and tables.")]
Folds = Annotated[int, typer.Option(help="Folds of the cross-validation.")]
Cluster = Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep what an interrupted run finished.")]
MaxBytes = Annotated[int, typer.Option(help="Refuse a file that declares, or unpacks to, more bytes.")]
NameBy = Literal["uid", "folder"]
"""How output folders and files are named."""


@app.callback()
def _options() -> None:
    """Make typer keep the names of sub-commands."""


@app.command()
def phantom(  # noqa: PLR0917 - options
    out: Annotated[Path, typer.Argument(help="New or empty folder, filled in the competition's layout.")],
    studies: Annotated[int, typer.Option(help="How many studies.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed makes the same studies.")] = 0,
    size: Annotated[PhantomSize, typer.Option(help="Image size.")] = PhantomSize.SMALL,
    workers: Workers = -1,
    quirks: Annotated[bool, typer.Option("--quirks", help="Add the oddities of real collections.")] = False,
    force: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A quirk of all studies; repeat for several.")
    ] = None,
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Also write the tissues of every series as NIfTI.")
    ] = False,
    uncorrelated: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of studies whose conditions do not go together."),
    ] = 0.0,
    quiet: Quiet = False,
) -> None:
    """Make phantom studies as DICOM, with known truth.

    The cohort has the layout of the RSNA 2024 competition.

    \b
    Examples:
      python -m data_prep phantom demo/rsna --studies 60 --seed 1
      python -m data_prep phantom odd/rsna --studies 3 --force l6 --force several-axial --label-maps
    """
    from data_prep.phantom.cohort import generate
    from data_prep.phantom.quirks import named

    forced = [named(force or ())] * studies
    about = {"size": size, "quirks": quirks, "forced": forced, "label_maps": label_maps, "uncorrelated": uncorrelated}
    generate(out, studies, seed, **about, workers=workers, quiet=quiet)  # type: ignore[arg-type]


@app.command("phantom-truth")
def phantom_truth(
    datalist: Annotated[Path, typer.Argument(help="datalist.json of phantoms, from the command rsna.")],
    truth: Annotated[list[Path], typer.Argument(help="truth.csv of their cohort; several for several cohorts.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The datalist to write, beside the other.")],
) -> None:
    """Write a datalist with the truth of its phantoms, for training.

    soft_label is the probability of each grade, without the reader's noise; points are exact. Train with --datalist OUT
    and --pseudo_weight 1.

    \b
    Example:
      python -m data_prep phantom-truth nifti/datalist.json rsna/truth.csv -o nifti/truth.json
    """
    from data_prep.phantom.truth import write_truth

    typer.echo(f"{write_truth(datalist, truth, out)} studies; see {out}")


@app.command()
def scan(  # noqa: PLR0917 - options
    path: Annotated[Path, typer.Argument(help="A DICOM file, a folder, a DICOMDIR or a zip.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")] = False,
    name_by: Annotated[NameBy, typer.Option(help="Name studies by their UIDs or by their folders.")] = "uid",
    workers: Workers = 1,
    max_bytes: MaxBytes = MAX_BYTES,
    quiet: Quiet = False,
) -> None:
    """List the stacks of DICOM files.

    From the headers alone: whether each stack can be converted, or why not.

    \b
    Example:
      python -m data_prep scan studies.zip --json
    """
    from data_prep.dicom import scan as scanning

    report = scanning.scan(path, name_by=name_by, workers=workers, max_bytes=max_bytes, quiet=quiet)
    scanning.show(report, as_json)


@app.command()
def convert(  # noqa: PLR0917 - options
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file, a folder, a DICOMDIR or a zip.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for volumes, sidecars and tables.")],
    workers: Workers = 1,
    file_format: Annotated[
        Literal["nii.gz", "nii"], typer.Option("--format", help="Compressed files or not.")
    ] = "nii.gz",
    resume: Resume = False,
    cluster: Cluster = None,
    only: Annotated[list[Plane] | None, typer.Option(help="Convert these planes alone; repeat for several.")] = None,
    verify: Annotated[
        Literal["geometry", "full"], typer.Option(help="Check bytes and corners, or every value too.")
    ] = "geometry",
    name_by: Annotated[NameBy, typer.Option(help="Name by UIDs, or by <study>/<series>/ folders.")] = "uid",
    keep_uids: Annotated[
        Literal["yes", "no"], typer.Option(help="no: replace all UIDs by salted hashes, in names and contents.")
    ] = "yes",
    max_bytes: MaxBytes = MAX_BYTES,
    quiet: Quiet = False,
) -> None:
    """Convert DICOM to NIfTI.

    Each stack is converted, or refused with a reason (manifest.csv). files.csv has a row for each input file.

    \b
    Examples:
      python -m data_prep convert studies/ nifti/ --workers 4
      python -m data_prep convert rsna/train_images/ nifti/ --name-by folder --resume
    """
    from data_prep.dicom.convert import convert as run

    summary = run(
        source,
        out,
        workers=workers,
        format=file_format,
        resume=resume,
        cluster=cluster,
        only=[plane.value for plane in only or ()],
        verify=verify,
        name_by=name_by,
        keep_uids=keep_uids == "yes",
        max_bytes=max_bytes,
        quiet=quiet,
    )
    typer.echo(summary.line())
    raise typer.Exit(summary.exit_code)


@app.command()
def rsna(  # noqa: PLR0917 - options
    rsna_dir: Annotated[Path, typer.Argument(metavar="RSNA_DIR", help="Folder in the competition's layout.")],
    out: Out,
    folds: Folds = 5,
    seed: Seed = 0,
    workers: Workers = 1,
    cluster: Cluster = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Prepare data in the RSNA 2024 layout.

    Writes volumes, datalist.json with folds, and points in RAS mm. Faults of the data are reported in quality.md and
    quality.csv. coverage.csv has the source stack of each finding. The exit code is 3 if something was left out.

    \b
    Example:
      python -m data_prep rsna rsna-2024/ nifti/ --workers 4
    """
    from data_prep.collection.assembly import Run
    from data_prep.rsna2024.datalist import build

    collection = build(rsna_dir, out, Run(folds, seed, workers, cluster, resume, quiet))
    typer.echo(collection.report())
    raise typer.Exit(collection.exit_code)


@app.command()
def check(  # noqa: PLR0917 - options
    datalist: Annotated[Path, typer.Argument(metavar="DATALIST", help="A datalist.json of studies.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; check/ beside the datalist if not given.")
    ] = None,
    fingerprint: Annotated[
        Path | None, typer.Option(help="An earlier fingerprint.json: report differences from that data set.")
    ] = None,
    pictures: Annotated[int, typer.Option(help="The most studies that the report shows pictures of.")] = 40,
    workers: Workers = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print check.json on stdout instead of a summary.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check a data set before training.

    Checks volumes, points, labels, folds, duplicates and outliers. Writes check.html for people, check.json for
    programs, and fingerprint.json with statistics. The exit code is 3 if the data have errors.

    \b
    Examples:
      python -m data_prep check nifti/datalist.json
      python -m data_prep check new/datalist.json --fingerprint nifti/check/fingerprint.json
    """
    from data_prep.check.run import check as run

    checked, folder = run(datalist, out, fingerprint=fingerprint, pictures=pictures, workers=workers, quiet=quiet)
    typer.echo(checked.as_json() if as_json else checked.summary(folder / "check.html"), nl=not as_json)
    raise typer.Exit(checked.exit_code)


@app.command("study-table")
def study_table(  # noqa: PLR0917 - options
    table: Annotated[Path, typer.Argument(metavar="CSV", help="A row per series or study: study, path, ...")],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="CSV of grades, if not in the table itself.")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV of points in RAS mm: study, finding, x, y, z.")] = None,
    folds: Folds = 5,
    seed: Seed = 0,
    workers: Workers = 1,
    cluster: Cluster = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Prepare a table of your own studies.

    Writes volumes and datalist.json with folds. Columns of the table: study and path (a DICOM folder, file, DICOMDIR or
    zip, or a NIfTI file); if you have them, patient, series_type, and grades in the columns of train.csv. If a series
    type is not given, it is determined from the headers; series.csv has the reason. A series of unknown type is left
    out, and the exit code is then 3.

    \b
    Example:
      python -m data_prep study-table studies.csv nifti/ --folds 5
    """
    from data_prep.collection.assembly import Run
    from data_prep.study_table.datalist import build

    run = Run(folds, seed, workers, cluster, resume, quiet)
    collection, collected = build(table, out, run, labels=labels, points=points)
    for note in collected.notes():
        typer.echo(note, err=True)
    typer.echo(collection.report())
    raise typer.Exit(collection.exit_code)


@app.command()
def corrections(  # noqa: PLR0917 - options
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The output folder of predict that was reviewed.")],
    datalist: Annotated[Path, typer.Argument(metavar="DATALIST", help="A datalist.json of studies.")],
    target: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The datalist to write. [default: corrected.json beside DATALIST]"),
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also merge studies that are not marked as done.")
    ] = False,
    confirmed: Annotated[
        bool,
        typer.Option(
            "--confirmed",
            help="In studies that are done, give a finding without a label the grade that the reader left unchanged.",
        ),
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Add studies that DATALIST lacks, if their volumes are in OUT.")
    ] = False,
) -> None:
    """Merge corrections of monai-spine review.

    Corrected points and grades replace those of the datalist, in a new one; each study says who corrected what. A study
    whose volumes are not those that were reviewed is left out with the reason, and the exit code is then 3.

    \b
    Examples:
      python -m data_prep corrections graded/ nifti/datalist.json
      python -m data_prep corrections graded/ graded/datalist.json --add --confirmed
    """
    from data_prep.corrections import merge

    merged = merge(out, datalist, target, unfinished=unfinished, confirmed=confirmed, add=add)
    *reasons, line = merged.lines()
    for reason in reasons:
        typer.echo(reason, err=True)
    typer.echo(line)
    raise typer.Exit(merged.exit_code)


def main() -> None:
    """Entry point."""
    console.run_app(app)
