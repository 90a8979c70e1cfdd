"""Which layers of pretrained backbones learn, and from which epoch on."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from monai_spine.errors import InvalidOptionError
from monai_spine.networks.backbone import Backbone

logger = logging.getLogger(__name__)

ALL, FROZEN = "all", "frozen"
_LAST = re.compile(r"last:? *(\d+)")


class LayerFreezing:
    """Freezes layers of a network's backbones; everything else always learns.

    A frozen layer gets no gradient and runs in evaluation mode: its batch normalisations keep their statistics, and
    nothing is dropped. A layer that was frozen at the start keeps the statistics when it learns, too: with those of a
    batch, what follows it, which has learnt from features of the former statistics, would have to learn again.

    ``network``: any network that holds a `Backbone`, or several; not a wrapper for distributed training.
    ``train_layers``: ``all``; ``frozen``, where no backbone learns; or ``last: 2`` for the last two blocks of each, as
    timm counts them, with the normalisation that follows them.
    ``unfreeze``: from which epoch (counted from 1) other layers learn, such as ``{3: "last: 2", 6: "all"}``.
    Raises `InvalidOptionError` if a value is none of these, or a backbone has fewer blocks.
    """

    def __init__(
        self, network: nn.Module, *, train_layers: str = ALL, unfreeze: Mapping[Any, str] | None = None
    ) -> None:
        self.network = network
        self.backbones = [module for module in network.modules() if isinstance(module, Backbone)]
        self.blocks = [_blocks(backbone.body) for backbone in self.backbones]
        self.schedule = {0: train_layers, **{_epoch(epoch): layers for epoch, layers in (unfreeze or {}).items()}}
        self._first_blocks = {epoch: self._first_of_each(layers) for epoch, layers in self.schedule.items()}
        if list(self.schedule) != sorted(self.schedule):
            raise InvalidOptionError(
                f"expected unfreeze in the order of its epochs, but found {list(self.schedule)[1:]}"
            )
        # DistributedDataParallel registers the parameters that need a gradient when it wraps the network. So all that
        # learn in any epoch must need one until then; those of later epochs are frozen when the first epoch starts.
        self._freeze_below(self._earliest_blocks)

    @property
    def head_alone(self) -> bool:
        """Whether the backbones never learn."""
        return self._earliest_blocks == [len(blocks) for blocks in self.blocks]

    @property
    def ever_trained(self) -> set[int]:
        """Identities (`id`) of the parameters that learn in any epoch."""
        frozen = set()
        for backbone, blocks, first in zip(self.backbones, self.blocks, self._earliest_blocks, strict=True):
            never = {name for block in blocks[:first] for name in block}
            frozen |= {id(parameter) for name, parameter in backbone.body.named_parameters() if name in never}
        return {id(parameter) for parameter in self.network.parameters()} - frozen

    def check_start(self, filled: bool) -> None:
        """Check that layers which never learn have pretrained weights.

        ``filled``: whether weights were loaded into the network.
        Raises `InvalidOptionError` if layers would stay random.
        """
        if not filled and any(self._earliest_blocks):
            raise InvalidOptionError(
                f"with the layers to train being {self.schedule[0]!r}, the others would stay random: give "
                "--pretrained hub, --pretrained FILE or --weights FILE"
            )

    def attach(self, trainer: Engine) -> None:
        """Apply the schedule at the start of each epoch; after a resume, too."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)

    def freeze_for(self, epoch: int) -> None:
        """Freeze the layers that do not learn in this epoch, counted from 1."""
        self._freeze_below(self._first_blocks[max(start for start in self._first_blocks if start <= epoch)])

    @property
    def _earliest_blocks(self) -> list[int]:
        """Of each backbone, the first block that learns in any epoch."""
        return [min(firsts) for firsts in zip(*self._first_blocks.values(), strict=True)]

    def _freeze_below(self, firsts: list[int]) -> None:
        """Freeze the blocks of each backbone before this one."""
        for backbone, blocks, first, start in zip(
            self.backbones, self.blocks, firsts, self._first_blocks[0], strict=True
        ):
            frozen = {name for block in blocks[:first] for name in block}
            for name, parameter in backbone.body.named_parameters():
                parameter.requires_grad_(name not in frozen)
            kept = {name for name in _modules(backbone.body, blocks[:start]) if _has_statistics(backbone.body, name)}
            backbone.frozen_modules = _modules(backbone.body, blocks[:first]) | kept
        self.network.train(self.network.training)

    def _start_epoch(self, trainer: Engine) -> None:
        epoch = trainer.state.epoch
        self.freeze_for(epoch)
        if epoch in self.schedule:
            logger.info("epoch %d: layers that learn are now %s", epoch, self.schedule[epoch])

    def _first_of_each(self, layers: str) -> list[int]:
        """Of each backbone, the first block that learns; the number of its blocks if none does."""
        return [
            _first_block(layers, len(blocks), backbone.name)
            for backbone, blocks in zip(self.backbones, self.blocks, strict=True)
        ]


def _first_block(layers: str, blocks: int, name: str) -> int:
    if layers == ALL:
        return 0
    if layers == FROZEN:
        return blocks
    last = _LAST.fullmatch(str(layers).strip())
    if not last or not 1 <= int(last[1]) <= blocks:
        raise InvalidOptionError(
            f"expected layers to train as 'all', 'frozen' or 'last: N' with N from 1 to {blocks}, which are the blocks "
            f"of {name}, but found {layers!r}"
        )
    return blocks - int(last[1])


def _blocks(body: Any) -> list[list[str]]:
    """Names of the parameters of each block, beginning with the stem."""
    parameters = dict(body.named_parameters())
    blocks = [list(names) for names in group_parameters(body, body.group_matcher(coarse=False)).values()]
    # timm counts a normalisation after the last block as a block of its own; "last: 1" would then train only that.
    while len(blocks) > 1 and all(parameters[name].ndim < 2 for name in blocks[-1]):
        normalisation = blocks.pop()
        blocks[-1] += normalisation
    return blocks


def _modules(body: nn.Module, blocks: list[list[str]]) -> set[str]:
    """Names of the modules whose parameters are all in these blocks; one without any counts as part of its parent."""
    frozen = {name for block in blocks for name in block}
    names: set[str] = set()
    for name, module in body.named_modules():
        inside = [f"{name}.{inner}" if name else inner for inner, _ in module.named_parameters()]
        if (inside and frozen.issuperset(inside)) or (not inside and name.rpartition(".")[0] in names):
            names.add(name)
    return names


def _has_statistics(body: nn.Module, name: str) -> bool:
    return isinstance(body.get_submodule(name), _BatchNorm)


def _epoch(key: Any) -> int:
    # A key is a number from the command line, but a string from a JSON file.
    if not str(key).isdigit() or int(key) < 1:
        raise InvalidOptionError(f"expected epochs of unfreeze as numbers from 1 on, but found {key!r}")
    return int(key)
