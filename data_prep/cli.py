"""``python -m data_prep``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.choices import MAX_BYTES, NameBy, PhantomSize, Plane, Verify, VolumeFormat, YesNo
from data_prep.images import cli as images
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

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


@app.callback()
def _options() -> None:
    """Keep the sub-command names even while there is only one of them."""


@app.command()
def phantom(  # noqa: PLR0917 - options
    out: Annotated[Path, typer.Argument(help="New or empty folder, filled in the competition's layout.")],
    studies: Annotated[int, typer.Option(help="How many studies.")] = 10,
    seed: Annotated[int, typer.Option(help="Study 17 of a seed is the same in every cohort.")] = 0,
    size: Annotated[PhantomSize, typer.Option(help="Image size.")] = PhantomSize.SMALL,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = -1,
    quirks: Annotated[bool, typer.Option("--quirks", help="With the oddities of real collections.")] = False,
    force: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A quirk of all studies; repeat for several.")
    ] = None,
    label_maps: Annotated[bool, typer.Option("--label-maps", help="Tissues of every series as NIfTI, too.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a cohort of lumbar phantom studies as DICOM, with labels and the truth behind them.

    Example: python -m data_prep phantom demo/rsna --studies 60 --seed 1

    Example: python -m data_prep phantom odd/rsna --studies 3 --force l6 --force several-axial --label-maps
    """
    from data_prep.phantom.cohort import generate
    from data_prep.phantom.quirks import named

    forced = [named(force or ())] * studies
    generate(
        out, studies, seed, size=size, quirks=quirks, forced=forced, label_maps=label_maps, workers=workers, quiet=quiet
    )


@app.command()
def scan(  # noqa: PLR0917 - options
    path: Annotated[Path, typer.Argument(help="A DICOM file, a folder, a DICOMDIR or a zip.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")] = False,
    name_by: Annotated[NameBy, typer.Option(help="Name studies by their UIDs or by their folders.")] = NameBy.UID,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    max_bytes: Annotated[int, typer.Option(help="The most bytes a file may declare or unpack to.")] = MAX_BYTES,
    quiet: Quiet = False,
) -> None:
    """List every series and stack with a verdict, from the headers alone.

    Example: python -m data_prep scan studies.zip --json
    """
    from data_prep.dicom import scan as scanning

    report = scanning.scan(path, name_by=name_by.value, workers=workers, max_bytes=max_bytes, quiet=quiet)
    scanning.show(report, as_json)


@app.command()
def convert(  # noqa: PLR0917 - options
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file, a folder, a DICOMDIR or a zip.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for volumes, sidecars and tables.")],
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    file_format: Annotated[VolumeFormat, typer.Option("--format", help="Volume files.")] = VolumeFormat.NII_GZ,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted run finished.")] = False,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    only: Annotated[list[Plane] | None, typer.Option(help="Convert these planes alone; repeat for several.")] = None,
    verify: Annotated[Verify, typer.Option(help="Check bytes and corners, or every value too.")] = Verify.GEOMETRY,
    name_by: Annotated[NameBy, typer.Option(help="Name by UIDs, or by <study>/<series>/ folders.")] = NameBy.UID,
    keep_uids: Annotated[YesNo, typer.Option(help="no: salted hashes in place of UIDs.")] = YesNo.YES,
    max_bytes: Annotated[int, typer.Option(help="The most bytes a file may declare or unpack to.")] = MAX_BYTES,
    quiet: Quiet = False,
) -> None:
    """Convert DICOM to NIfTI: every stack right or refused with a reason, every file answered for in files.csv.

    Example: python -m data_prep convert studies/ nifti/ --workers 4

    Example: python -m data_prep convert rsna/train_images/ nifti/ --name-by folder --resume
    """
    from data_prep.dicom.convert import convert as run

    summary = run(
        source,
        out,
        workers=workers,
        format=file_format.value,
        resume=resume,
        cluster=cluster,
        only=[plane.value for plane in only or ()],
        verify=verify.value,
        name_by=name_by.value,
        keep_uids=keep_uids is YesNo.YES,
        max_bytes=max_bytes,
        quiet=quiet,
    )
    typer.echo(summary.line())
    raise typer.Exit(summary.exit_code)


