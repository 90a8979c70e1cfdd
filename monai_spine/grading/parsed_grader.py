"""A grader as MONAI's parser makes it of a bundle's configuration: any network, any transforms, run by PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from monai.transforms import Activationsd, Compose, EnsureTyped, SelectItemsd

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.model_description import ModelDescription
from monai_spine.bundle.model_settings import followed
from monai_spine.bundle.process import has_bfloat16, quiet_readers
from monai_spine.crops.augmentation import AS_IT_IS, NO_AUGMENTATION, FixedPose
from monai_spine.crops.bilinear import Floats
from monai_spine.crops.study import StudyCrops
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidTableError, SpineError, chain, listed
from monai_spine.grading.grader_bundle import GraderFiles
from monai_spine.grading.grader_plan import GraderPlan
from monai_spine.grading.poses import poses
from monai_spine.grading.tta import posed
from monai_spine.networks.level_grader import LevelGrader, LogitsAndFeatures
from monai_spine.runtime.choice import TORCH, Precision
from monai_spine.training.inferers import MixedPrecisionInferer
from monai_spine.transforms.level_crops import LevelCropsd, LevelStackd
from monai_spine.weights import load_weights

_REQUIRED = ("network_def", "preprocessing", "postprocessing")
_OPTIONAL = ("inferer", "conditions")


class ParsedGrader:
    """Networks, preprocessing and postprocessing of a bundle.

    Attributes
    ----------
    name
        Of the bundle, for messages.
    conditions
        Those that it learnt to grade; None for all.
    runtime
        Always PyTorch, in the precision that the bundle's ``amp`` gives it on the device.

    Raises
    ------
    InvalidTableError, InvalidOptionError
        If a part of the configuration is missing or does not fit, or ``tta`` is not possible.
    """

    def __init__(
        self, name: str, files: GraderFiles, device: str, *, tta: Sequence[str] = (), verify: bool = True
    ) -> None:
        self.name, self.files, self.device, self.verify = name, files, device, verify
        self.parts = parsed_parts(
            files.configs, files.bundle, device, description=files.description, weights=files.weights[0]
        )
        self.preprocessings = {pose: posed(self.parts["preprocessing"], pose, name) for pose in poses(tta)}
        self.conditions: Sequence[str] | None = self.parts.get("conditions")
        self._inferer = self.parts.get("inferer") or SimpleInferer()
        mixed = isinstance(self._inferer, MixedPrecisionInferer) and self._inferer.enabled
        self.runtime = replace(TORCH, precision=Precision.BFLOAT16 if mixed else Precision.FLOAT32)

    @cached_property
    def networks(self) -> list[torch.nn.Module]:
        """A network of its own for each file of weights: each study passes through all."""
        networks = []
        for file in self.files.weights:
            network = load_weights(copy.deepcopy(self.parts["network_def"]), file, verify=self.verify)
            if isinstance(network, LevelGrader) and self.device == "cpu":
                network.speed_up(channels_last=True)  # 50 ms a study instead of 78 on one thread
            networks.append(network.to(self.device).eval())
        return networks

    @torch.inference_mode()
    def outputs(self, images: Sequence[torch.Tensor | Floats]) -> list[Floats]:
        """The logits of each network, of a batch of images; behind them, of a `LevelGrader`, the features."""
        image = torch.stack([torch.as_tensor(one) for one in images]).to(self.device)
        made = [self._inferer(image, with_features(network)) for network in self.networks]
        # In float32 on the CPU, so that probabilities do not depend on the device's precision.
        return [one.float().cpu().numpy() for one in made]

    def item(self, record: Record, pose: FixedPose = AS_IT_IS) -> dict[str, Any]:
        """What the preprocessing makes of a study in one of the poses; under ``image``, the networks' input."""
        try:
            item = self.preprocessings[pose](dict(record))
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

    def probabilities(self, item: Mapping[str, Any], logits: Floats) -> Floats:
        """The postprocessing of a study's item with its logits ``(25, 3)``."""
        pred = self.parts["postprocessing"]({**item, "pred": torch.from_numpy(logits)})["pred"]
        return np.asarray(torch.as_tensor(pred))

    def crops(self, record: Record) -> tuple[StudyCrops, ...]:
        """The crops that the preprocessing cuts; see `crops_of`."""
        return crops_of(self.parts["preprocessing"], record)

    @property
    def plan(self) -> GraderPlan | None:
        """All that a converted `LevelGrader` needs besides its network; None for other networks or transforms."""
        inferer = self._inferer
        in_float32 = self.runtime == TORCH and isinstance(inferer, SimpleInferer | MixedPrecisionInferer)
        transforms = Compose([self.parts["preprocessing"]]).flatten().transforms
        usual = tuple(type(one) for one in transforms) == (LevelCropsd, LevelStackd, SelectItemsd, EnsureTyped)
        if not (usual and in_float32 and isinstance(self.parts["network_def"], LevelGrader)):
            return None
        crops = transforms[0]
        if crops.augmentation != NO_AUGMENTATION or crops.cache is not None or crops.leave_out_bad:
            return None
        if not _is_softmax(self.parts["postprocessing"]):
            return None
        return GraderPlan(self.stacked_views, self.conditions)

    @property
    def stacked_views(self) -> tuple[View, ...]:
        """The views that the preprocessing cuts and joins to one image, in the order of the slices."""
        transforms = Compose([self.parts["preprocessing"]]).flatten().transforms
        views = {view.name: view for one in transforms if isinstance(one, LevelCropsd) for view in one.views}
        return tuple(views[str(name)] for one in transforms if isinstance(one, LevelStackd) for name in one.keys)


