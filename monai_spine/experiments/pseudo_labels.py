"""Pseudo-labels: soft labels that the networks of a cross-validation give to new studies and to their own.

A study of the cross-validation gets them from the network that never saw it, and a new study the mean of all folds'
networks. The new datalist is trained on with ``pseudo_weight``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.bundle.run import Report, Settings, logging_setting, run_step
from monai_spine.data.datalist import Record, read_content, read_datalist
from monai_spine.data.studies import find_studies
from monai_spine.errors import InvalidOptionError, InvalidTableError, counted, listed
from monai_spine.experiments.cross_validation import Plan
from monai_spine.experiments.fold_run import digest, prefixed, read_state, write_state
from monai_spine.files import read_json, safe_name, write_json
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.prevalence import natural_prevalence, normalised
from monai_spine.scoring.submission import read_labels, read_predictions
from monai_spine.spine import MISSING, Grade, SeriesType

FOLDER = "pseudo"
"""The folder of the new datalist, in that of the cross-validation."""
_DIGITS = 5
_NOT_COVERED = "not_covered"
"""The flag in ``findings.json`` of a finding that no slice shows."""

_OF_THE_MACHINE = ("device", "amp", "num_workers")
"""Settings of the trainings that count for the grading, too; all others come from the weights' description."""


def new_studies(datalist: Path, studies: Path) -> list[Record]:
    """The studies to label; see `write_pseudo_labels`.

    They may be in the training section of the datalist without a label: pseudo-labelled in an earlier round.
    Raises `MissingInputError` or `InvalidTableError` if there are none or the datalist cannot be used, and
    `InvalidOptionError` if one of them is in the training section with a label.
    """
    records = find_studies(studies, "test")
    known = {record["study_id"] for record in read_datalist(datalist) if (record["label"] != MISSING).any()}
    if common := [record["study_id"] for record in records if record["study_id"] in known]:
        raise InvalidOptionError(f"expected new studies, but {datalist} holds {listed(common)}; leave them out")
    return records


def write_pseudo_labels(  # noqa: PLR0917 - all of them are needed
    plan: Plan, out: Path, folds: Collection[int], studies: Path, natural: bool, report: Report
) -> Path:
    """Write ``pseudo/datalist.json`` after a cross-validation: its studies and the new ones, with soft labels.

    Parameters
    ----------
    plan, out, folds
        Of the cross-validation, which has finished these folds.
    studies
        New studies: a folder with a sub-folder of NIfTI files for each, or a datalist whose ``test`` section has them.
        Their levels are located. A finding that no slice shows gets no soft label.
    natural
        Whether the networks were trained without the weights 1, 2, 4. Otherwise their probabilities are divided by
        them: soft labels are at natural prevalence, like labels.

    Raises
    ------
    InvalidOptionError, MissingInputError, InvalidTableError
        If there are no new studies, or one of them is in the datalist.
    BundleRunError
        If the grading of the new studies fails.
    """
    datalist = plan.datalist
    content, records = read_content(datalist), new_studies(datalist, studies)
    folder = out / FOLDER
    graded = [
        _grade(plan, out, fold, studies, records, prefixed(report, f"[{n}/{len(folds)}] fold {fold}: "))
        for n, fold in enumerate(folds, start=1)
    ]
    own, again = _out_of_fold(out, natural), {record["study_id"] for record in records}
    entries = [
        _moved(entry, datalist.parent, folder) for entry in content["training"] if entry["study_id"] not in again
    ]
    entries = [{**entry, **own.get(entry["study_id"], {})} for entry in entries]
    new = [entry for record in records if (entry := _new_entry(record, graded, natural, folder))]
    if not new:
        raise InvalidTableError(f"{studies}: in none of {counted(len(records), 'study')} does any slice show a finding")
    path = folder / "datalist.json"
    test = [_moved(entry, datalist.parent, folder) for entry in content.get("test") or []]
    write_json(path, {**content, "training": entries + new, "test": test})
    report(f"{counted(len(new), 'new study')} of {len(records)} with soft labels: {path}")
    return path


def _grade(plan: Plan, out: Path, fold: int, studies: Path, records: Sequence[Record], report: Report) -> Path:  # noqa: PLR0917
    """The folder with what a fold's network predicts for the new studies, made once."""
    folder, weights = out / FOLDER / f"fold_{fold}", out / "models" / f"fold_{fold}.pt"
    bundle, config = plan.bundle, plan.bundle / "configs" / "inference.json"
    files = [Path(file) for record in records for one in SeriesType for file in record[one.value]]
    # Sizes and times, not contents: volumes are large.
    stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    fingerprint = digest([config, weights], stamps)
    if read_state(folder / "run.json").get("fingerprint") == fingerprint:
        report("new studies graded before")
        return folder
    report(f"grades {counted(len(records), 'new study')}, log in {folder / 'log.txt'}")
    settings: Settings = (
        ("bundle_root", str(bundle)),
        ("dataset_dir", str(studies)),
        ("ckpt_path", str(weights)),
        ("output_dir", str(folder)),
        *(setting for setting in plan.settings if setting[0] in _OF_THE_MACHINE),
        *logging_setting(bundle),
    )
    run_step("inference", [config], settings, folder / "log.txt")
    write_state(folder / "run.json", fingerprint=fingerprint)
    return folder


def _out_of_fold(out: Path, natural: bool) -> dict[str, dict[str, Any]]:
    """By study of the cross-validation, its soft label from the network that never saw it."""
    labels = read_labels(out / "solution.csv")
    rows = read_predictions(out / "out_of_fold.csv", labels).probabilities
    return {study: {"soft_label": _soft(own, natural)} for study, own in zip(labels.study_ids, rows, strict=True)}


def _new_entry(record: Record, graded: Sequence[Path], natural: bool, folder: Path) -> dict[str, Any] | None:
    """An entry with the located points and the mean soft labels of a new study; None if no slice shows any finding."""
    # A run can leave out a study, which then has no findings.
    paths = [one / safe_name(record["study_id"]) / "findings.json" for one in graded]
    if not all(path.is_file() for path in paths):
        return None
    each = [read_json(path)["findings"] for path in paths]
    weighted = np.array([[[finding["weighted"][grade.column] for grade in Grade] for finding in of] for of in each])
    points = {finding["finding"]: finding["point"] for finding in each[0] if finding["point"]}
    shown = np.array([_NOT_COVERED not in finding["flags"] and finding["finding"] in points for finding in each[0]])
    if not shown.any():
        return None
    files = {one.value: [_relative(Path(file), folder) for file in record[one.value]] for one in SeriesType}
    return {
        **{"study_id": record["study_id"], "patient_id": record["patient_id"], **files},
        "soft_label": _soft(weighted.mean(axis=0), natural, shown),
        "points": points,
    }


def _soft(weighted: Floats, natural: bool, shown: np.ndarray | None = None) -> list[list[float] | None]:
    """A ``soft_label`` of ``(25, 3)`` probabilities; null where ``shown`` is False."""
    rows = np.round(normalised(weighted) if natural else natural_prevalence(weighted), _DIGITS).tolist()
    return [row if shown is None or shown[n] else None for n, row in enumerate(rows)]


def _moved(entry: dict[str, Any], source: Path, folder: Path) -> dict[str, Any]:
    """An entry whose paths, relative to one folder, become relative to another."""
    series = [one.value for one in SeriesType if one.value in entry]
    return {**entry, **{name: [_relative(source / file, folder) for file in entry[name]] for name in series}}


def _relative(file: Path, folder: Path) -> str:
    return os.path.relpath(file.resolve(), folder.resolve())
