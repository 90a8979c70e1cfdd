"""A grader's bundle as one object: from a study's record to probabilities, with the bundle's own configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_spine.bundle.provenance import trained_on
from monai_spine.bundle.shipped import GRADER
from monai_spine.crops.bilinear import Floats as Float32s
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidOptionError, InvalidTableError, listed
from monai_spine.files import digest_of
from monai_spine.grading.canal_opinion import CANAL_MM, CanalOpinion, opinion_path
from monai_spine.grading.converted_grader import convert_grader
from monai_spine.grading.evidence import SeenImages
from monai_spine.grading.grader_bundle import GraderFiles
from monai_spine.grading.grader_model import GraderModel
from monai_spine.grading.poses import poses
from monai_spine.grading.training_features import TrainingFeatures, features_path
from monai_spine.runtime.choice import TORCH, RuntimeChoice
from monai_spine.scoring.competition import Floats
from monai_spine.scoring.prevalence import natural_prevalence, normalised
from monai_spine.spine import FINDINGS, FLIPPED, Condition, Grade
from monai_spine.weights_checksum import Verified, check_weights

if TYPE_CHECKING:
    import torch

    from monai_spine.grading.parsed_grader import ParsedGrader
    from monai_spine.tables.calibration import Calibration

SHAPE = (len(FINDINGS), len(Grade))


@dataclass(frozen=True)
class Grades:
    """Probabilities ``(25, 3)`` of a study: competition-weighted, and at natural prevalence.

    ``distances`` ``(25,)`` are those from the training's studies, as a share of the limit (`TrainingFeatures`); NaN
    where they are not known. ``images`` ``(25, 3)`` are the natural ones without the share of the canal's diameter;
    None if that has none.
    """

    weighted: Floats
    natural: Floats
    distances: Floats = field(default_factory=lambda: np.full(len(FINDINGS), np.nan))
    images: Floats | None = None


class Grader:
    """Grades studies with a bundle's ``configs/inference.json``: the mean over all of its weights.

    Parameters
    ----------
    name
        Of the bundle, for people.
    model
        Its networks, and what they take.
    tta
        Test-time augmentation: names of `monai_spine.grading.poses.CHANGES`.
    calibration
        From the mean of the probabilities to natural ones; None divides by the competition's weights.
    familiar
        The features of the training's studies, of the first network; None if they are not known.
    opinion
        What the canal's diameter says about its grade; None if it has no share in it.
    about
        What ``findings.json`` holds about the model.
    digest
        Differs between graders whose predictions may differ.

    Attributes
    ----------
    graded
        ``(25,)``: which findings it learnt to grade.
    """

    def __init__(
        self,
        *,
        name: str,
        model: GraderModel,
        tta: Sequence[str] = (),
        device: str = "cpu",
        calibration: Calibration | None = None,
        familiar: TrainingFeatures | None = None,
        opinion: CanalOpinion | None = None,
        trained_on: str | None = None,
        about: Mapping[str, Any] | None = None,
        digest: str = "",
    ) -> None:
        self.name, self.trained_on = name, trained_on
        self.device = device
        self.model, self.poses = model, poses(tta)
        conditions = model.conditions
        chosen = {condition.value for condition in Condition} if conditions is None else set(conditions)
        self.graded = np.array([finding.condition.value in chosen for finding in FINDINGS])
        self.calibration, self.familiar, self.opinion = calibration, familiar, opinion
        self.about, self.digest = dict(about or {}), digest

    @classmethod
    def from_bundle(
        cls,
        bundle: Path = GRADER,
        weights: Path | None = None,
        *,
        presets: Sequence[str] = (),
        device: str = "cpu",
        tta: Sequence[str] = (),
        verify: bool = True,
        runtime: RuntimeChoice = TORCH,
        gated: bool = True,
    ) -> Grader:
        """The grader of a bundle.

        Parameters
        ----------
        presets
            Configuration files: names of those in the bundle's ``configs/presets``, or paths. Settings of the training
            need none, since weights are described; new parts do, such as a further view.
        weights
            A file, or a folder with ``fold_*.pt`` or ``model.pt``; None for the bundle's ``models``. A
            ``calibration.json`` beside them is applied.
        tta
            Test-time augmentation: names of `monai_spine.grading.poses.CHANGES`. The study is also graded in
            these poses, and the mean is taken.
        verify
            Whether the checksums of the weights are compared.
        runtime
            What runs the networks. Its precision is used if they passed their gate, else float32.
        gated
            False for the comparison itself, which needs the precision before there is a gate.

        Raises
        ------
        MissingInputError, InvalidTableError, InvalidOptionError
            If the bundle, its configuration or its weights are missing or do not fit, its preprocessing cannot flip
            the study, or it cannot run in that way.
        """
        files = GraderFiles.of(bundle, weights, presets)
        description = files.description
        name = "+".join([bundle.resolve().name, *(Path(preset).stem for preset in presets)])
        model = _model(name, files, device, tta=tta, verify=verify, runtime=runtime, gated=gated)
        calibration = _calibration(files)
        # the metadata are about the bundle's own weights
        source = description.trained_on or (trained_on(bundle) if weights is None else None)
        return cls(
            name=name,
            model=model,
            tta=tta,
            device=device,
            calibration=calibration,
            familiar=_familiar(files),
            opinion=_opinion(files),
            trained_on=source,
            about={
                "bundle": name,
                "verified": _verified(files.weights) if verify else Verified.NO.value,
                "weights": {file.name: digest_of([file]) for file in files.weights},
                "trained_on": source,
                "calibrated": calibration is not None,
                "flipped_too": "flip" in tta,
                "tta": list(tta),
                "runtime": model.runtime.about(),
            },
            digest="+".join([digest_of(files.all), *sorted(tta)]) + model.runtime.mark,
        )

    @property
    def networks(self) -> list[torch.nn.Module]:
        """Its networks in PyTorch, in evaluation mode, whatever runs them: explanations need their gradients."""
        return self.model.networks

    def __call__(self, record: Record) -> Grades:
        """Probabilities of a study: the mean over all weights, and over all poses of test-time augmentation.

        The canal's diameters, which a record may hold under `CANAL_MM`, have the share that the opinion gives them.

        Raises
        ------
        InvalidTableError
            If the bundle does not give ``(25, 3)`` probabilities.
        """
        items = [self.model.item(record, pose) for pose in self.poses]
        rows = []
        outputs = self.model.outputs([item["image"] for item in items])
        for output in outputs:
            logits = output[..., : len(Grade)]
            self._check_shape(logits, len(items))
            for n, (item, pose) in enumerate(zip(items, self.poses, strict=True)):
                # In the flipped study, left findings are those of the patient's right side: exchange them back.
                rows.append(self._rows(item, logits[n])[list(FLIPPED) if pose.flipped else slice(None)])
        weighted = normalised(np.mean(rows, axis=0))
        grades = Grades(weighted, self._natural(weighted))
        if self.opinion is not None and record.get(CANAL_MM):
            weighted = self.opinion.pooled(weighted, record[CANAL_MM])
            grades = Grades(weighted, self._natural(weighted), images=grades.natural)
        if self.familiar is None:
            return grades
        distances = self.familiar.distances(outputs[0][0, :, len(Grade) :].astype(np.float64))
        return replace(grades, distances=np.where(self.graded, distances, np.nan))

    def _natural(self, weighted: Floats) -> Floats:
        return self.calibration.apply(weighted) if self.calibration else natural_prevalence(weighted)

    def features(self, record: Record) -> Floats:
        """The features ``(25, features)`` from which the first network grades a study.

        Raises
        ------
        InvalidOptionError
            If the network does not give them.
        """
        output = self.model.outputs([self.model.item(record)["image"]])[0]
        if output.shape[-1] <= len(Grade):
            raise InvalidOptionError(
                f"{self.name}: expected a LevelGrader, whose features are known, but found another network"
            )
        return output[0, :, len(Grade) :].astype(np.float64)

    def seen_images(self, record: Record) -> SeenImages:
        """The images of a study that it grades.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If a volume cannot be used.
        """
        # The study in other poses shows the same slices.
        return SeenImages(self.model.crops(record), self.graded)

    def image(self, record: Record) -> Float32s:
        """What its networks get of a study: the ``image`` of its preprocessing, not flipped.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If a volume cannot be used.
        """
        return np.asarray(self.model.item(record)["image"], dtype=np.float32)

    @property
    def stacked_views(self) -> tuple[View, ...]:
        """The views whose slices follow one another in `image`; none if it is not made of crops."""
        return self.model.stacked_views

    def _check_shape(self, logits: Float32s, studies: int) -> None:
        shape = tuple(logits.shape)
        if shape != (studies, *SHAPE):
            raise InvalidTableError(f"{self.name}: expected logits of the shape {(studies, *SHAPE)}, but found {shape}")

    def _rows(self, item: Mapping[str, Any], logits: Float32s) -> Floats:
        rows = np.asarray(self.model.probabilities(item, logits), dtype=np.float64)
        if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(axis=-1) > 0).all()):
            raise InvalidTableError(f"{self.name}: expected probabilities of 0 or more, but found others")
        return normalised(rows)


def _model(
    name: str,
    files: GraderFiles,
    device: str,
    *,
    tta: Sequence[str],
    verify: bool,
    runtime: RuntimeChoice,
    gated: bool,
) -> GraderModel:
    @lru_cache(maxsize=1)
    def parse() -> ParsedGrader:
        # Imported here: MONAI takes four seconds, and converted graders do without it.
        from monai_spine.grading.parsed_grader import ParsedGrader

        return ParsedGrader(name, files, device, tta=tta, verify=verify)

    converted = None if runtime.is_torch else convert_grader(files, runtime, parse, verify=verify, gated=gated)
    if converted is not None:
        return converted
    parsed = parse()
    _ = parsed.networks  # weights that do not fit are an error before the first study
    return parsed


def _calibration(files: GraderFiles) -> Calibration | None:
    if files.calibration is None:
        return None
    from monai_spine.tables.calibration import Calibration  # it imports SciPy's optimizers

    return Calibration.read(files.calibration)


def _familiar(files: GraderFiles) -> TrainingFeatures | None:
    path = features_path(files.weights[0])
    return TrainingFeatures.read(path, digest_of([files.weights[0]])) if path.is_file() else None


def _opinion(files: GraderFiles) -> CanalOpinion | None:
    path = opinion_path(files.weights[0])
    return CanalOpinion.read(path, digest_of([files.weights[0]])) if path.is_file() else None


def _verified(files: Sequence[Path]) -> str:
    """How the files of weights were checked: the weakest of all checks."""
    checks = {check_weights(file) for file in files}
    return next(check.value for check in reversed(Verified) if check in checks)


def mean_grades(graders: Sequence[Grader], record: Record) -> Grades:
    """The mean of several graders' probabilities. The mean of a finding is over the graders that learnt to grade it."""
    # `normalised` divides by the number of votes, which differs between findings.
    votes = np.stack([grader.graded for grader in graders]).astype(np.float64)[:, :, None]
    each = [grader(record) for grader in graders]
    distances = np.stack([one.distances for one in each])
    known = np.isfinite(distances)
    total = np.where(known, distances, 0.0).sum(axis=0)
    images = [one.natural if one.images is None else one.images for one in each]
    return Grades(
        normalised((votes * [one.weighted for one in each]).sum(axis=0)),
        normalised((votes * [one.natural for one in each]).sum(axis=0)),
        np.where(known.any(axis=0), total / known.sum(axis=0).clip(min=1), np.nan),
        None if all(one.images is None for one in each) else normalised((votes * images).sum(axis=0)),
    )


def check_all_graded(graders: Sequence[Grader]) -> None:
    """Make sure that every finding has a grader that learnt to grade it.

    Raises
    ------
    InvalidOptionError
        If a finding has none. The message has the conditions.
    """
    ungraded = ~np.any([grader.graded for grader in graders], axis=0)
    if ungraded.any():
        names = dict.fromkeys(FINDINGS[n].condition.value for n in np.flatnonzero(ungraded))
        raise InvalidOptionError(
            f"{' and '.join(grader.name for grader in graders)} did not learn to grade {listed(list(names))}; "
            "add a --model that did"
        )
