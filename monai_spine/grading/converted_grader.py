"""A `LevelGrader` that another runtime runs: neither MONAI nor the network's own library is imported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_spine.bundle.model_description import description_path
from monai_spine.crops.augmentation import AS_IT_IS, FixedPose
from monai_spine.crops.bilinear import Floats
from monai_spine.crops.level_image import LevelImage
from monai_spine.crops.study import StudyCrops
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidOptionError
from monai_spine.grading.grader_bundle import GraderFiles
from monai_spine.grading.grader_plan import GraderPlan
from monai_spine.runtime.choice import RuntimeChoice
from monai_spine.runtime.converted_model import ConvertedModel, Files, NotConvertibleError
from monai_spine.runtime.engine import Engine, open_engine
from monai_spine.runtime.precision_gate import allowed
from monai_spine.weights_checksum import check_weights

if TYPE_CHECKING:
    import torch

    from monai_spine.grading.parsed_grader import ParsedGrader

logger = logging.getLogger(__name__)

_PLAN = "plan.json"
"""File of the plan in a converted model."""


@dataclass(frozen=True)
class ConvertedGrader:
    """Engines of all weights, and the crops that they take. It has the methods of `ParsedGrader`."""

    plan: GraderPlan
    engines: Sequence[Engine]
    runtime: RuntimeChoice
    parse: Callable[[], ParsedGrader]
    """Makes the grader that PyTorch runs, for what only that can do."""

    @property
    def conditions(self) -> Sequence[str] | None:
        """Those that it learnt to grade; None for all."""
        return self.plan.conditions

    @cached_property
    def networks(self) -> list[torch.nn.Module]:
        """The networks in PyTorch, for explanations, which need their gradients."""
        return self.parse().networks

    def outputs(self, images: Sequence[Floats]) -> list[Floats]:
        """The logits of each network, of a batch of images, and behind them the features."""
        batch = np.stack(images)
        return [engine(batch) for engine in self.engines]

    def item(self, record: Record, pose: FixedPose = AS_IT_IS) -> dict[str, Any]:
        """Under ``image``, the networks' input of a study in a pose."""
        return {"image": LevelImage(self.plan.views)(record, pose)}

    def probabilities(self, _: Mapping[str, Any], logits: Floats) -> Floats:
        """Probabilities of logits ``(25, 3)``."""
        weights: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)

    def crops(self, record: Record) -> tuple[StudyCrops, ...]:
        """The crops that make the image, without their pixels."""
        return (LevelImage(self.plan.views).study(record),)

    @property
    def stacked_views(self) -> tuple[View, ...]:
        """The views, in the order of the slices."""
        return self.plan.views


def convert_grader(
    files: GraderFiles,
    runtime: RuntimeChoice,
    parse: Callable[[], ParsedGrader],
    *,
    verify: bool = True,
    gated: bool = True,
) -> ConvertedGrader | None:
    """The converted grader, from the files that an earlier run made or newly converted.

    None if it cannot be converted and the user left the choice of the runtime to us.

    Parameters
    ----------
    parse
        Makes the grader that PyTorch runs.
    verify
        Whether the checksums of the weights are compared.
    gated
        Whether the precision needs a gate that all networks passed.

    Raises
    ------
    InvalidOptionError
        If it cannot be converted, or was never compared with float32.
    """
    models = [converted_model(files, weights, runtime) for weights in files.weights]
    used = runtime
    if gated:
        # One precision for all of them, since the mean of their probabilities was compared.
        precisions = {allowed(model, runtime.precision, files.bundle) for model in models}
        used = replace(runtime, precision=min(precisions, key=lambda one: one is runtime.precision))
    try:
        if verify:
            for weights in files.weights:
                check_weights(weights)
        contents = [model.files(lambda n=n: _converted(parse(), n, runtime)) for n, model in enumerate(models)]  # type: ignore[misc]
    except NotConvertibleError as error:
        if not runtime.chosen_for_user:
            raise InvalidOptionError(f"{files.bundle}: {error}") from error
        logger.info("%s: %s; PyTorch runs it", files.bundle, error)
        return None
    plan = GraderPlan.from_bytes(contents[0][_PLAN])
    return ConvertedGrader(plan, [open_engine(content, used) for content in contents], used, parse)


def converted_model(files: GraderFiles, weights: Path, runtime: RuntimeChoice) -> ConvertedModel:
    """One of a grader's networks for another runtime."""
    sources = [*files.configs, weights, description_path(weights)]
    return ConvertedModel(
        weights, sources, runtime, {"configs": [config.name for config in files.configs], "features": True}
    )


def _converted(grader: ParsedGrader, number: int, runtime: RuntimeChoice) -> Files:
    # With PyTorch and MONAI, which only a conversion needs.
    from monai_spine.grading.parsed_grader import with_features
    from monai_spine.runtime.conversion import convert

    plan = grader.plan
    if plan is None:
        raise NotConvertibleError(
            "only a LevelGrader with the transforms of the package's grader can be converted; "
            "use --runtime torch or auto"
        )
    return {_PLAN: plan.to_bytes(), **convert(with_features(grader.networks[number]), plan.shape, runtime.runtime)}
