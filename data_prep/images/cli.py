"""``python -m data_prep images``: from pictures in folders or a table to a checked image-classification datalist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from data_prep.images.sample import ImageSet
    from data_prep.images.table import LabelColumns

app = typer.Typer(
    help="Make a datalist.json of single images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for datalist.json and report.json.")]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder per class, in train/ and test/ if you have them.")
]
Mapping = Annotated[
    Path | None, typer.Option(help="CSV of two columns, name and class, that merges classes; none leaves out.")
]
Classes = Annotated[
    str | None, typer.Option(metavar="A,B,...", help="All classes there may be, in the order of their numbers.")
]
TestDir = Annotated[str | None, typer.Option(help="Name of the folder of test images in DIR.")]
Patient = Annotated[str | None, typer.Option(help="Column of the patient, whose images stay in one fold.")]
LabelColumn = Annotated[
    list[str] | None,
    typer.Option(help="Column of class names; repeated, columns of 0 and 1, one for each class."),
]
LabelsColumn = Annotated[str | None, typer.Option(help="Column of several class names joined by the separator.")]
Separator = Annotated[str, typer.Option(help="What joins the names in --labels-column.")]
Nothing = Annotated[str, typer.Option(help="The text in --labels-column if no class applies.")]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out images that do not exist, and count them.")
]
Folds = Annotated[int | None, typer.Option(help="Folds of the cross-validation; 5 if not given.")]
Holdout = Annotated[float | None, typer.Option(help="Instead of folds: this share is fold 0, to validate on.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same folds.")]
DropLeaks = Annotated[
    bool, typer.Option("--drop-leaks", help="Take copies of test images, and their patients, out of training.")
]
Workers = Annotated[int, typer.Option(help="Processes; -1 for one per core.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


@app.command()
def folders(  # noqa: PLR0917 - options
    folder: Folder,
    out: Out,
    mapping: Mapping = None,
    classes: Classes = None,
    test_dir: TestDir = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="Where a file's name holds the patient: '{patient}_*.png'.")
    ] = None,
    folds: Folds = None,
    holdout: Holdout = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Images in class folders.

    Folders train, val and test around the class folders define the split. Images are not copied or changed. Copies and
    near duplicates stay in one fold; leaks from test to training are reported. The exit code is 3 if images could not
    be read.

    \b
    Examples:
      python -m data_prep images folders brain-tumor/ work/brain --drop-leaks
      python -m data_prep images folders tumours/ work/binary --mapping binary.csv --holdout 0.2
    """
    from data_prep.images.folders import read_folders

    image_set = read_folders(
        folder,
        mapping=mapping,
        test_dir=test_dir,
        classes=_names(classes),
        patient_pattern=patient_pattern,
        excluded=out,
    )
    _finish(image_set, out, (folds, holdout, seed), drop_leaks, workers, quiet)


@app.command()
def table(  # noqa: PLR0917 - options
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="A row per image.")],
    out: Out,
    image_column: Annotated[str, typer.Option(help="Column of the image's file name.")] = "image",
    label_column: LabelColumn = None,
    labels_column: LabelsColumn = None,
    separator: Separator = "|",
    nothing: Nothing = "No Finding",
    patient_column: Patient = None,
    train_list: Annotated[Path | None, typer.Option(help="Text file of the images to train on, one a line.")] = None,
    test_list: Annotated[Path | None, typer.Option(help="Text file of the images to test on, one a line.")] = None,
    image_dir: Annotated[
        Path | None, typer.Option(help="Where the images are, at any depth; the table's folder if not given.")
    ] = None,
    mapping: Mapping = None,
    classes: Classes = None,
    skip_missing: SkipMissing = False,
    folds: Folds = None,
    holdout: Holdout = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Images in a CSV table.

    An image has one class or several. Images can be grouped by patient, and split by lists of training and test images.

    \b
    Examples:
      python -m data_prep images table labels.csv work/cells --label-column cell_line --image-dir pictures/
      python -m data_prep images table Data_Entry_2017.csv work/chest --image-column "Image Index" \\
        --labels-column "Finding Labels" --patient-column "Patient ID" --train-list train_val_list.txt \\
        --test-list test_list.txt
    """
    from data_prep.images.table import read_table

    image_set = read_table(
        csv,
        _labels(label_column, labels_column, separator, nothing, classes, mapping),
        image_column=image_column,
        patient_column=patient_column,
        image_dir=image_dir,
        train_list=train_list,
        test_list=test_list,
        skip_missing=skip_missing,
        excluded=out,
    )
    _finish(image_set, out, (folds, holdout, seed), drop_leaks, workers, quiet)


@app.command()
def channels(  # noqa: PLR0917 - options
    folder: Folder,
    out: Out,
    pattern: Annotated[str, typer.Option(help="What file names look like; * stands for anything.")],
    channels: Annotated[str, typer.Option(metavar="A,B,...", help="Names of the channels, in their order.")],
    labels: Annotated[Path | None, typer.Option(help="CSV of a row per sample, instead of a folder per class.")] = None,
    sample_column: Annotated[str, typer.Option(help="Column of the sample's name.")] = "sample",
    label_column: LabelColumn = None,
    labels_column: LabelsColumn = None,
    separator: Separator = "|",
    nothing: Nothing = "No Finding",
    patient_column: Patient = None,
    mapping: Mapping = None,
    classes: Classes = None,
    test_dir: TestDir = None,
    skip_missing: SkipMissing = False,
    folds: Folds = None,
    holdout: Holdout = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Images with one grey file for each channel.

    The files of a sample become one image with several channels. Labels come from class folders or from a table.

    \b
    Examples:
      python -m data_prep images channels cells/ work/cells --pattern '{sample}_{channel}.png' \\
        --channels nucleus,microtubules,er
      python -m data_prep images channels plates/ work/cells --pattern '{sample}_{channel}.tif' \\
        --channels nucleus,microtubules,er --labels train.csv --sample-column file_id --label-column cell_line
    """
    from data_prep.images.channels import SampleTable, read_channels

    image_set = read_channels(
        folder,
        pattern,
        _names(channels),
        labels=_labels(label_column, labels_column, separator, nothing, classes, mapping),
        table=SampleTable(labels, sample_column, patient_column) if labels else None,
        test_dir=test_dir,
        skip_missing=skip_missing,
        excluded=out,
    )
    _finish(image_set, out, (folds, holdout, seed), drop_leaks, workers, quiet)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _labels(  # noqa: PLR0917 - the options of the commands
    columns: list[str] | None,
    joined: str | None,
    separator: str,
    nothing: str,
    classes: str | None,
    mapping: Path | None,
) -> LabelColumns:
    from data_prep.images.table import LabelColumns

    return LabelColumns(tuple(columns or ()), joined, separator, nothing, _names(classes), mapping)


def _finish(  # noqa: PLR0917
    image_set: ImageSet,
    out: Path,
    split: tuple[int | None, float | None, int],
    drop_leaks: bool,
    workers: int,
    quiet: bool,
) -> None:
    """Check, split and write; end the command."""
    from data_prep.images.build import DATALIST, REPORT, Run, build
    from data_prep.images.split import Split

    report = build(image_set, out, Run(Split(*split), drop_leaks, workers, quiet))
    typer.echo(report.summary(out / DATALIST, out / REPORT))
    raise typer.Exit(report.exit_code)
