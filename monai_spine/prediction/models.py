"""All models of a run: who finds the levels, and who grades them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_spine.bundle.provenance import notice, trained_on
from monai_spine.bundle.shipped import GRADER, LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.errors import InvalidOptionError
from monai_spine.levels.localizer import usable_device
from monai_spine.levels.recesses.locator import RecessLocator
from monai_spine.levels.sagittal.locator import LevelLocator
from monai_spine.prediction.bundle import digest_of
from monai_spine.prediction.grader import Grader, check_all_graded


@dataclass(frozen=True)
class Models:
    """Who finds the levels, and who grades them.

    Attributes
    ----------
    recesses
        None to project the recesses instead of looking for them.
    trained_on
        By the names of all bundles, what their weights were trained on; None where that is not known.
    digest
        Of the localizers; changes whenever their answers may.
    """

    levels: LevelLocator
    recesses: RecessLocator | None
    graders: Sequence[Grader]
    trained_on: Mapping[str, str | None] = field(default_factory=dict)
    digest: str = ""

    @property
    def notice(self) -> str:
        """What every output says of them."""
        return notice(self.trained_on)

    @property
    def told(self) -> str:
        """What they were trained on, for a table's cell."""
        return "; ".join(f"{name}: {said or 'not known'}" for name, said in self.trained_on.items())


def open_models(
    bundles: Sequence[Path] = (),
    weights: Sequence[Path] = (),
    *,
    level_bundle: Path | None = None,
    recess_bundle: Path | None = None,
    refine: bool = True,
    mirrored: bool = False,
    device: str | None = None,
) -> Models:
    """The models of bundles.

    Parameters
    ----------
    bundles
        Of graders, each a folder, or a folder and presets as ``bundles/lumbar_25d_grader+convnext_nano_gated``; none
        for the one that is shipped.
    weights
        A file or folder for each of them, in the same order; none for their own.
    level_bundle, recess_bundle
        Of localizers; None for those that are shipped.
    refine
        Whether to look for the recesses in axial slices.
    mirrored
        See `Grader.from_bundle`.
    device
        See `usable_device`.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If something is missing or does not fit.
    """
    bundles = list(bundles) or [GRADER]
    if weights and len(weights) != len(bundles):
        raise InvalidOptionError(
            f"expected --weights once for each of {len(bundles)} --model, but found it {len(weights)} times"
        )
    chosen = usable_device(device)
    files = [*weights, *[None] * (len(bundles) - len(weights))]
    graders = [
        Grader.from_bundle(bundle, own, presets=presets, device=chosen, mirrored=mirrored)
        for (bundle, presets), own in zip(map(with_presets, bundles), files, strict=True)
    ]
    check_all_graded(graders)
    level_bundle, recess_bundle = level_bundle or LEVEL_LOCALIZER, recess_bundle or RECESS_LOCALIZER
    levels = LevelLocator.from_bundle(level_bundle, str(chosen))
    recesses = RecessLocator.from_bundle(recess_bundle, str(chosen)) if refine else None
    localizers = [level_bundle, *([recess_bundle] if refine else [])]
    said = {one.name: one.trained_on for one in graders} | {
        bundle.resolve().name: trained_on(bundle) for bundle in localizers
    }
    read = [bundle / part for bundle in localizers for part in ("configs/inference.json", "models/model.pt")]
    return Models(levels, recesses, graders, said, digest_of(read))


def with_presets(text: Path) -> tuple[Path, list[str]]:
    """A bundle's folder and its presets, of ``FOLDER+PRESET``."""
    if text.is_dir() or "+" not in text.name:
        return text, []
    name, *presets = text.name.split("+")
    return text.with_name(name), presets
