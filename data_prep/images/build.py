"""From samples to ``datalist.json`` and ``report.json``: converted, inspected, compared, split, written."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.faults import Fault
from data_prep.images import dicom_pictures as pictures
from data_prep.images.codes import Code
from data_prep.images.copies import Leak, faults_of_copies, find_copies, leaks_between
from data_prep.images.inspection import Inspection, inspect
from data_prep.images.report import ImageReport
from data_prep.images.sample import ImageSet, Sample, Section, check_counts
from data_prep.images.split import Split, assign_folds, group_samples, validation_given
from monai_spine.console import track
from monai_spine.errors import InvalidTableError, OutputError, counted, listed
from monai_spine.files import remove_partial, removed_if_refused, write_json
from monai_spine.images.data.datalist import ImageDatalist, Record, write_image_datalist
from monai_spine.output_lock import output_lock

DATALIST, REPORT = "datalist.json", "report.json"
Numbers = npt.NDArray[np.intp]

_DARK = 63.0
"""An image whose highest value, of 255, is no higher uses a quarter of its scale."""


@dataclass(frozen=True)
class Run:
    """How to run: processes, progress, and whether to take test images' copies out of training."""

    split: Split
    drop_leaks: bool = False
    workers: int = 1
    quiet: bool = False


def build(source: ImageSet, out: Path, run: Run) -> ImageReport:
    """Check the images and write ``OUT/datalist.json``, ``OUT/report.json`` and pictures of DICOM files.

    Images stay where they are; the datalist names them relative to itself.

    Raises `InvalidTableError` if no image can be read, or a class has fewer than two readable images.
    Raises `InvalidOptionError` if the split is impossible.
    Raises `OutputError` if ``out`` cannot be written to.
    """
    run.split.check()
    if not source.samples:
        raise InvalidTableError(f"{source.root}: expected images, but found none")
    if all(sample.section is Section.TEST for sample in source.samples):
        raise InvalidTableError(f"{source.root}: expected images to train on, but found test images alone")
    check_counts(source, source.samples)
    out = out.absolute()
    if out.exists() and not out.is_dir():
        raise OutputError(f"the output {out} is a file; expected a folder, or a new name for one")
    with removed_if_refused(out), output_lock(out), pictures.scratch_beside(out) as scratch:
        remove_partial(out)
        converted = pictures.convert(source.samples, scratch, run.workers, run.quiet)
        inspections = _inspections(converted, run)
        report = _report(source, converted, inspections, out, run)
        records = _records(report, scratch, out)
        pictures.settle(scratch, out, list(report.sources))
        _write(report, records, out)
    return report


def _inspections(converted: pictures.Pictures, run: Run) -> list[Inspection]:
    """The inspection of every sample, by its number."""
    number = [n for n in range(len(converted.samples)) if n not in converted.faults]
    inspections = {n: Inspection(n, fault=fault) for n, fault in converted.faults.items()}
    results = inspect([converted.samples[n] for n in number], run.workers)
    for inspection in track(results, "images", len(number), run.quiet):
        inspections[number[inspection.number]] = replace(inspection, number=number[inspection.number])
    return [inspections[n] for n in range(len(converted.samples))]


def _report(
    source: ImageSet, converted: pictures.Pictures, inspections: list[Inspection], out: Path, run: Run
) -> ImageReport:
    """The report, with the faults that show only when all images are known."""
    samples, names = converted.samples, [source.name(sample) for sample in source.samples]
    readable = [one.number for one in inspections if not one.fault]
    if not readable:
        first = listed([f"{names[one.number]}: {one.fault}" for one in inspections], "; ")
        raise InvalidTableError(f"{source.root}: none of {counted(len(inspections), 'image')} can be read ({first})")
    check_counts(source, [samples[n] for n in readable])
    copies = find_copies(inspections)
    leaks = leaks_between(copies, samples)
    dropped = _dropped(samples, readable, leaks) if run.drop_leaks else []
    kept = sorted(set(readable) - set(dropped))
    check_counts(source, [samples[n] for n in kept])
    groups = group_samples(samples, copies.links())
    folds = np.full(len(samples), -1, dtype=np.intp)
    folds[kept] = assign_folds([samples[n] for n in kept], groups[kept], len(source.classes), run.split)
    faults = [
        *_faults_of_input(source, inspections, names),
        *faults_of_copies(copies, samples, names),
        *_faults_of_patients(samples, readable, names),
        *_faults_of_classes(source, samples, groups, folds),
        *([] if run.split.requested else _faults_of_moves(samples, names, folds)),
    ]
    faults.sort(key=lambda fault: (fault.code.rank, fault.images))  # the worst first
    root = Path(os.path.relpath(source.root, os.path.realpath(out))).as_posix()
    return ImageReport(
        source, samples, names, inspections, copies, leaks, faults,
        folds, groups, kept, dropped, _sources(converted, source, kept), root,
    )  # fmt: skip


def _dropped(samples: Sequence[Sample], readable: Sequence[int], leaks: Sequence[Leak]) -> list[int]:
    """Samples to train on that are copies of test images, or of their patients."""
    tested = _patients(samples, readable, tested=True)
    own = {n for n in readable if samples[n].section is not Section.TEST and samples[n].patient in tested}
    return sorted(own | {leak.training for leak in leaks})


