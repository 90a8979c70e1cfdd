"""Learns what a training's studies look like to the trained grader: the command ``monai-spine training-features``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_spine.console import track
from monai_spine.crops.study import STUDY_IMAGES, StudyImages
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import digest_of
from monai_spine.grading.grader import Grader
from monai_spine.grading.grader_bundle import weight_files
from monai_spine.grading.training_features import CONDITION_OF_FINDING, TrainingFeatures, features_path
from monai_spine.levels.located_records import with_points
from monai_spine.levels.study_search import StudyInput, search
from monai_spine.prediction.inputs import Converted, find_inputs
from monai_spine.prediction.models import Models, open_models
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.scoring.competition import Floats
from monai_spine.spine import Condition

HELD_OUT_SHARE = 0.01
"""The share of held-out studies' findings that is flagged, where the limit rests on them."""
PATIENT_SHARE = 0.05
"""The share of patients' findings that is flagged, where the limit rests on patients: they are few."""
_ENOUGH = 20
"""Fewer studies than this say nothing of a distribution with a hundred features."""


@dataclass(frozen=True)
class LearntFeatures:
    """The result, and the shares of findings of each condition that it flags.

    ``held_out`` ``(5,)``; ``patients`` ``(5,)`` of each patient with a mean and a limit of the others, or None.
    """

    path: Path
    held_out: Floats
    patients: Floats | None

    def table(self) -> str:
        """For people: a row for each condition."""
        rows = ["| condition | flagged of held-out studies | flagged of patients, each left out |", "|---|--:|--:|"]
        for n, condition in enumerate(Condition):
            patients = "–" if self.patients is None else f"{self.patients[n]:.1%}"
            rows.append(f"| {condition.title} | {self.held_out[n]:.1%} | {patients} |")
        return "\n".join(rows)


def learn_features(
    bundle: Path,
    weights: Path | None,
    data: Path,
    held_out: Path,
    patients: Path | None = None,
    *,
    device: str | None = None,
    quiet: bool = False,
) -> LearntFeatures:
    """Write the features of a training's studies beside the weights, where `Grader.from_bundle` finds them.

    Parameters
    ----------
    data, held_out
        Studies of the training, and studies like them that it has not seen: inputs as of ``predict``. The points of a
        datalist are used; other studies are located.
    patients
        Real volumes from whose mean distances are measured (`TrainingFeatures`), and on which the limit rests, if the
        training's studies are no patients. None: from the mean of ``data``, and the limit rests on ``held_out``.

    Raises
    ------
    InvalidOptionError
        If the bundle's network has no features, or there are too few studies.
    SpineError
        If an input or the bundle cannot be used.
    """
    file = weight_files(bundle, weights)[0]
    _remove_stale(file)
    models = open_models(bundles=[bundle], weights=[file], device=device)
    grader = models.graders[0]
    tables = [_features(path, models, grader, quiet) for path in (data, held_out, *([patients] if patients else []))]
    if len(tables[0]) < _ENOUGH:
        raise InvalidOptionError(f"expected {_ENOUGH} studies or more in {data}, but found {len(tables[0])}")
    fitted = TrainingFeatures.fit(tables[0])
    limited = fitted.of_patients(tables[2], PATIENT_SHARE) if patients else fitted.limited(tables[1], HELD_OUT_SHARE)
    shares = _beyond(limited, tables[1])
    left_out = None
    if patients and len(tables[2]) > 1:
        each = [_left_out(fitted, tables[2], n) for n in range(len(tables[2]))]
        left_out = np.mean(each, axis=0)
    about = {
        "weights": digest_of([file]),
        "studies": len(tables[0]),
        "held_out": len(tables[1]),
        "patients": len(tables[2]) if patients else 0,
        "flagged_of_held_out": shares.round(4).tolist(),
        "flagged_of_patients_left_out": None if left_out is None else left_out.round(4).tolist(),
    }
    replace(limited, about=about).write(features_path(file))
    return LearntFeatures(features_path(file), shares, left_out)


def _left_out(fitted: TrainingFeatures, patients: Floats, number: int) -> Floats:
    others = np.delete(patients, number, axis=0)
    return _beyond(fitted.of_patients(others, PATIENT_SHARE), patients[number : number + 1])


def _beyond(features: TrainingFeatures, studies: Floats) -> Floats:
    """The share of findings of each condition beyond the limit."""
    beyond = features.distances(studies) > 1
    return np.array([beyond[:, condition == CONDITION_OF_FINDING].mean() for condition in range(len(Condition))])


def _features(path: Path, models: Models, grader: Grader, quiet: bool) -> Floats:
    studies = _pending(path)
    each = (_features_of(study, models, grader) for study in studies)
    features = [one for one in track(each, f"features of {path.name}", len(studies), quiet) if one is not None]
    if not features:
        raise MissingInputError(f"{path}: expected studies with a lumbar spine, but found none")
    return np.stack(features)


def _pending(path: Path) -> Sequence[PendingStudy]:
    def refuse(*_: Path) -> Converted:
        raise InvalidOptionError(f"{path} is DICOM; convert it first, with python -m data_prep convert")

    return find_inputs([path], path, refuse).studies


def _features_of(study: PendingStudy, models: Models, grader: Grader) -> Floats | None:
    """The features of a study; None if it cannot be graded."""
    images = StudyImages()
    checked = study.checked(images.open)
    if checked.fault:
        return None
    record = checked.record
    if not record["points"]:
        located = search(StudyInput.of(record), models.levels, models.recesses, images.opened).located
        if not located.has_points:
            return None
        record = with_points(record, located)
    return grader.features({**record, STUDY_IMAGES: images})


def _remove_stale(weights: Path) -> None:
    """Remove features of other weights, with which these weights would be refused."""
    path = features_path(weights)
    if path.is_file():
        try:
            TrainingFeatures.read(path, digest_of([weights]))
        except InvalidTableError:
            path.unlink()
