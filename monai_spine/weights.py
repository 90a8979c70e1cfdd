"""Weights and states of runs on disk: written whole or not at all, and read without executing code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import whole_file


def save_atomically(content: Any, path: Path, *, previous: Path | None = None) -> None:
    """Save with `torch.save`, whole or not at all.

    Parameters
    ----------
    previous
        Where the file goes that stood at ``path``; None replaces it.
    """
    with whole_file(path) as partial:
        torch.save(content, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name with no content
        if previous is not None and path.is_file():
            path.replace(previous)


def load_safely(path: str | Path) -> Any:
    """Load with `torch.load` on the CPU; only tensors and plain Python types are allowed.

    Raises
    ------
    MissingInputError
        If there is no such file. Missing weights are never replaced by random ones.
    InvalidTableError
        If it cannot be read.
    """
    if not Path(path).is_file():
        raise MissingInputError(
            f"expected weights, but there is no file {path}; train first, or name the file that holds them"
        )
    try:
        # weights_only: a pickle may run any code when it is read.
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError) as err:
        raise InvalidTableError(
            f"{path}: expected a file that torch.save wrote, but it cannot be read ({err})"
        ) from err


def load_weights(network: torch.nn.Module, path: str | Path) -> torch.nn.Module:
    """Load the weights of a file into a network. Every key and shape must match.

    The file is one of weights, such as ``models/model.pt``, or of the state of a run, such as ``models/latest.pt``.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the file is missing or damaged, or does not fit the network.
    """
    weights = load_safely(path)
    # The state of a run holds the optimizer and more; its network is one of the parts.
    if isinstance(weights, dict) and isinstance(weights.get("parts"), dict):
        weights = weights["parts"].get("network")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InvalidTableError(f"{path} does not fit the network: expected tensors by name, but found others")
    if misfit := _misfit(network.state_dict(), weights):
        raise InvalidTableError(f"{path} does not fit the network: {misfit}; was it made with other settings?")
    network.load_state_dict(weights)
    return network


def _misfit(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """The differences between a network and weights, with the first names of each kind; empty if there are none.

    PyTorch's own message lists every name, which is hundreds for another architecture.
    """
    shapes = [
        f"{name} ({_size(given[name])} in the file, {_size(own[name])} in the network)"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    differences = {
        "it lacks": [name for name in own if name not in given],
        "the network lacks": [name for name in given if name not in own],
        "of another shape are": shapes,
    }
    return "; ".join(f"{words} {len(names)}: {listed(names, shown=3)}" for words, names in differences.items() if names)


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
