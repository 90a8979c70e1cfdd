"""Several grey files of one sample, matched by their names → samples with a file per channel."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.collection.csv_tables import raise_faults, read_csv
from data_prep.images.folders import NamePattern, find_images, split_folders
from data_prep.images.sample import ImageSet, Sample, Section, mapped, ordered_classes, read_mapping, task_of
from data_prep.images.table import LabelColumns, check_columns, check_missing, read_labels
from monai_spine.errors import InvalidOptionError, InvalidTableError, counted, listed


@dataclass(frozen=True)
class SampleTable:
    """A table of labels with a row per sample."""

    path: Path
    sample_column: str = "sample"
    patient_column: str | None = None


@dataclass(frozen=True)
class _Stack:
    """Files of one sample by channel."""

    name: str
    section: Section
    patient: str
    folder: str = ""
    files: dict[str, Path] = field(default_factory=dict)


def read_channels(
    folder: Path,
    pattern: str,
    channels: Sequence[str],
    *,
    labels: LabelColumns,
    table: SampleTable | None = None,
    test_dir: str | None = None,
    skip_missing: bool = False,
    excluded: Path | None = None,
) -> ImageSet:
    """Samples of several grey files each, labelled by their folders or by a table.

    Parameters
    ----------
    pattern
        Such as ``{sample}_{channel}.png``.
    channels
        Names of the channels, in the order in which the image is to have them.
    table
        Labels by sample; without one, samples lie in a folder per class, as for `read_folders`.
    skip_missing
        Leave out samples that lack a channel, or are in the table and not there.

    Raises
    ------
    MissingInputError
        If samples lack channels, or the table names some that are not there.
    InvalidOptionError
        If the pattern is not valid, or there are too few channels.
    InvalidTableError
        If no file fits the pattern, two are of one channel of a sample, or labels break their format.
    """
    folder = folder.absolute()
    if len(channels) < 2 or len(set(channels)) < len(channels):
        raise InvalidOptionError(f"expected two --channels or more, all different, but given {listed(list(channels))}")
    names = NamePattern(pattern, ["sample", "channel"], channels)
    parts = {Section.TRAINING: [folder]} if table else split_folders(folder, test_dir, excluded)
    stacks, unmatched = _stacks([(s, top) for s, tops in parts.items() for top in tops], names, channels, excluded)
    if not stacks:
        raise InvalidTableError(
            f"{folder}: expected files like {pattern!r}, but none of {counted(unmatched, 'image')} fits"
        )
    lacking = [
        f"{stack.name}: no {listed([channel for channel in channels if channel not in stack.files])}"
        for stack in stacks
        if len(stack.files) < len(channels)
    ]
    whole = [stack for stack in stacks if len(stack.files) == len(channels)]
    check_missing(lacking, folder, folder, skip_missing)
    notes = [f"{counted(unmatched, 'image')} left out: outside of the pattern"] if unmatched else []
    if table is None:
        made = _by_folder(whole, folder, labels, channels)
    else:
        made = _by_table(whole, folder, table, labels, channels)
        check_missing(made.missing, table.path, folder, skip_missing)
    missing, notes = [*lacking, *made.missing], [*notes, *made.notes]
    return replace(made, channels=tuple(channels), missing=missing, notes=notes)


def _stacks(
    places: Sequence[tuple[Section, Path]], names: NamePattern, channels: Sequence[str], excluded: Path | None
) -> tuple[list[_Stack], int]:
    """Samples in the order of their names, complete or not, and the number of images that fit no pattern."""
    stacks: dict[tuple[Path, str], _Stack] = {}
    unmatched, twice = 0, []
    spelling = {channel.lower(): channel for channel in channels}
    for section, top in places:
        for file in find_images(top, excluded)[0]:
            fields = names.match(file)
            if fields is None:
                unmatched += 1
                continue
            channel = spelling[fields["channel"].lower()]
            home = top if "/" in names.pattern else file.parent
            stack = stacks.setdefault(
                (home, fields["sample"]), _Stack(fields["sample"], section, fields.get("patient", ""), top.name)
            )
            twice += [f"{stack.name}: {channel} is {stack.files[channel]} and {file}"] if channel in stack.files else []
            stack.files[channel] = file
    if twice:
        raise InvalidTableError(f"expected one file for each channel of a sample, but found {listed(twice, '; ', 20)}")
    return [stacks[key] for key in sorted(stacks, key=lambda key: (key[0].as_posix(), key[1]))], unmatched


def _by_folder(stacks: Sequence[_Stack], folder: Path, labels: LabelColumns, channels: Sequence[str]) -> ImageSet:
    names = {stack.folder for stack in stacks}
    class_of = mapped(names, read_mapping(labels.mapping), folder) if labels.mapping else {name: name for name in names}
    classes = ordered_classes((name for name in class_of.values() if name), labels.classes, folder)
    samples = [
        Sample(_files(stack, channels), classes.index(class_of[stack.folder]), stack.section, stack.patient)
        for stack in stacks
        if class_of[stack.folder]
    ]
    return ImageSet(classes, task_of(classes), samples, folder)


def _by_table(
    stacks: Sequence[_Stack], folder: Path, rows: SampleTable, columns: LabelColumns, channels: Sequence[str]
) -> ImageSet:
    path, patient_column = rows.path, rows.patient_column
    table = read_csv(path, "a table with a row per sample")
    check_columns(table, [rows.sample_column, *([patient_column] if patient_column else [])], path)
    names = list(table[rows.sample_column])
    raise_faults(path, [f"sample {name!r} is listed {n} times" for name, n in Counter(names).items() if n > 1])
    labels = read_labels(table, columns, path)
    several = [name for name, count in Counter(stack.name for stack in stacks).items() if count > 1]
    raise_faults(folder, [f"sample {name!r} lies in several folders" for name in several])
    by_name = {stack.name: stack for stack in stacks}
    samples = []
    for n, (name, label) in enumerate(zip(names, labels.rows, strict=True)):
        stack = by_name.get(name)
        if stack is not None and label is not None:
            patient = str(table[patient_column][n]) if patient_column else stack.patient
            samples.append(Sample(_files(stack, channels), label, Section.TRAINING, patient))
    unlabelled = len(set(by_name) - set(names))
    notes = [f"{unlabelled} samples have no row in {path.name} and were left out"] if unlabelled else []
    missing = [name for name in names if name not in by_name]
    return ImageSet(labels.classes, labels.task, samples, folder, missing=missing, notes=notes)


def _files(stack: _Stack, channels: Sequence[str]) -> tuple[Path, ...]:
    return tuple(stack.files[channel] for channel in channels)
