"""Which layers of a pretrained network learn, from which epoch on, and features of a backbone that never learns."""

import logging
import re
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from timm.models import group_parameters
from torch import nn

from monai_spine.console import track
from monai_spine.errors import InvalidOptionError, counted
from monai_spine.images.data.dataset import ImageBatches, scaled
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.training.inferers import MixedPrecisionInferer

logger = logging.getLogger(__name__)

ALL, FROZEN = "all", "frozen"
_LAST = re.compile(r"last:? *(\d+)")


class LayerFreezing:
    """Freezes layers of a classifier's backbone; the head always learns.

    A frozen layer gets no gradient and runs in evaluation mode: its batch normalisations keep their statistics.

    ``network``: the classifier itself, not a wrapper for distributed training.
    ``train_layers``: ``all``; ``frozen``, where only the head learns; or ``last: 2`` for the last two blocks, as timm
    counts them, with the normalisation that follows them.
    ``unfreeze``: from which epoch (counted from 1) other layers learn, such as ``{3: "last: 2", 6: "all"}``.
    Raises `InvalidOptionError` if a value is none of these, or the network has fewer blocks.
    """

    def __init__(
        self, network: ImageClassifier, *, train_layers: str = ALL, unfreeze: Mapping[Any, str] | None = None
    ) -> None:
        self.network = network
        self.blocks = _blocks(network.backbone.body)
        self.schedule = {0: train_layers, **{_epoch(epoch): layers for epoch, layers in (unfreeze or {}).items()}}
        self._first_blocks = {epoch: self._first_block(layers) for epoch, layers in self.schedule.items()}
        if list(self.schedule) != sorted(self.schedule):
            raise InvalidOptionError(
                f"expected unfreeze in the order of its epochs, but found {list(self.schedule)[1:]}"
            )
        # DistributedDataParallel registers the parameters that need a gradient when it wraps the network. So all that
        # learn in any epoch must need one until then; those of later epochs are frozen when the first epoch starts.
        self._freeze_below(self._earliest_block)

    @property
    def head_alone(self) -> bool:
        """Whether the backbone never learns."""
        return self._earliest_block == len(self.blocks)

    @property
    def ever_trained(self) -> set[int]:
        """Identities (`id`) of the parameters that learn in any epoch."""
        never = {name for block in self.blocks[: self._earliest_block] for name in block}
        backbone = self.network.backbone.body
        frozen = {id(parameter) for name, parameter in backbone.named_parameters() if name in never}
        return {id(parameter) for parameter in self.network.parameters()} - frozen

    def check_start(self, filled: bool) -> None:
        """Check that layers which never learn have pretrained weights.

        ``filled``: whether weights were loaded into the network.
        Raises `InvalidOptionError` if layers would stay random.
        """
        if not filled and self._earliest_block > 0:
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
    def _earliest_block(self) -> int:
        """The first block that learns in any epoch."""
        return min(self._first_blocks.values())

    def _freeze_below(self, first: int) -> None:
        """Freeze the blocks before this one."""
        body = self.network.backbone.body
        frozen = {name for block in self.blocks[:first] for name in block}
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name not in frozen)
        everything = first == len(self.blocks)
        modules = {name for name, _ in body.named_modules()} if everything else _modules(body, frozen)
        self.network.frozen_modules = modules
        self.network.train(self.network.training)

    def _start_epoch(self, trainer: Engine) -> None:
        epoch = trainer.state.epoch
        self.freeze_for(epoch)
        if epoch in self.schedule:
            logger.info("epoch %d: layers that learn are now %s", epoch, self.schedule[epoch])

    def _first_block(self, layers: str) -> int:
        """The first block that learns; the number of blocks if none does."""
        if layers == ALL:
            return 0
        if layers == FROZEN:
            return len(self.blocks)
        last = _LAST.fullmatch(str(layers).strip())
        if not last or not 1 <= int(last[1]) <= len(self.blocks):
            raise InvalidOptionError(
                f"expected layers to train as 'all', 'frozen' or 'last: N' with N from 1 to {len(self.blocks)}, which "
                f"are the blocks of {self.network.backbone.name}, but found {layers!r}"
            )
        return len(self.blocks) - int(last[1])


