"""Weights and states of runs on disk: written whole with a checksum, and read without executing code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from monai_spine.errors import InvalidTableError, MissingInputError, listed, one_line
from monai_spine.files import whole_file
from monai_spine.weights_checksum import NO_CHECKSUM, Verified, check_weights, seal

_LONGEST = 300
"""Characters of PyTorch's message in ours; it lists hundreds of names."""


def save_atomically(
    content: Any, path: Path, *, previous: Path | None = None, before: Callable[[Path], None] | None = None
) -> None:
    """Save with `torch.save`, whole or not at all, with a checksum (`monai_spine.weights_checksum`).

    Parameters
    ----------
    previous
        Where the file goes that stood at ``path``; None replaces it.
    before
        Gets the finished file before it takes its place.
    """
    with whole_file(path) as partial:
        torch.save(content, partial)
        seal(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name with no content
        if before is not None:
            before(partial)
        if previous is not None and path.is_file():
            path.replace(previous)


def load_safely(path: str | Path, *, verify: bool = True) -> Any:
    """Load with `torch.load` on the CPU; only tensors and plain Python types are allowed.

    Parameters
    ----------
    verify
        Whether the file's checksum is compared first.

    Raises
    ------
    MissingInputError
        If there is no such file. Missing weights are never replaced by random ones.
    InvalidTableError
        If it is damaged, cannot be read, or is to be checked and has no checksum.
    """
    if not Path(path).is_file():
        raise MissingInputError(
            f"expected weights, but there is no file {path}; train first, or name the file that holds them"
        )
    if verify and check_weights(Path(path)) is Verified.NO:
        raise InvalidTableError(
            f"{path}: {NO_CHECKSUM}; save it again with torch.save, or, in commands that have it, give --no-verify"
        )
    try:
        # weights_only: a pickle may run any code when it is read.
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError) as err:
        raise InvalidTableError(
            f"{path}: expected a file that torch.save wrote, but it cannot be read ({one_line(err)[:_LONGEST]})"
        ) from err


def load_weights(network: torch.nn.Module, path: str | Path, *, verify: bool = True) -> torch.nn.Module:
    """Load the weights of a file into a network. Every key and shape must match.

    The file is one of weights, such as ``models/model.pt``, or of the state of a run, such as ``models/latest.pt``.
    ``verify``: whether its checksum is compared first.

    Raises
    ------
    MissingInputError, InvalidTableError
        If the file is missing or damaged, has no checksum, or does not fit the network.
    """
    weights = load_safely(path, verify=verify)
    # The state of a run holds the optimizer and more; its network is one of the parts.
    if isinstance(weights, dict) and isinstance(weights.get("parts"), dict):
        weights = weights["parts"].get("network")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InvalidTableError(f"{path} does not fit the network: expected tensors by name, but found others")
    if misfit := _misfit(network.state_dict(), weights):
        raise InvalidTableError(f"{path} does not fit the network: {misfit}; was it made with other settings?")
    network.load_state_dict(weights)
    return network


def _misfit(own: Mapping[str, torch.Tensor], stored: Mapping[str, torch.Tensor]) -> str:
    """The differences between a network and weights, with the first names of each kind; empty if there are none.

    PyTorch's own message lists every name, which is hundreds for another architecture.
    """
    shapes = [
        f"{name} ({_size(stored[name])} in the file, {_size(own[name])} in the network)"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    differences = {
        "it lacks": [name for name in own if name not in stored],
        "the network lacks": [name for name in stored if name not in own],
        "of another shape are": shapes,
    }
    return "; ".join(f"{words} {len(names)}: {listed(names, shown=3)}" for words, names in differences.items() if names)


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
