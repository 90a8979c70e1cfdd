"""The level localizer as one object: a bundle's network and weights, from a volume to named points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from monai_spine.bundle.network import bundle_network
from monai_spine.bundle.provenance import LEVEL_LOCALIZER
from monai_spine.data.volume import Volume
from monai_spine.errors import InvalidOptionError
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.landmark_maps import map_affine, probabilities
from monai_spine.levels.sagittal.points import SpinePoints, read_maps

"""The bundle that is shipped beside the package."""
_LARGEST = 40
"""Slices that go through the network at once; more are taken in turn, with neighbours on both sides."""
_OVERLAP = 6


class LevelLocator:
    """Finds the discs of the lumbar spine and their foramina in one sagittal volume.

    Parameters
    ----------
    network
        Gives logits of `LANDMARKS`, then of the regions.
    device
        Where it runs.
    """

    def __init__(self, network: torch.nn.Module, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    @classmethod
    def from_bundle(cls, bundle: Path = LEVEL_LOCALIZER, device: str | None = None) -> LevelLocator:
        """The network that a bundle's ``configs/inference.json`` defines, with the weights of ``models/model.pt``.

        Parameters
        ----------
        device
            ``cpu``, ``cuda`` or ``cuda:1``; None for a GPU where there is one.

        Raises
        ------
        MissingInputError, InvalidTableError
            If the bundle, its configuration or its weights are missing, or do not fit.
        InvalidOptionError
            If there is no such device.
        """
        chosen = usable_device(device)
        return cls(bundle_network(bundle, "--model"), chosen)

    def __call__(self, volume: Volume, name: str) -> SpinePoints:
        """Named points of a volume; ``name`` is for errors.

        Raises
        ------
        InvalidVolumeError
            If its slices are not sagittal, or it shows nothing.
        """
        image, affine = sagittal_grid(volume, name)
        return read_maps(self.maps(image), map_affine(affine), image.shape, affine)

    @torch.no_grad()
    def maps(self, image: torch.Tensor) -> np.ndarray:
        """Maps of landmarks and regions, from 0 to 1, ``(8, x, y / 2, z / 2)``, of an image ``(x, y, z)``."""
        slices = len(image)
        step = _LARGEST - 2 * _OVERLAP
        parts = []
        for start in range(0, slices, step):
            if start and start + _OVERLAP >= slices:
                break
            low, high = max(0, start - _OVERLAP), min(slices, start + step + _OVERLAP)
            maps = probabilities(self.network(image[None, None, low:high].to(self.device))[0])
            last = high == slices
            parts.append(maps[:, start - low : None if last else start - low + step].cpu())
            if last:
                break
        return np.asarray(torch.cat(parts, dim=1).numpy(), dtype=np.float64)


def usable_device(name: str | None) -> torch.device:
    """The device of a name, or a GPU where there is one and else the CPU.

    Raises
    ------
    InvalidOptionError
        If there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise InvalidOptionError(f"expected the device cpu or cuda, but given {name!r}") from err
    if device.type not in ("cpu", "cuda"):
        raise InvalidOptionError(f"expected the device cpu or cuda, but given {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOptionError(f"there is no device {name} here: {torch.cuda.device_count()} GPUs are to be had")
    return device
