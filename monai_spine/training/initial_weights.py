"""What a network holds when its training begins: a prior, pretrained backbones, or weights of a file."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from monai_spine.data.datalist import Record, check_labels, label_array
from monai_spine.networks.layer_freezing import LayerFreezing
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.scoring.competition import JEFFREYS, level_prior
from monai_spine.training.run_state import resumes
from monai_spine.weights import load_weights


class StartsFromPrior(Protocol):
    """A grader that can answer with a prior."""

    def start_from(self, rows: torch.Tensor) -> None:
        """Answer with these ``(25, 3)`` probabilities, whatever the image."""


def start_from_prior(network: StartsFromPrior, training: Sequence[Record]) -> None:
    """Make a new grader answer with the per-level prior of the studies that it will learn from."""
    # JEFFREYS, so that no grade begins with a probability of 0
    network.start_from(torch.tensor(level_prior(label_array(training), JEFFREYS)))


def start_from_weights(network: nn.Module, weights: str | None, *, resume: bool | str, folder: str) -> None:
    """Fill a network with the weights of a file, if one is named.

    A resumed run takes its weights from its own state instead: see `resumes` for ``resume`` and ``folder``. Errors are
    those of it and of `load_weights`.
    """
    if weights and not resumes(resume, folder):
        load_weights(network, weights)


def start_grader(
    network: LevelGrader,
    *,
    layers: LayerFreezing,
    splits: tuple[Sequence[Record], Sequence[Record]],
    conditions: Sequence[str] | None,
    pretrained: str | Sequence[str] | None,
    weights: str | None,
    resume: bool | str,
    folder: str,
    channels_last: bool,
    compiled: bool,
) -> None:
    """Check the labels, and prepare a `LevelGrader`.

    Parameters
    ----------
    layers
        Of the network: which of them learn.
    splits
        The studies to learn from, and those to validate on.
    conditions
        What is to be learnt; None for all.
    pretrained
        See `LevelGrader.take_pretrained`; None for none.
    weights
        A file for the whole network; None for none.
    resume, folder
        See `resumes`: where the run's own state fills the network later, nothing is fetched or read here.
    channels_last, compiled
        See `LevelGrader.speed_up`.

    Raises
    ------
    InvalidTableError
        If there are no labels to learn from.
    MissingInputError, InvalidOptionError
        See the network's methods, and `load_weights`.
    """
    check_labels(*splits, conditions=conditions)
    resumed = resumes(resume, folder)
    layers.check_start(bool(pretrained or weights or resumed))
    start_from_prior(network, splits[0])
    if pretrained and not resumed:
        network.take_pretrained(pretrained)
    start_from_weights(network, weights, resume=resume, folder=folder)
    network.speed_up(channels_last=channels_last, compiled=compiled)
