"""Weights and states of runs on disk: written whole or not at all, read without running anything."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import whole_file


def save_atomically(content: Any, path: Path) -> None:
    """`torch.save` under a temporary name, then rename."""
    with whole_file(path) as partial:
        torch.save(content, partial)


def load_safely(path: str | Path) -> Any:
    """`torch.load` on the CPU, tensors and plain Python only.

    Raises
    ------
    MissingInputError
        If there is no such file. Nothing here ever goes on with random weights.
    InvalidTableError
        If it cannot be read.
    """
    if not Path(path).is_file():
        raise MissingInputError(
            f"expected weights, but there is no file {path}; train first, or name the file that holds them"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError) as err:
        raise InvalidTableError(
            f"{path}: expected a file that torch.save wrote, but it cannot be read ({err})"
        ) from err


def load_weights(network: torch.nn.Module, path: str | Path) -> torch.nn.Module:
    """Fill a network with the weights of a file; every key and shape must match.

    The file holds weights alone, as ``models/model.pt``, or the state of a run, as ``models/latest.pt``.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the file is missing or damaged, or does not fit.
    """
    weights = load_safely(path)
    if isinstance(weights, dict) and isinstance(weights.get("parts"), dict):
        weights = weights["parts"].get("network")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InvalidTableError(f"{path} does not fit the network: expected tensors by name, but found others")
    if misfit := _misfit(network.state_dict(), weights):
        raise InvalidTableError(f"{path} does not fit the network: {misfit}; was it made with other settings?")
    network.load_state_dict(weights)
    return network


def _misfit(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """What hinders weights from filling a network, with the first names of each kind; empty if nothing does."""
    shapes = [
        f"{name} ({_size(given[name])} in the file, {_size(own[name])} in the network)"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    kinds = {
        "it lacks": [name for name in own if name not in given],
        "the network lacks": [name for name in given if name not in own],
        "of another shape are": shapes,
    }
    return "; ".join(f"{words} {len(names)}: {listed(names, shown=3)}" for words, names in kinds.items() if names)


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
