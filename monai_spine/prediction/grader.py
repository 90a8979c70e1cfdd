"""A grader's bundle as one object: from a study's record to probabilities, with the bundle's own configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SimpleInferer

from monai_spine.bundle.model_description import description_path
from monai_spine.bundle.provenance import trained_on
from monai_spine.bundle.shipped import GRADER
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError, chain, listed
from monai_spine.prediction import grader_bundle
from monai_spine.prediction.evidence import SeenImages
from monai_spine.prediction.tta import posed, poses
from monai_spine.scoring.competition import Floats, natural_prevalence, normalised
from monai_spine.spine import FINDINGS, FLIPPED, Condition, Grade
from monai_spine.tables.calibration import Calibration
from monai_spine.weights import load_weights
from monai_spine.weights_checksum import Verified, check_weights

SHAPE = (len(FINDINGS), len(Grade))


@dataclass(frozen=True)
class Grades:
    """Probabilities ``(25, 3)`` of a study: competition-weighted, and at natural prevalence."""

    weighted: Floats
    natural: Floats


class Grader:
    """Grades studies with a bundle's ``configs/inference.json``: the mean over all of its weights.

    Parameters
    ----------
    name
        Of the bundle, for people.
    networks
        One for each file of weights.
    preprocessings
        Each is a function from a record to a dictionary with ``image``, and whether its image is of the flipped study.
    postprocessing
        From a dictionary with ``pred``, logits ``(25, 3)``, to one with probabilities.
    inferer
        Runs a network; MONAI's `SimpleInferer` if None.
    conditions
        The conditions that it learnt to grade (values of `Condition`); its predictions of others are not used. None
        for all conditions.
    calibration
        From the mean of the probabilities to natural ones; None divides by the competition's weights.
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
        networks: Sequence[torch.nn.Module],
        preprocessings: Sequence[tuple[Callable[..., Any], bool]],
        postprocessing: Callable[..., Any],
        inferer: Callable[..., torch.Tensor] | None = None,
        conditions: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
        calibration: Calibration | None = None,
        trained_on: str | None = None,
        about: Mapping[str, Any] | None = None,
        digest: str = "",
    ) -> None:
        self.name, self.trained_on = name, trained_on
        self.device = torch.device(device)
        self.networks = [network.to(self.device).eval() for network in networks]
        self.preprocessings = tuple(preprocessings)
        self.postprocessing = postprocessing
        self.inferer = inferer or SimpleInferer()
        chosen = {condition.value for condition in Condition} if conditions is None else set(conditions)
        self.graded = np.array([finding.condition.value in chosen for finding in FINDINGS])
        self.calibration = calibration
        self.about, self.digest = dict(about or {}), digest

    @classmethod
    def from_bundle(
        cls,
        bundle: Path = GRADER,
        weights: Path | None = None,
        *,
        presets: Sequence[str] = (),
        device: torch.device | str = "cpu",
        tta: Sequence[str] = (),
        verify: bool = True,
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
            Test-time augmentation: names of `monai_spine.prediction.tta.CHANGES`. The study is also graded in
            these poses, and the mean is taken.
        verify
            Whether the checksums of the weights are compared.

        Raises
        ------
        MissingInputError, InvalidTableError, InvalidOptionError
            If the bundle, its configuration or its weights are missing or do not fit, or its preprocessing cannot
            flip the study.
        """
        configs = grader_bundle.config_files(bundle, presets)
        grader_bundle.check_is_grader(bundle)
        files = grader_bundle.weight_files(bundle, weights)
        description = grader_bundle.common_description(files)
        parts = grader_bundle.parsed_parts(
            configs, bundle, torch.device(device), description=description, weights=files[0]
        )
        # A network of its own for each file of weights: they are all in memory, and each study passes through all.
        networks = [load_weights(copy.deepcopy(parts["network_def"]), file, verify=verify) for file in files]
        beside = files[0].parent / "calibration.json"
        calibration = Calibration.read(beside) if beside.is_file() else None
        # the metadata are about the bundle's own weights
        source = description.trained_on or (trained_on(bundle) if weights is None else None)
        name = "+".join([bundle.resolve().name, *(Path(preset).stem for preset in presets)])
        preprocessings = [(posed(parts["preprocessing"], pose, name), pose.flipped) for pose in poses(tta)]
        read = [*configs, *files, *map(description_path, files), *([beside] if calibration else [])]
        return cls(
            name=name,
            networks=networks,
            preprocessings=preprocessings,
            postprocessing=parts["postprocessing"],
            inferer=parts.get("inferer"),
            conditions=parts.get("conditions"),
            device=device,
            calibration=calibration,
            trained_on=source,
            about={
                "bundle": name,
                "verified": _verified(files) if verify else Verified.NO.value,
                "weights": {file.name: grader_bundle.digest_of([file]) for file in files},
                "trained_on": source,
                "calibrated": calibration is not None,
                "flipped_too": "flip" in tta,
                "tta": list(tta),
            },
            digest="+".join([grader_bundle.digest_of(read), *sorted(tta)]),
        )

    @torch.no_grad()
    def __call__(self, record: Record) -> Grades:
        """Probabilities of a study: the mean over all weights, and over all poses of test-time augmentation.

        Raises
        ------
        InvalidTableError
            If the bundle does not give ``(25, 3)`` probabilities.
        """
        rows = []
        for preprocessing, is_flipped in self.preprocessings:
            item = self._item(preprocessing, record)
            # In the flipped study, left findings are those of the patient's right side: exchange them back.
            order = list(FLIPPED) if is_flipped else slice(None)
            rows += [self._rows(network, item)[order] for network in self.networks]
        weighted = normalised(np.mean(rows, axis=0))
        return Grades(weighted, self.calibration.apply(weighted) if self.calibration else natural_prevalence(weighted))

    def seen_images(self, record: Record) -> SeenImages:
        """The images of a study that it grades.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If a volume cannot be used.
        """
        # The study in other poses shows the same slices.
        return SeenImages(grader_bundle.crops_of(self.preprocessings[0][0], record), self.graded)

    def image(self, record: Record) -> torch.Tensor:
        """What its networks get of a study: the ``image`` of its preprocessing, not flipped.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If a volume cannot be used.
        """
        image: torch.Tensor = self._item(self.preprocessings[0][0], record)["image"]
        return image

    @property
    def stacked_views(self) -> tuple[View, ...]:
        """The views whose slices follow one another in `image`; none if it is not made of crops."""
        return grader_bundle.stacked_views(self.preprocessings[0][0])

    def _item(self, preprocessing: Callable[..., Any], record: Record) -> dict[str, Any]:
        try:
            item = preprocessing(dict(record))
        except RuntimeError as err:  # MONAI's Compose turns every error of a transform into one
            cause = next((one for one in chain(err) if isinstance(one, SpineError)), None)
            if cause is None:
                raise
            raise cause from err
        if not (isinstance(item, dict) and isinstance(item.get("image"), torch.Tensor)):
            raise InvalidTableError(
                f"{self.name}: expected its preprocessing to make an image of a study; is the bundle a grader?"
            )
        return item

    def _rows(self, network: torch.nn.Module, item: dict[str, Any]) -> Floats:
        logits = self.inferer(item["image"][None].to(self.device), network)
        shape = tuple(logits.shape)
        if shape != (1, *SHAPE):
            raise InvalidTableError(f"{self.name}: expected logits of the shape {(1, *SHAPE)}, but found {shape}")
        # In float32 on the CPU, so that probabilities do not depend on the device's precision.
        pred = self.postprocessing({**item, "pred": logits[0].float().cpu()})["pred"]
        rows = np.asarray(torch.as_tensor(pred).numpy(), dtype=np.float64)
        if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(axis=-1) > 0).all()):
            raise InvalidTableError(f"{self.name}: expected probabilities of 0 or more, but found others")
        return normalised(rows)


def _verified(files: Sequence[Path]) -> str:
    """How the files of weights were checked: the weakest of all checks."""
    checks = {check_weights(file) for file in files}
    return next(check.value for check in reversed(Verified) if check in checks)


def mean_grades(graders: Sequence[Grader], record: Record) -> Grades:
    """The mean of several graders' probabilities. The mean of a finding is over the graders that learnt to grade it."""
    # `normalised` divides by the number of votes, which differs between findings.
    votes = np.stack([grader.graded for grader in graders]).astype(np.float64)[:, :, None]
    each = [grader(record) for grader in graders]
    return Grades(
        normalised((votes * [one.weighted for one in each]).sum(axis=0)),
        normalised((votes * [one.natural for one in each]).sum(axis=0)),
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
