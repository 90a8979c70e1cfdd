"""A grader's bundle as one object: from a study's record to probabilities, by the bundle's own configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SimpleInferer

from monai_spine.bundle.errors import chain
from monai_spine.bundle.provenance import trained_on
from monai_spine.bundle.shipped import GRADER
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError, listed
from monai_spine.prediction.bundle import check_is_grader, config_files, digest_of, parsed, weight_files
from monai_spine.prediction.mirror import mirrored as in_a_mirror
from monai_spine.scoring.competition import Floats, natural_prevalence, normalised
from monai_spine.spine import FINDINGS, FLIPPED, Condition, Grade
from monai_spine.tables.calibration.calibrator import Calibration
from monai_spine.weights import load_weights

"""The bundle that is shipped beside the package."""
SHAPE = (len(FINDINGS), len(Grade))


@dataclass(frozen=True)
class Grades:
    """Probabilities ``(25, 3)`` of a study: competition-weighted, and at natural prevalence."""

    weighted: Floats
    natural: Floats


class Grader:
    """Grades studies as a bundle's ``configs/inference.json`` says, with the mean of all of its weights.

    Parameters
    ----------
    name
        Of the bundle, for people.
    networks
        One for each file of weights.
    preprocessings
        From a record to a dictionary with ``image``; and whether it is the mirrored study.
    postprocessing
        From a dictionary with ``pred``, logits ``(25, 3)``, to one with probabilities.
    inferer
        Runs a network.
    conditions
        Those that it learnt to grade (values of `Condition`), of which alone it has a say; None for all.
    calibration
        From the mean of the probabilities to natural ones; None divides the competition's weights out.
    about
        What findings.json says of the model.
    digest
        Changes whenever the answers may.
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
        self.speaks_of = np.array([finding.condition.value in chosen for finding in FINDINGS])
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
        mirrored: bool = False,
    ) -> Grader:
        """The grader of a bundle.

        Parameters
        ----------
        presets
            Names of configuration files in the bundle's ``configs/presets``, that its weights were trained with.
        weights
            A file, or a folder with ``fold_*.pt``, or else ``model.pt``; None for the bundle's ``models``. A
            ``calibration.json`` beside them is applied.
        mirrored
            Whether to grade the study in a mirror, too, and to take the mean.

        Raises
        ------
        MissingInputError, InvalidTableError, InvalidOptionError
            If the bundle, its configuration or its weights are missing or do not fit, or it cannot be mirrored.
        """
        configs = config_files(bundle, presets)
        check_is_grader(bundle)
        files = weight_files(bundle, weights)
        parts = parsed(configs, bundle, torch.device(device))
        networks = [load_weights(copy.deepcopy(parts["network_def"]), file) for file in files]
        beside = files[0].parent / "calibration.json"
        calibration = Calibration.read(beside) if beside.is_file() else None
        said = trained_on(bundle) if weights is None else None
        name = "+".join([bundle.resolve().name, *presets])
        plain = parts["preprocessing"]
        digests = {file.name: digest_of([file]) for file in files}
        return cls(
            name=name,
            networks=networks,
            preprocessings=[(plain, False), *([(in_a_mirror(plain, name), True)] if mirrored else [])],
            postprocessing=parts["postprocessing"],
            inferer=parts.get("inferer"),
            conditions=parts.get("conditions"),
            device=device,
            calibration=calibration,
            trained_on=said,
            about={
                "bundle": name,
                "weights": digests,
                "trained_on": said,
                "calibrated": calibration is not None,
                "mirrored_too": mirrored,
            },
            digest=digest_of([*configs, *files, *([beside] if calibration else [])]) + ("+mirror" if mirrored else ""),
        )

    @torch.no_grad()
    def __call__(self, record: Record) -> Grades:
        """Probabilities of a study, the mean over all weights, plain and mirrored.

        Raises
        ------
        InvalidTableError
            If what the bundle gives is no ``(25, 3)`` probabilities.
        """
        rows = [
            self._rows(network, item)[list(FLIPPED) if mirror else slice(None)]
            for preprocessing, mirror in self.preprocessings
            for item in [self._item(preprocessing, record)]
            for network in self.networks
        ]
        weighted = normalised(np.mean(rows, axis=0))
        return Grades(weighted, self.calibration.apply(weighted) if self.calibration else natural_prevalence(weighted))

    def _item(self, preprocessing: Callable[..., Any], record: Record) -> dict[str, Any]:
        try:
            item = preprocessing(dict(record))
        except RuntimeError as err:  # what MONAI makes of any error in a transform
            cause = next((one for one in chain(err) if isinstance(one, SpineError)), None)
            if cause is None:
                raise
            raise cause from err
        if not (isinstance(item, dict) and isinstance(item.get("image"), torch.Tensor)):
            raise InvalidTableError(
                f"{self.name}: expected its preprocessing to make an image of a study; is it a grader?"
            )
        return item

    def _rows(self, network: torch.nn.Module, item: dict[str, Any]) -> Floats:
        logits = self.inferer(item["image"][None].to(self.device), network)
        shape = tuple(logits.shape)
        if shape != (1, *SHAPE):
            raise InvalidTableError(f"{self.name}: expected logits of the shape {(1, *SHAPE)}, but found {shape}")
        pred = self.postprocessing({**item, "pred": logits[0].float().cpu()})["pred"]
        rows = np.asarray(torch.as_tensor(pred).numpy(), dtype=np.float64)
        if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(axis=-1) > 0).all()):
            raise InvalidTableError(f"{self.name}: expected probabilities of 0 or more, but its network gives others")
        return normalised(rows)


def mean_grades(graders: Sequence[Grader], record: Record) -> Grades:
    """The mean of several graders' probabilities; each finding's over the graders that learnt to grade it."""
    votes = np.stack([grader.speaks_of for grader in graders]).astype(np.float64)[:, :, None]
    each = [grader(record) for grader in graders]
    return Grades(
        normalised((votes * [one.weighted for one in each]).sum(axis=0)),
        normalised((votes * [one.natural for one in each]).sum(axis=0)),
    )


def check_all_graded(graders: Sequence[Grader]) -> None:
    """Make sure that together the graders have a say in every finding.

    Raises
    ------
    InvalidOptionError
        If they have not: names the conditions.
    """
    silent = ~np.any([grader.speaks_of for grader in graders], axis=0)
    if silent.any():
        names = dict.fromkeys(finding.condition.value for finding, lacks in zip(FINDINGS, silent, strict=True) if lacks)
        raise InvalidOptionError(
            f"{' and '.join(grader.name for grader in graders)} did not learn to grade {listed(list(names))}; "
            "add a --model that did"
        )
