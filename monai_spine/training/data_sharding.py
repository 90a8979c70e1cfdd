"""How several processes share the items of an epoch; with one process, it gets all of them."""

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.data import partition_dataset
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.utils.data import Dataset, DistributedSampler, Subset


class ProcessSampler(DistributedSampler[Any]):
    """torch's `DistributedSampler` that asks ignite for the processes, so that it also serves a single one.

    A MONAI trainer tells it every epoch, so that each epoch has an order of its own, also after a resume. Batches of
    half the size in two processes hold the same studies as whole batches in one.

    Parameters
    ----------
    dataset
        Its items are shared out; an odd number is filled up with the first ones.
    shuffle
        Whether each epoch has another order.
    seed
        Of the order.
    """

    def __init__(self, dataset: Dataset[Any], *, shuffle: bool = True, seed: int = 0) -> None:
        super().__init__(dataset, idist.get_world_size(), idist.get_rank(), shuffle=shuffle, seed=seed)


def own_generator(seed: int) -> torch.Generator:
    """Random numbers of a data loader, other ones in each process."""
    return torch.Generator().manual_seed(seed + idist.get_rank())


def own_share(items: Sequence[Any]) -> Sequence[Any]:
    """Every n-th item for each of n processes, filled up so that all have as many."""
    if idist.get_world_size() == 1:
        return items
    parts = partition_dataset(items, num_partitions=idist.get_world_size(), shuffle=False, even_divisible=True)
    share: Sequence[Any] = parts[idist.get_rank()]
    return share


def on_device(network: nn.Module, device: str | torch.device, *, sync_batch_norm: bool = False) -> nn.Module:
    """The network on its device, with batch statistics over all processes if asked to (GPUs only)."""
    # torch's own SyncBatchNorm.convert_sync_batchnorm drops the activation of timm's BatchNormAct2d
    return (convert_sync_batchnorm(network) if sync_batch_norm else network).to(device)


def device_ids(device: str | torch.device) -> list[torch.device] | None:
    """What `DistributedDataParallel` takes as ``device_ids``: one GPU a process; None on a CPU."""
    chosen = torch.device(device)
    return [chosen] if chosen.type == "cuda" else None


def own_images(dataset: Dataset[Any], *, even: bool) -> Dataset[Any]:
    """This process's part of a dataset that draws its items; ``even`` leaves out what would make the parts unequal."""
    ranks, count = idist.get_world_size(), len(dataset)  # type: ignore[arg-type]
    if ranks == 1:
        return dataset
    return Subset(dataset, range(idist.get_rank(), count // ranks * ranks if even else count, ranks))