def with_features(network: torch.nn.Module) -> torch.nn.Module:
    """A network that gives its features, too, if it can."""
    return LogitsAndFeatures(network) if isinstance(network, LevelGrader) else network


def parsed_parts(
    configs: Sequence[Path], bundle: Path, device: str, *, description: ModelDescription, weights: Path
) -> dict[str, Any]:
    """``network_def``, ``preprocessing``, ``postprocessing``, and if there are any ``inferer`` and ``conditions``.

    Parameters
    ----------
    description
        Of the weights. Their settings are taken over.
    weights
        The described file, for messages.

    Raises
    ------
    InvalidTableError
        If one of them is missing or cannot be built.
    InvalidOptionError
        If a preset does not fit the weights; see `followed`.
    """
    quiet_readers()
    parser = ConfigParser()
    names = " with ".join(str(config) for config in configs)
    try:
        parser.read_config([str(config) for config in configs])
        absent = [key for key in _REQUIRED if key not in parser]
        if absent:
            raise InvalidTableError(f"{names}: expected a grader's configuration, but it has no {listed(absent)}")
        parser.update(followed(parser.get(), ConfigParser.load_config_file(configs[0]), description, weights))
        parser.update({"bundle_root": str(bundle), "device": f"$torch.device('{device}')"})
        if "amp" in parser:
            # On a CPU, predictions stay in float32, so that they do not depend on the processor's bfloat16.
            parser["amp"] = has_bfloat16(device)
        keys = [*_REQUIRED, *(key for key in _OPTIONAL if key in parser)]
        return {key: parser.get_parsed_content(key) for key in keys}
    except SpineError:
        raise
    except Exception as err:  # MONAI's parser raises errors of many kinds
        raise InvalidTableError(f"{names}: {explanation(err) or _last_line(err)}") from err


def crops_of(preprocessing: Callable[..., Any], record: Record) -> tuple[StudyCrops, ...]:
    """The crops that a preprocessing cuts out of a study, without their pixels; none if it has no `LevelCropsd`.

    Raises
    ------
    InvalidVolumeError, MissingInputError
        If a volume cannot be used.
    """
    transforms = Compose([preprocessing]).flatten().transforms
    return tuple(one.study(record) for one in transforms if isinstance(one, LevelCropsd))


_PROBE = torch.tensor([[-2.0, 0.5, 1.0]]).repeat(25, 1)


def _is_softmax(postprocessing: Callable[..., Any]) -> bool:
    if not isinstance(postprocessing, Activationsd):
        return False
    made = torch.as_tensor(postprocessing({"pred": _PROBE})["pred"])
    return bool(torch.equal(made, torch.softmax(_PROBE, dim=-1)))


def _last_line(err: BaseException) -> str:
    while err.__cause__ is not None:
        err = err.__cause__
    lines = str(err).strip().splitlines()
    return lines[-1] if lines else type(err).__name__