def _blocks(body: Any) -> list[list[str]]:
    """Names of the parameters of each block, beginning with the stem."""
    parameters = dict(body.named_parameters())
    blocks = [list(names) for names in group_parameters(body, body.group_matcher(coarse=False)).values()]
    # timm counts a normalisation after the last block as a block of its own; "last: 1" would then train only that.
    while len(blocks) > 1 and all(parameters[name].ndim < 2 for name in blocks[-1]):
        normalisation = blocks.pop()
        blocks[-1] += normalisation
    return blocks


def _modules(body: nn.Module, frozen: set[str]) -> set[str]:
    """Names of the modules whose parameters are all frozen; a module without any counts as part of its parent."""
    names = set()
    for name, module in body.named_modules():
        inside = [f"{name}.{inner}" if name else inner for inner, _ in module.named_parameters()]
        if (inside and frozen.issuperset(inside)) or (not inside and name.rpartition(".")[0] in names):
            names.add(name)
    return names


def _epoch(key: Any) -> int:
    # A key is a number from the command line, but a string from a JSON file.
    if not str(key).isdigit() or int(key) < 1:
        raise InvalidOptionError(f"expected epochs of unfreeze as numbers from 1 on, but found {key!r}")
    return int(key)


class FrozenFeatures:
    """The features of all images of a dataset: the input of a classifier's head.

    The first read computes them; by then the backbone has its weights. Each process computes a share of them.

    ``network``: the classifier itself, not a wrapper for distributed training.
    ``device``: where to compute the features; they are kept on the CPU.
    ``amp``: whether to compute in bfloat16.
    ``progress``: whether to draw a progress bar.
    """

    def __init__(
        self,
        network: ImageClassifier,
        dataset: ImageBatches,
        *,
        device: torch.device,
        batch_size: int = 32,
        amp: bool = False,
        progress: bool = False,
    ) -> None:
        self.network, self.dataset = network, dataset
        self.device, self.batch_size, self.amp, self.progress = device, batch_size, amp, progress
        self.inferer = MixedPrecisionInferer(amp)
        self._features: torch.Tensor | None = None

    def read(self, index: torch.Tensor) -> torch.Tensor:
        """Features ``(batch, features)``, float32, of the images at these positions of the dataset ``(batch,)``."""
        if self._features is None:
            self._features = self._compute()
        return self._features[index]

    @torch.no_grad()
    def _compute(self) -> torch.Tensor:
        rank, world = idist.get_rank(), idist.get_world_size()
        # Contiguous shares: put together in the order of the processes, they are the dataset.
        shares = np.array_split(np.arange(len(self.dataset)), world)
        was_training = self.network.training
        self.network.eval()
        share = shares[rank]
        batches = [share[n : n + self.batch_size] for n in range(0, len(share), self.batch_size)]
        progress = track(batches, "computing features", len(batches), quiet=not self.progress)
        parts = [self._of_batch(batch) for batch in progress]
        self.network.train(was_training)
        # With fewer images than processes, some processes have none.
        features = torch.cat(parts) if parts else torch.zeros(0, self.network.backbone.features)
        logger.info("features of %s computed once", counted(len(self.dataset), "image"))
        return features if world == 1 else _gathered(features, world)

    def _of_batch(self, positions: np.ndarray) -> torch.Tensor:
        image = self.dataset.__getitems__(list(positions))["image"].to(self.device)
        return self.inferer(scaled(image), self.network.features).cpu()


def features_of(features: FrozenFeatures | None, dataset: ImageBatches) -> FrozenFeatures | None:
    """The features of another dataset, by the same network on the same device; None for None."""
    if features is None:
        return None
    settings = {name: getattr(features, name) for name in ("device", "batch_size", "amp", "progress")}
    return FrozenFeatures(features.network, dataset, **settings)


def _gathered(features: torch.Tensor, world: int) -> torch.Tensor:
    parts: list[torch.Tensor] = [features] * world
    torch.distributed.all_gather_object(parts, features)
    return torch.cat(parts)
