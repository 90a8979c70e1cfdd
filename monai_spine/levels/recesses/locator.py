"""The recess localizer: from an axial plane to both recesses in it, with the network and weights of a bundle."""

from __future__ import annotations

from pathlib import Path

import torch

from monai_spine.bundle.shipped import RECESS_LOCALIZER
from monai_spine.data.volume import Opener, open_volume
from monai_spine.levels.localizer import Localizer
from monai_spine.levels.recesses.crop import axial_slice, recess_crop
from monai_spine.levels.recesses.maps import probabilities, read_recesses
from monai_spine.levels.recesses.planes import Detection, RecessPlane
from monai_spine.spine import Side


class RecessLocator(Localizer):
    """Finds the left and the right lateral recess of a disc in the axial plane that is nearest to them.

    Its network gives logits of a map for each side.
    """

    SHIPPED = RECESS_LOCALIZER
    OPTION = "--recess-model"

    @torch.no_grad()
    def __call__(self, plane: RecessPlane, path: str | Path, opened: Opener = open_volume) -> dict[Side, Detection]:
        """The recess on each side, however low its confidence. Of the file at ``path`` only the plane's slice is read.

        ``opened`` opens the file.

        Raises
        ------
        MissingInputError, InvalidVolumeError
            If the slice cannot be read, or is not axial.
        """
        image, affine = recess_crop(axial_slice(path, plane.k, opened), plane.disc)
        return read_recesses(probabilities(self.network(image[None].to(self.device))[0]), affine)
