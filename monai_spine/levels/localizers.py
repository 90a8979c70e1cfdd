"""Both localizers: the network of a bundle with its weights, on a device, and the points that it finds."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeGuard

import numpy as np

from monai_spine.bundle.model_description import description_path, read_description
from monai_spine.bundle.shipped import LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.data.volume import Opener, Volume, open_unpacked
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import read_json
from monai_spine.geometry import Array
from monai_spine.levels.merged_volumes import same_discs
from monai_spine.levels.recesses.crop import axial_slice, recess_crop
from monai_spine.levels.recesses.detection import distributions, read_recesses
from monai_spine.levels.recesses.planes import Detection, RecessPlane
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import LANDMARKS, Floats, map_affine, probabilities
from monai_spine.levels.sagittal.points import NO_SPINE, SpinePoints, Structure, read_maps, with_doubt
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.runtime.choice import TORCH, RuntimeChoice
from monai_spine.runtime.converted_model import ConvertedModel, Files, NotConvertibleError
from monai_spine.runtime.device import usable_device
from monai_spine.runtime.engine import Engine, TorchEngine, open_engine
from monai_spine.runtime.precision_gate import allowed
from monai_spine.spine import Side
from monai_spine.weights_checksum import check_weights

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class Localizer:
    """A network in evaluation mode on a device, or the same network converted for another runtime.

    ``network``: its output is described by the derived class. ``device``: of a network of PyTorch.
    ``runtime``: what runs it.
    """

    SHIPPED: ClassVar[Path]
    """The bundle that comes with the package."""
    OPTION: ClassVar[str]
    """The option of the command line that names another bundle, for error messages."""
    WEIGHTS: ClassVar[str] = "models/model.pt"
    """The file of weights in the bundle."""
    SHAPE: ClassVar[tuple[int | None, ...]]
    """Of the network's input; None for any size."""
    runtime: RuntimeChoice = TORCH

    def __init__(self, network: torch.nn.Module | Engine, device: str = "cpu", runtime: RuntimeChoice = TORCH) -> None:
        self.runtime = runtime
        self.network: Engine = TorchEngine(network, device) if _is_module(network) else network

    @classmethod
    def from_bundle(
        cls,
        bundle: str | Path | None = None,
        device: str | None = None,
        *,
        verify: bool = True,
        runtime: RuntimeChoice = TORCH,
        gated: bool = True,
        weights: str | Path | None = None,
    ) -> Self:
        """The network that a bundle's ``configs/inference.json`` defines, with weights.

        ``bundle``: the bundle's folder; None for the shipped bundle.
        ``device``: as `usable_device` takes it.
        ``verify``: whether the checksum of the weights is compared.
        ``runtime``: what runs the network. Its precision is used if the network passed its gate, else float32.
        ``gated``: False for the comparison itself, which needs the precision before there is a gate.
        ``weights``: a file, in the bundle or elsewhere; None for `WEIGHTS`.
        Raises `MissingInputError` or `InvalidTableError` if the bundle, its configuration or its weights are missing,
        or do not fit each other.
        Raises `InvalidOptionError` if there is no such device, a network was never compared with float32, or cannot be
        converted though the user named the runtime.
        """
        chosen = usable_device(device)  # first, since a mistyped device is found faster than weights are read
        folder = Path(bundle or cls.SHIPPED)
        file = folder / (weights or cls.WEIGHTS)
        if runtime.is_torch:
            return cls(cls._network(folder, file, verify), chosen)
        model = cls.converted(folder, runtime, file)
        used = replace(runtime, precision=allowed(model, runtime.precision, folder)) if gated else runtime
        if verify and model.weights.is_file():
            check_weights(model.weights)
        # A converted network needs neither MONAI nor the network itself, whose imports take seconds.
        try:
            files = model.files(lambda: cls._convert(cls._network(folder, file, verify), runtime))
        except NotConvertibleError as error:
            if not runtime.chosen_for_user:
                raise InvalidOptionError(f"{folder}: {error}") from error
            logger.info("%s: %s; PyTorch runs it", folder, error)
            return cls(cls._network(folder, file, verify), chosen)
        return cls(open_engine(files, used), runtime=used)

    @classmethod
    def converted(cls, bundle: Path, runtime: RuntimeChoice, weights: Path | None = None) -> ConvertedModel:
        """The bundle's network for another runtime."""
        weights = weights or bundle / cls.WEIGHTS
        sources = [bundle / "configs/inference.json", weights, description_path(weights)]
        return ConvertedModel(weights, sources, runtime, {"shape": cls.SHAPE})

    @classmethod
    def _network(cls, bundle: Path, weights: Path, verify: bool) -> torch.nn.Module:
        config = bundle / "configs/inference.json"
        if not config.is_file():
            raise MissingInputError(f"expected a bundle, but there is no {config}; name its folder with {cls.OPTION}")
        try:
            content = read_json(config)
            definition = content["network_def"]
        except (ValueError, KeyError, TypeError) as err:
            raise InvalidTableError(f"{config}: expected a bundle's configuration with a network_def") from err
        # Imported here: MONAI takes four seconds, and converted networks do without it.
        from monai.bundle import ConfigParser

        from monai_spine.bundle.model_settings import followed
        from monai_spine.weights import load_weights

        # The network alone is parsed: the rest of the configuration names data that need not exist here.
        parser = ConfigParser({"network_def": definition})
        if weights.is_file():  # reading them says so if they are missing
            changes = followed(content, content, read_description(weights), weights)
            parser.update({id_: value for id_, value in changes.items() if id_.startswith("network_def#")})
        return load_weights(parser.get_parsed_content("network_def"), weights, verify=verify)

    @classmethod
    def _convert(cls, network: torch.nn.Module, runtime: RuntimeChoice) -> Files:
        from monai_spine.levels.sagittal.slice_unet import SliceUNet
        from monai_spine.levels.sagittal.volume_form import VolumeForm
        from monai_spine.runtime.conversion import convert

        if isinstance(network, SliceUNet):
            network = VolumeForm(network, single=cls.SHAPE[2] == 1)
        return convert(network.eval(), cls.SHAPE, runtime.runtime)


