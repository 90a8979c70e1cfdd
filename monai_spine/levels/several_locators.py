"""Several level localizers as one: their points are averaged in RAS mm, and flagged where they disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from monai_spine.bundle.shipped import LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.files import digest_of
from monai_spine.geometry import Array
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.merged_volumes import certainty, names_differ
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.maps import Floats
from monai_spine.levels.sagittal.points import LevelPoint, SpinePoints, with_doubt
from monai_spine.runtime.choice import TORCH, Precision, Runtime, RuntimeChoice, choose_runtime
from monai_spine.runtime.device import device_type, usable_device

_MODELS_DIFFER_MM = 6.0
"""Distance of one localizer's point from the mean, in the sagittal plane, from which on it is flagged: as for two
series."""


def open_locators(
    bundles: Sequence[Path], device: str | None = None, *, verify: bool = True, runtime: RuntimeChoice = TORCH
) -> LevelLocator | SeveralLocators:
    """The level localizer of a bundle, or those of several as one.

    Raises the errors of `LevelLocator.from_bundle`.
    """
    locators = [LevelLocator.from_bundle(bundle, device, verify=verify, runtime=runtime) for bundle in bundles]
    return locators[0] if len(locators) == 1 else SeveralLocators(locators)


def open_localizers(
    level_bundles: Sequence[Path] = (),
    recess_bundle: Path | None = None,
    *,
    refine: bool = True,
    device: str | None = None,
    verify: bool = True,
    runtime: str = Runtime.TORCH.value,
    precision: str = Precision.FLOAT32.value,
) -> tuple[LevelLocator | SeveralLocators, RecessLocator | None]:
    """The localizers of levels and of recesses; those of the package where no bundle is given.

    ``refine``: whether to find the recesses in axial slices; if not, there is no localizer of recesses.
    ``runtime``, ``precision``: see `choose_runtime`.
    Raises the errors of `LevelLocator.from_bundle` and of `choose_runtime`.
    """
    how = choose_runtime(runtime, precision, device_type(usable_device(device)))
    levels = open_locators(list(level_bundles) or [LEVEL_LOCALIZER], device, verify=verify, runtime=how)
    if not refine:
        return levels, None
    return levels, RecessLocator.from_bundle(recess_bundle or RECESS_LOCALIZER, device, verify=verify, runtime=how)


def localizer_bundles(
    level_bundles: Sequence[Path] = (), recess_bundle: Path | None = None, *, refine: bool = True
) -> list[Path]:
    """The bundles that `open_localizers` reads: those of levels, and that of recesses if they are searched for."""
    return [*(level_bundles or [LEVEL_LOCALIZER]), *([recess_bundle or RECESS_LOCALIZER] if refine else [])]


def localizers_digest(
    bundles: Sequence[Path], opened: Iterable[LevelLocator | SeveralLocators | RecessLocator | None]
) -> str:
    """Differs between localizers whose points may differ.

    ``bundles``: see `localizer_bundles`. ``opened``: the localizers, for what runs them.
    """
    files = [bundle / part for bundle in bundles for part in ("configs/inference.json", "models/model.pt")]
    return digest_of(files) + "".join(one.runtime.mark for one in opened if one is not None)


class SeveralLocators:
    """Finds the points of a volume with each localizer, and averages them; see `averaged`."""

    def __init__(self, locators: Sequence[LevelLocator]) -> None:
        self.locators = tuple(locators)
        self.runtime = self.locators[0].runtime

    def study_points(self, images: Mapping[str, tuple[Floats, Array]]) -> dict[str, SpinePoints]:
        """Named points of the volumes of a study; see `LevelLocator.study_points`."""
        each = [locator.study_points(images) for locator in self.locators]
        return {name: averaged([own[name] for own in each]) for name in images}


def averaged(answers: Sequence[SpinePoints]) -> SpinePoints:
    """One answer for a volume from those of several localizers.

    The surest one names the levels. A point is the mean of those that name the discs as it does; a point that was
    interpolated counts only where no localizer saw it. A point that is far from the mean is flagged `MODELS_DIFFER`.
    If a localizer names a disc otherwise, or finds no spine, the levels are uncertain.
    """
    spines = sorted((one for one in answers if one.chain is not None), key=certainty, reverse=True)
    if not spines:
        return answers[0]
    leader, *others = spines
    alike = [leader, *(one for one in others if not names_differ(leader, one))]
    keyed = [one.by_key for one in alike]
    points = [
        _mean([own[key] for own in keyed if key in own]) for key in dict.fromkeys(key for own in keyed for key in own)
    ]
    seen = {point.key for point in points}
    absent = tuple(one for one in leader.absent if one.key not in seen)
    united = replace(leader, points=tuple(points), absent=absent)
    return with_doubt(united, Doubt.MODELS, doubted=len(alike) < len(answers))


def _mean(points: Sequence[LevelPoint]) -> LevelPoint:
    """The mean of one point of several localizers; flags are those of the surest of them."""
    seen = [point for point in points if Flag.INTERPOLATED.value not in point.flags] or list(points)
    places = np.array([point.world for point in seen])
    world = places.mean(axis=0)
    apart = np.linalg.norm((places - world)[:, 1:], axis=1).max()
    flags = [flag for flag in seen[0].flags if flag != Flag.MODELS_DIFFER.value]
    flags += [Flag.MODELS_DIFFER.value] * bool(apart > _MODELS_DIFFER_MM)
    confidence = float(np.mean([point.confidence for point in seen]))
    return replace(seen[0], world=world, confidence=confidence, flags=tuple(flags))
