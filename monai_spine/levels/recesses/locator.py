"""The recess localizer as one object: a bundle's network and weights, from an axial plane to both recesses in it."""

from __future__ import annotations

from pathlib import Path

import torch

from monai_spine.bundle.network import bundle_network
from monai_spine.bundle.provenance import RECESS_LOCALIZER
from monai_spine.levels.recesses.axial_slice import read_slice
from monai_spine.levels.recesses.crop import recess_crop
from monai_spine.levels.recesses.maps import probabilities, read_recesses
from monai_spine.levels.recesses.planes import RecessPlane, Seen
from monai_spine.levels.sagittal.locator import usable_device
from monai_spine.spine import Side

"""The bundle that is shipped beside the package."""


class RecessLocator:
    """Finds the left and the right lateral recess of a disc in the axial plane that is nearest to them.

    Parameters
    ----------
    network
        Gives logits of a map for either side.
    device
        Where it runs.
    """

    def __init__(self, network: torch.nn.Module, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    @classmethod
    def from_bundle(cls, bundle: str | Path = RECESS_LOCALIZER, device: str | None = None) -> RecessLocator:
        """The network and the weights of a bundle, on a device as `usable_device` takes it.

        Raises
        ------
        MissingInputError, InvalidTableError, InvalidOptionError
            If the bundle, its configuration, its weights or the device are missing, or do not fit.
        """
        chosen = usable_device(device)
        return cls(bundle_network(Path(bundle), "--recess-model"), chosen)

    @torch.no_grad()
    def __call__(self, plane: RecessPlane, path: str | Path) -> dict[Side, Seen]:
        """What is seen on either side, sure or not; only the plane's slice of the file at ``path`` is kept in memory.

        Raises
        ------
        MissingInputError, InvalidVolumeError
            If the slice cannot be read, or is not axial.
        """
        image, affine = recess_crop(read_slice(path, plane.k), plane.disc)
        return read_recesses(probabilities(self.network(image[None].to(self.device))[0]), affine)