def _is_module(network: torch.nn.Module | Engine) -> TypeGuard[torch.nn.Module]:
    """Whether it is a network of PyTorch, without importing that."""
    return hasattr(network, "state_dict")


_SURELY_UPRIGHT_MM = 4.5
"""Rise of the lumbosacral disc (`Chain.rise`) from which on an image is taken to be upright. The rises of 54 patients'
images that were turned upside down were at most 4.3 mm."""
_BETTER = 1.03
"""The sum of the canal's confidences in the image turned upside down, in shares of the sum as it is, above which it is
upside down; between its inverse and it, nobody knows."""
UPSIDE_DOWN = f"{NO_SPINE}: the image seems to be upside down against its header"


def _rise(spine: SpinePoints) -> float:
    """See `Chain.rise`; infinite where it is not known, which is no sign of an image that is upside down."""
    return math.inf if spine.chain is None or spine.chain.rise is None else spine.chain.rise


def _upright(spine: SpinePoints) -> bool:
    return spine.chain is not None and Doubt.UPSIDE_DOWN not in spine.chain.doubts


def _canal_sum(spine: SpinePoints) -> float:
    return float(sum(point.confidence for point in spine.points if point.structure is Structure.CANAL))


_MOST_SLICES = 40
"""Slices that go through the network at once; a larger volume would need memory in proportion."""
_OVERLAP = 6
"""Slices on each side of a part whose maps are not used. The network's convolutions reach across three slices, so these
maps would be wrong at the cut."""


