"""Which layers of a pretrained network learn, and from which epoch on."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from timm.models import group_parameters
from torch import nn

from monai_spine.errors import InvalidOptionError
from monai_spine.images.training.classifier import ImageClassifier

logger = logging.getLogger(__name__)

ALL, FROZEN = "all", "frozen"
_LAST = re.compile(r"last:? *(\d+)")


class LayerFreezing:
    """Holds the layers of a classifier's backbone that are not to learn; the head always learns.

    A layer that is held gets no gradient and runs as in evaluation: statistics of its batch normalisations stand still.

    Parameters
    ----------
    network
        The bare one, where another wraps it for distributed training.
    train_layers
        ``all``; ``frozen``, which leaves the head alone to learn; ``last: 2``, which are the last two blocks as timm
        counts them, with the normalisation behind them.
    unfreeze
        From which epoch on (counted from 1) other layers learn, such as ``{3: "last: 2", 6: "all"}``.

    Raises
    ------
    InvalidOptionError
        If a word is not among these, or the network has fewer blocks.
    """

    def __init__(
        self, network: ImageClassifier, *, train_layers: str = ALL, unfreeze: Mapping[Any, str] | None = None
    ) -> None:
        self.network = network
        self.blocks = _blocks(network.backbone.body)
        self.plan = {0: train_layers, **{_epoch(epoch): words for epoch, words in (unfreeze or {}).items()}}
        self._first = {epoch: self._first_block(words) for epoch, words in self.plan.items()}
        if list(self.plan) != sorted(self.plan):
            raise InvalidOptionError(f"expected unfreeze in the order of its epochs, but found {list(self.plan)[1:]}")
        self._hold(min(self._first.values()))  # what wraps the network for several processes sees all that ever learns

    @property
    def head_alone(self) -> bool:
        """Whether the backbone never learns."""
        return min(self._first.values()) == len(self.blocks)

    @property
    def ever_trained(self) -> set[int]:
        """Identities of the parameters that learn in any epoch."""
        held = {name for block in self.blocks[: min(self._first.values())] for name in block}
        backbone = self.network.backbone.body
        frozen = {id(parameter) for name, parameter in backbone.named_parameters() if name in held}
        return {id(parameter) for parameter in self.network.parameters()} - frozen

    def check_start(self, filled: bool) -> None:
        """Make sure that layers which never learn hold something that was learnt.

        Raises
        ------
        InvalidOptionError
            If they are as random as they were made.
        """
        if not filled and min(self._first.values()) > 0:
            raise InvalidOptionError(
                f"with the layers to train being {self.plan[0]!r}, the others would stay random: give "
                "--pretrained hub, --pretrained FILE or --weights FILE"
            )

    def attach(self, trainer: Engine) -> None:
        """Look at the plan when an epoch begins, also after a resume."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._look)

    def hold(self, epoch: int) -> None:
        """Hold what does not learn in this epoch, counted from 1."""
        self._hold(self._first[max(start for start in self._first if start <= epoch)])

    def _hold(self, first: int) -> None:
        body = self.network.backbone.body
        held = {name for block in self.blocks[:first] for name in block}
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name not in held)
        everything = first == len(self.blocks)
        self.network.held = {name for name, _ in body.named_modules()} if everything else _modules(body, held)
        self.network.train(self.network.training)

    def _look(self, trainer: Engine) -> None:
        epoch = trainer.state.epoch
        self.hold(epoch)
        if epoch in self.plan:
            logger.info("epoch %d: layers that learn are now %s", epoch, self.plan[epoch])

    def _first_block(self, words: str) -> int:
        """The first block that learns; as many as there are if none does."""
        if words == ALL:
            return 0
        if words == FROZEN:
            return len(self.blocks)
        found = _LAST.fullmatch(str(words).strip())
        if not found or not 1 <= int(found[1]) <= len(self.blocks):
            raise InvalidOptionError(
                f"expected layers to train as 'all', 'frozen' or 'last: N' with N from 1 to {len(self.blocks)}, which "
                f"are the blocks of {self.network.backbone.name}, but found {words!r}"
            )
        return len(self.blocks) - int(found[1])


def _blocks(body: Any) -> list[list[str]]:
    """Names of the parameters of each block, from the stem on; a normalisation at the end belongs to the last one."""
    named = dict(body.named_parameters())
    found = [list(names) for names in group_parameters(body, body.group_matcher(coarse=False)).values()]
    while len(found) > 1 and all(named[name].ndim < 2 for name in found[-1]):
        behind = found.pop()
        found[-1] += behind
    return found


def _modules(body: nn.Module, held: set[str]) -> set[str]:
    """Modules all of whose parameters are held; those without any belong to the module around them."""
    names = set()
    for name, module in body.named_modules():
        inside = [f"{name}.{inner}" if name else inner for inner, _ in module.named_parameters()]
        if (inside and held.issuperset(inside)) or (not inside and _around(name) in names):
            names.add(name)
    return names


def _around(name: str) -> str:
    return name.rpartition(".")[0]


def _epoch(given: Any) -> int:
    if not str(given).isdigit() or int(given) < 1:
        raise InvalidOptionError(f"expected epochs of unfreeze as numbers from 1 on, but found {given!r}")
    return int(given)
