"""What both localizers share: a bundle's network with its weights, on a device.

Base of `sagittal.locator.LevelLocator` and `recesses.locator.RecessLocator`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from monai.bundle import ConfigParser

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self


class Localizer:
    """A network in evaluation mode on a device.

    Parameters
    ----------
    network
        Its output is described by the derived class.
    device
        The device to run on.
    """

    SHIPPED: ClassVar[Path]
    """The bundle that comes with the package."""
    OPTION: ClassVar[str]
    """The option of the command line that names another bundle, for error messages."""

    def __init__(self, network: torch.nn.Module, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    @classmethod
    def from_bundle(cls, bundle: str | Path | None = None, device: str | None = None) -> Self:
        """The network that a bundle's ``configs/inference.json`` defines, with the weights of ``models/model.pt``.

        Parameters
        ----------
        bundle
            The bundle's folder; None for the shipped bundle.
        device
            As `usable_device` takes it.

        Raises
        ------
        MissingInputError, InvalidTableError
            If the bundle, its configuration or its weights are missing, or do not fit each other.
        InvalidOptionError
            If there is no such device.
        """
        chosen = usable_device(device)  # first, since a mistyped device is found faster than weights are read
        return cls(_network(Path(bundle or cls.SHIPPED), cls.OPTION), chosen)


def _network(bundle: Path, option: str) -> torch.nn.Module:
    config = bundle / "configs/inference.json"
    if not config.is_file():
        raise MissingInputError(f"expected a bundle, but there is no {config}; name its folder with {option}")
    try:
        definition = json.loads(config.read_text(encoding="utf-8"))["network_def"]
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidTableError(f"{config}: expected a bundle's configuration with a network_def") from err
    # The network alone is parsed: the rest of the configuration names data that need not exist here.
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    return load_weights(network, bundle / "models/model.pt")


def usable_device(name: str | None) -> torch.device:
    """The device ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; for None an NVIDIA GPU if there is one, else the CPU.

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
        raise InvalidOptionError(f"expected the device cpu, cuda or mps, but given {name!r}") from err
    if device.type not in ("cpu", "cuda", "mps"):
        raise InvalidOptionError(f"expected the device cpu, cuda or mps, but given {name!r}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidOptionError("there is no device mps here: it is the GPU of Apple's processors")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOptionError(f"there is no device {name} here: {torch.cuda.device_count()} GPUs are to be had")
    return device
