"""The network of a bundle with its weights, as the command line takes it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.weights import load_weights


def bundle_network(bundle: Path, option: str) -> torch.nn.Module:
    """What ``network_def`` in ``configs/inference.json`` defines, with the weights of ``models/model.pt``.

    ``option`` is how the command line names another bundle, for errors.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the bundle, its configuration or its weights are missing, or do not fit.
    """
    config = bundle / "configs/inference.json"
    if not config.is_file():
        raise MissingInputError(f"expected a bundle, but there is no {config}; name its folder with {option}")
    try:
        definition = json.loads(config.read_text(encoding="utf-8"))["network_def"]
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidTableError(f"{config}: expected a bundle's configuration with a network_def") from err
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    return load_weights(network, bundle / "models/model.pt")