@app.command()
def rsna(  # noqa: PLR0917 - options
    rsna_dir: Annotated[Path, typer.Argument(metavar="RSNA_DIR", help="Folder in the competition's layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for volumes, datalist.json and tables.")],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="The same seed makes the same folds.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted run finished.")] = False,
    quiet: Quiet = False,
) -> None:
    """Turn a collection in the RSNA 2024 layout into volumes, datalist.json with folds, and points in mm.

    What is odd about a study is reported in quality.md and quality.csv, and kept; coverage.csv says which stack serves
    which finding. Ends with 3 when something was left out.

    Example: python -m data_prep rsna rsna-2024/ nifti/ --workers 4
    """
    from data_prep.rsna2024.datalist import build

    collection = build(
        rsna_dir, out, folds=folds, seed=seed, workers=workers, cluster=cluster, resume=resume, quiet=quiet
    )
    typer.echo(collection.report())
    raise typer.Exit(collection.exit_code)


@app.command()
def check(  # noqa: PLR0917 - options
    datalist: Annotated[Path, typer.Argument(metavar="DATALIST", help="A datalist.json of studies.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; check/ beside the datalist if not given.")
    ] = None,
    fingerprint: Annotated[
        Path | None, typer.Option(help="An earlier fingerprint.json, to tell what is unlike that data set.")
    ] = None,
    pictures: Annotated[int, typer.Option(help="The most studies that the report shows pictures of.")] = 40,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="check.json on stdout too, instead of a summary.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check a data set before training: volumes, points, labels, folds, duplicates, outliers.

    Writes check.html for people, check.json, and fingerprint.json. Ends with 3 when there are errors in the data.

    Example: python -m data_prep check nifti/datalist.json

    Example: python -m data_prep check new/datalist.json --fingerprint nifti/check/fingerprint.json
    """
    from data_prep.check.run import check as run

    checked, folder = run(datalist, out, fingerprint=fingerprint, pictures=pictures, workers=workers, quiet=quiet)
    typer.echo(checked.as_json() if as_json else checked.summary(folder / "check.html"), nl=not as_json)
    raise typer.Exit(checked.exit_code)


@app.command("study-table")
def study_table(  # noqa: PLR0917 - options
    table: Annotated[Path, typer.Argument(metavar="CSV", help="A row per series or study: study, path, ...")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for volumes, datalist.json and tables.")],
    labels: Annotated[Path | None, typer.Option(help="CSV of grades, if not in the table itself.")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV of points in RAS mm: study, finding, x, y, z.")] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="The same seed makes the same folds.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted run finished.")] = False,
    quiet: Quiet = False,
) -> None:
    """Turn a table of your own studies, DICOM or NIfTI, into volumes and datalist.json with folds.

    Columns: study, path (a DICOM folder, file, DICOMDIR or zip, or a NIfTI file); patient, series_type, grades in
    train.csv's columns, if you have them. A series type that is not given is told from the images, and series.csv says
    why; a series that cannot be told is left out, and the command ends with 3.

    Example: python -m data_prep study-table studies.csv nifti/ --folds 5
    """
    from data_prep.study_table.datalist import build

    collection, given = build(
        *(table, out),
        labels=labels,
        points=points,
        folds=folds,
        seed=seed,
        workers=workers,
        cluster=cluster,
        resume=resume,
        quiet=quiet,
    )
    for note in given.notes():
        typer.echo(note, err=True)
    typer.echo(collection.report())
    raise typer.Exit(collection.exit_code)


def main() -> None:
    """Entry point."""
    console.run(app)