def _patients(samples: Sequence[Sample], numbers: Sequence[int], *, tested: bool) -> set[str]:
    sides = ((samples[n].patient, samples[n].section is Section.TEST) for n in numbers)
    return {patient for patient, side in sides if patient and side is tested}


def _faults_of_input(source: ImageSet, inspections: Sequence[Inspection], names: Sequence[str]) -> Iterator[Fault]:
    for one in inspections:
        if one.fault:
            yield Fault(Code.UNREADABLE, one.fault, images=(names[one.number],))
        elif one.constant:
            yield Fault(Code.CONSTANT_IMAGE, f"{one.columns} x {one.rows} equal pixels", images=(names[one.number],))
    shown = [one for one in inspections if not (one.fault or one.constant)]
    dark = tuple(names[one.number] for one in shown if one.brightest <= _DARK)
    if dark:
        yield Fault(Code.DARK_IMAGES, f"{len(dark)}: {listed(dark)}", images=dark)
    yield from (Fault(Code.MISSING, "not there", images=(name,)) for name in source.missing)
    yield from (Fault(Code.LEFT_OUT, note) for note in source.notes)


def _faults_of_patients(samples: Sequence[Sample], readable: Sequence[int], names: Sequence[str]) -> Iterator[Fault]:
    both = _patients(samples, readable, tested=True) & _patients(samples, readable, tested=False)
    for patient in sorted(both):
        images = tuple(names[n] for n in readable if samples[n].patient == patient)
        yield Fault(
            Code.PATIENT_IN_TEST, f"{counted(len(images), 'image')} of {patient}: {listed(images)}", images=images
        )


def _faults_of_moves(samples: Sequence[Sample], names: Sequence[str], folds: Numbers) -> Iterator[Fault]:
    """Training images that were moved, since their copies or patients are in the validation folder."""
    if validation_given(samples):
        trained = (n for n, sample in enumerate(samples) if sample.section is Section.TRAINING)
        moved = tuple(names[n] for n in trained if folds[n] == 0)
        if moved:
            yield Fault(Code.MOVED_TO_VALIDATION, f"{counted(len(moved), 'image')}: {listed(moved)}", images=moved)


def _faults_of_classes(source: ImageSet, samples: Sequence[Sample], groups: Numbers, folds: Numbers) -> Iterator[Fault]:
    """Classes too small for every fold to have some of them."""
    used = [n for n in range(len(samples)) if folds[n] >= 0]
    fold_count = len({int(folds[n]) for n in used})
    for number, name in enumerate(source.classes):
        of_class = {int(groups[n]) for n in used if samples[n].is_of(number)}
        if len(of_class) < fold_count:
            yield Fault(
                Code.SMALL_CLASS,
                f"{name!r}: {counted(len(of_class), 'group')} of images for {counted(fold_count, 'fold')}",
            )


def _sources(converted: pictures.Pictures, source: ImageSet, kept: Sequence[int]) -> dict[str, str]:
    """The DICOM file of each picture in the datalist, relative to the root."""
    used = {file.name for n in kept for file in converted.samples[n].files}
    return {
        picture: os.path.relpath(file, source.root) for picture, file in converted.sources.items() if picture in used
    }


def _records(report: ImageReport, scratch: Path, out: Path) -> dict[Section, list[Record]]:
    """Records of the datalist's sections, sorted by their files."""
    group_names = _group_names(report)
    records: dict[Section, list[Record]] = {Section.TRAINING: [], Section.TEST: []}
    for n in report.kept:
        sample = report.samples[n]
        files = [out / pictures.FOLDER / f.name if f.parent == scratch else f for f in sample.files]
        record: Record = {
            "image": [str(file) for file in files],
            "label": list(sample.label) if isinstance(sample.label, tuple) else sample.label,
            "group": group_names[int(report.groups[n])],
        }
        if sample.section is Section.TEST:
            records[Section.TEST].append(record)
        else:
            records[Section.TRAINING].append({**record, "fold": int(report.folds[n])})
    for some in records.values():
        some.sort(key=lambda record: record["image"])
    return records


def _group_names(report: ImageReport) -> dict[int, str]:
    """A group has the name of its patients, or else of its first image."""
    names: dict[int, str] = {}
    patients: dict[int, dict[str, None]] = {}
    for n, (sample, name) in enumerate(zip(report.samples, report.names, strict=True)):
        group = int(report.groups[n])
        names.setdefault(group, name)
        if sample.patient:
            patients.setdefault(group, {})[sample.patient] = None
    return names | {group: " + ".join(some) for group, some in patients.items()}


def _write(report: ImageReport, records: dict[Section, list[Record]], out: Path) -> None:
    """The report first: where a datalist stands, its report does."""
    datalist = ImageDatalist(
        report.image_set.classes,
        report.image_set.task,
        records[Section.TRAINING],
        records[Section.TEST],
        report.image_set.channels,
    )
    try:
        write_json(out / REPORT, report.content(), indent=1)
        write_image_datalist(out / DATALIST, datalist)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}") from error