class LevelLocator(Localizer):
    """Finds the discs of the lumbar spine and their foramina in one sagittal volume.

    Its network gives logits of `LANDMARKS`, then of `REGIONS`.
    """

    SHIPPED = LEVEL_LOCALIZER
    OPTION = "--model"
    SHAPE = (None, 1, None, None, None)

    def __call__(self, volume: Volume, name: str) -> SpinePoints:
        """Named points of a volume; ``name`` is for error messages.

        Raises `InvalidVolumeError` if its slices are not sagittal, or all its voxels have nearly the same value.
        """
        return self.points(*sagittal_grid(volume, name))

    def points(self, image: Floats, affine: Array) -> SpinePoints:
        """Named points of an image ``(x, y, z)`` of `sagittal_grid`, and its affine to RAS mm; see `study_points`."""
        return self.study_points({"": (image, affine)})[""]

    def study_points(self, images: Mapping[str, tuple[Floats, Array]]) -> dict[str, SpinePoints]:
        """Named points of the volumes of a study, by name: images ``(x, y, z)`` of `sagittal_grid`, and their affines.

        An image that may be upside down against its header is read again upside down. If it then shows a better spine,
        its points would be those of other levels, and it counts as one without a spine. What shows the same spine as
        another one of the study that is surely upright is not read again.
        """
        read = {name: self._read(*image) for name, image in images.items()}
        known: dict[str, SpinePoints] = {}
        # Those that are surely upright first: they save the others the second reading.
        for name in sorted(read, key=lambda one: _rise(read[one]) < _SURELY_UPRIGHT_MM):
            known[name] = self._checked(read[name], *images[name], known.values())
        return {name: known[name] for name in images}

    def _read(self, image: Floats, affine: Array) -> SpinePoints:
        return read_maps(self.maps(image), map_affine(affine), image.shape, affine)

    def _checked(
        self, spine: SpinePoints, image: Floats, affine: Array, beside: Collection[SpinePoints]
    ) -> SpinePoints:
        """What was read of an image, unless that is upside down. ``beside``: the answers for others of the study."""
        if _rise(spine) >= _SURELY_UPRIGHT_MM:
            return spine
        if any(_upright(one) and same_discs(spine, one) for one in beside):
            return with_doubt(spine, Doubt.UPSIDE_DOWN, doubted=False)
        turned = self._read(image[:, :, ::-1], affine)
        ratio = _canal_sum(turned) / _canal_sum(spine)
        if ratio > _BETTER and _rise(spine) < 0:
            return SpinePoints(None, (), (), UPSIDE_DOWN)
        # Only one of two signs, or none that is clear: the levels are uncertain.
        return with_doubt(spine, Doubt.UPSIDE_DOWN, ratio > 1 / _BETTER)

    def regions(self, image: Floats, affine: Array) -> RegionMaps:
        """The regions alone, of an image ``(x, y, z)`` of `sagittal_grid`, and its affine to RAS mm."""
        return RegionMaps(self.maps(image)[len(LANDMARKS) :].astype(np.float32), map_affine(affine))

    def maps(self, image: Floats) -> np.ndarray:
        """Maps of landmarks and regions, from 0 to 1, ``(8, x, y / 2, z / 2)``, of an image ``(x, y, z)``."""
        slices = len(image)
        step = _MOST_SLICES - 2 * _OVERLAP
        parts = []
        for start in range(0, slices, step):
            if start and start + _OVERLAP >= slices:
                break
            low, high = max(0, start - _OVERLAP), min(slices, start + step + _OVERLAP)
            maps = probabilities(self.network(image[None, None, low:high])[0])
            # The first and the last part keep the slices at their outer end, where there is no overlap.
            last = high == slices
            parts.append(maps[:, start - low : None if last else start - low + step])
            if last:
                break
        return np.concatenate(parts, axis=1, dtype=np.float64)


class RecessLocator(Localizer):
    """Finds the left and the right lateral recess of a disc in the axial plane that is nearest to them.

    Its network gives logits of a map for each side.
    """

    SHIPPED = RECESS_LOCALIZER
    OPTION = "--recess-model"
    SHAPE = (None, 3, 1, None, None)

    def __call__(self, plane: RecessPlane, path: str | Path, opened: Opener = open_unpacked) -> dict[Side, Detection]:
        """The recess on each side, however low its confidence. Of the file at ``path`` only the plane's slice is read.

        ``opened`` opens the file. Raises `MissingInputError` or `InvalidVolumeError` if the slice cannot be read, or
        is not axial.
        """
        image, affine = recess_crop(axial_slice(path, plane.k, opened), plane.disc)
        return read_recesses(distributions(self.network(image[None])[0]), affine)
