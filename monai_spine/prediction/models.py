"""All models of a run: the localizers that find the levels, and the graders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_spine.bundle.provenance import UNVERIFIED, provenance, trained_on
from monai_spine.bundle.shipped import GRADER
from monai_spine.errors import InvalidOptionError
from monai_spine.files import digest_of
from monai_spine.grading.grader import Grader, check_all_graded
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.several_locators import (
    SeveralLocators,
    localizer_bundles,
    localizers_digest,
    open_localizers,
)
from monai_spine.measures.reference import SHIPPED, read_reference
from monai_spine.measures.regions import RegionFinder
from monai_spine.measures.study import Measurer
from monai_spine.runtime.choice import TORCH, Precision, Runtime, RuntimeChoice, choose_runtime
from monai_spine.runtime.device import device_type, usable_device


@dataclass(frozen=True)
class Models:
    """The localizers that find the levels, and the graders.

    Attributes
    ----------
    recesses
        None to project the recesses from the levels, instead of finding them in axial slices.
    trained_on
        By the name of each bundle, what its weights were trained on; None where that is not known.
    digest
        Differs between localizers whose predictions may differ.
    verified
        Whether the checksums of all weights were compared.
    measurer
        Measures each study; None for no measures.
    digest_unmeasured
        ``digest`` without the measurer's part.
    level_weights
        Digest of the weights of the one level localizer; empty if there are several.
    """

    levels: LevelLocator | SeveralLocators
    recesses: RecessLocator | None
    graders: Sequence[Grader]
    trained_on: Mapping[str, str | None] = field(default_factory=dict)
    digest: str = ""
    verified: bool = True
    measurer: Measurer | None = None
    digest_unmeasured: str = ""
    level_weights: str = ""

    @property
    def canal_locator(self) -> LevelLocator | None:
        """The localizer on whose maps the canal's diameter is measured; None where that has no share in the grade.

        It is the one that the opinions of all graders which have any were fitted on.
        """
        opinions = [grader.opinion for grader in self.graders if grader.opinion is not None]
        fitted = bool(opinions) and all(one.localizer == self.level_weights for one in opinions)
        return self.levels if fitted and isinstance(self.levels, LevelLocator) else None

    def without_measures(self) -> Models:
        """The same models, which measure nothing."""
        return replace(self, measurer=None, digest=self.digest_unmeasured) if self.measurer else self

    @property
    def provenance(self) -> str:
        """The sentences about them in every output."""
        return provenance(self.trained_on) + ("" if self.verified else f" {UNVERIFIED}")

    @property
    def runtimes(self) -> dict[str, Mapping[str, str]]:
        """What runs each localizer, for ``findings.json``; each grader's ``about`` has its own."""
        regions = self.measurer.finder if self.measurer is not None else None
        locators = {"levels": self.levels, "recesses": self.recesses, "regions": regions}
        return {name: one.runtime.about() for name, one in locators.items() if one is not None}

    @property
    def runtime_cell(self) -> str:
        """What ran the networks of levels, recesses and grades, for the cell of a table: one text if all are equal."""
        localizers = [" ".join(about.values()) for about in self.runtimes.values()]
        each = [*localizers, *(" ".join(grader.about.get("runtime", {}).values()) for grader in self.graders)]
        return "; ".join(dict.fromkeys(each))

    @property
    def trained_on_cell(self) -> str:
        """What they were trained on, for the cell of a table."""
        return "; ".join(f"{name}: {source or 'not known'}" for name, source in self.trained_on.items())


def open_models(
    bundles: Sequence[Path] = (),
    weights: Sequence[Path] = (),
    *,
    level_bundles: Sequence[Path] = (),
    recess_bundle: Path | None = None,
    refine: bool = True,
    measures: bool = False,
    measures_reference: Path | None = None,
    tta: Sequence[str] = (),
    device: str | None = None,
    verify: bool = True,
    runtime: str = Runtime.TORCH.value,
    precision: str = Precision.FLOAT32.value,
) -> Models:
    """The models of bundles.

    Parameters
    ----------
    bundles
        Graders: each is a folder, or a folder and presets as in ``bundles/lumbar_25d_grader+convnext_nano_gated``.
        Empty for the grader of the package.
    weights
        A file or folder for each grader, in the same order; empty for the graders' own.
    level_bundles
        Level localizers, whose points are averaged; empty for the one of the package.
    recess_bundle
        The recess localizer; None for the one of the package.
    refine
        Whether to find the recesses in axial slices.
    measures
        Whether to measure canal and discs.
    measures_reference
        See `monai_spine.measures.reference.read_reference`.
    tta
        See `Grader.from_bundle`.
    device
        See `usable_device`.
    verify
        Whether the checksums of all weights are compared.
    runtime, precision
        See `choose_runtime`.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If a bundle or a file is missing or does not fit, or cannot run in that way.
    SpineError
        If the runtime's package is not installed.
    """
    chosen = usable_device(device)
    how = choose_runtime(runtime, precision, device_type(chosen))
    graders = open_graders(bundles, weights, device=chosen, tta=tta, verify=verify, runtime=how)
    check_all_graded(graders)
    levels, recesses = open_localizers(
        level_bundles,
        recess_bundle,
        refine=refine,
        device=chosen,
        verify=verify,
        runtime=runtime,
        precision=precision,
    )
    measurer, own_digest = None, ""
    if measures:
        reference = read_reference(measures_reference)
        finder = RegionFinder.from_bundle(None, chosen, verify=verify, runtime=how, weights=reference.weights_file)
        measurer = Measurer(finder, reference)
        own_digest = digest_of([reference.weights_file, measures_reference or SHIPPED])
    localizers = localizer_bundles(level_bundles, recess_bundle, refine=refine)
    sources = {grader.name: grader.trained_on for grader in graders} | {
        bundle.resolve().name: trained_on(bundle) for bundle in localizers
    }
    digest = localizers_digest(localizers, (levels, recesses))
    level_weights = digest_of([localizers[0] / LevelLocator.WEIGHTS]) if len(level_bundles) < 2 else ""
    return Models(levels, recesses, graders, sources, digest + own_digest, verify, measurer, digest, level_weights)


def open_graders(
    bundles: Sequence[Path],
    weights: Sequence[Path],
    *,
    device: str,
    tta: Sequence[str] = (),
    verify: bool = True,
    runtime: RuntimeChoice = TORCH,
) -> list[Grader]:
    """The graders of bundles. For ``bundles`` and ``weights`` see `open_models`, for the others `Grader.from_bundle`.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If a bundle or a file is missing or does not fit, or there are not as many weights as bundles.
    """
    bundles = list(bundles) or [GRADER]
    if weights and len(weights) != len(bundles):
        raise InvalidOptionError(
            f"expected --weights once for each of {len(bundles)} --model, but found it {len(weights)} times"
        )
    files: Sequence[Path | None] = weights or [None] * len(bundles)
    return [
        Grader.from_bundle(bundle, own, presets=presets, device=device, tta=tta, verify=verify, runtime=runtime)
        for (bundle, presets), own in zip(map(with_presets, bundles), files, strict=True)
    ]


def with_presets(text: Path) -> tuple[Path, list[str]]:
    """A bundle's folder and its presets or files, from ``FOLDER+PRESET``; a folder may have a ``+`` in its own name."""
    parts = str(text).split("+")
    prefixes = ["+".join(parts[:count]) for count in range(len(parts), 0, -1)]
    folder = next((prefix for prefix in prefixes if Path(prefix).is_dir()), parts[0])
    return Path(folder), [preset for preset in str(text).removeprefix(folder).split("+") if preset]
