"""Stored images for a data loader, in batches or one by one; the order of an epoch; weights of classes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.data import Dataset as TransformedDataset
from monai.transforms import apply_transform
from torch.utils.data import Dataset, DistributedSampler

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN, Record
from monai_spine.images.data.store import ImageStore

_LOWEST_FREQUENCY = 1e-3
"""A rarer class is treated as if it were this frequent, so that no image weighs more than a thousandfold."""


def frequencies(records: Sequence[Record], classes: int) -> torch.Tensor:
    """Share of the images that have each class, among those whose label is known: ``(classes,)`` float32."""
    return torch.tensor(_shares(*_present(records, classes)), dtype=torch.float32)


def class_weights(choice: str | Sequence[float] | None, records: Sequence[Record], classes: int) -> torch.Tensor | None:
    """Weights of the classes in a loss, ``(classes,)`` float32.

    ``choice``: None for no weights; ``balanced`` for weights that make all classes count equally, or with several
    labels an image, that make the presence of a class count as much as its absence; or one number per class.
    Raises `InvalidOptionError` if the choice is another word.
    """
    if choice is None:
        return None
    if not isinstance(choice, str):
        return torch.tensor([float(weight) for weight in choice])
    if choice != "balanced":
        raise InvalidOptionError(f"expected class weights as None, 'balanced' or numbers, but found {choice!r}")
    shares = frequencies(records, classes).clamp(_LOWEST_FREQUENCY, 1 - _LOWEST_FREQUENCY)
    multilabel = isinstance(records[0]["label"], list)
    return (1 - shares) / shares if multilabel else 1 / (classes * shares)


def draw_probabilities(records: Sequence[Record], classes: int) -> np.ndarray:
    """Probability of drawing each image so that classes come equally often: ``(images,)`` float64 with sum 1.

    An image with several labels is drawn as often as its rarest label demands. An image without any label is drawn as
    often as one of the most frequent group.
    """
    present, known = _present(records, classes)
    shares = np.maximum(_shares(present, known), _LOWEST_FREQUENCY)
    weights = np.where(present & known, 1 / shares, 0.0).max(axis=1)
    # An image without any label belongs to the group of "none of the classes", whose share is what the classes leave.
    weights = np.where(weights > 0, weights, 1 / max(shares.max(), 1 - shares.sum()))
    return np.asarray(weights / weights.sum())


def _shares(present: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.asarray((present & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _present(records: Sequence[Record], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image has each class, and whether that is known: two bool arrays ``(images, classes)``."""
    labels = np.array([record["label"] for record in records])
    known = labels != UNKNOWN
    if labels.ndim == 2:
        return labels == 1, known
    return labels[:, None] == np.arange(classes), np.repeat(known[:, None], classes, axis=1)


Batch = dict[str, torch.Tensor]


class ImageBatches(Dataset[Batch]):
    """The images of some records, one batch at a time.

    A batch is a dictionary:

    - ``image``: ``(batch, channels, rows, columns)`` from 0 to 255, ``uint8`` or ``float16``, channels last in memory;
    - ``label``: ``(batch,)`` or ``(batch, classes)``, ``int64``;
    - ``index``: ``(batch,)``, the positions of the records in `data`, ``int64``.

    ``data``: records of a datalist. The store must hold the images of all of them.
    """

    def __init__(self, data: Sequence[Record], store: ImageStore) -> None:
        self.data, self.store = list(data), store
        self.labels = torch.tensor([record["label"] for record in self.data])
        self._positions = store.positions(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of these images; torch's data loader calls this once per batch."""
        index = np.asarray(indices)
        # One fancy index into the memory-mapped array copies the whole batch; there is nothing to collate afterwards.
        images = self.store.read(self._positions[index])
        return {
            # Stored channels-last, which is the network's memory format in the bundle: a view, without a copy.
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": self.labels[index],
            "index": torch.from_numpy(index),
        }


class ImageItems(TransformedDataset):
    """The images of an `ImageBatches` one by one, with transforms of MONAI or torchvision: a MONAI `Dataset`.

    Slower than whole batches, but open to every transform that works on one image. The transforms receive

    - ``image``: ``(channels, rows, columns)`` from 0 to 1, ``float32``, in the form that validation and inference see;
    - ``label``: ``()`` or ``(classes,)``, ``int64``;
    - ``index``: the position of the record.

    They must leave ``image`` in its size and scale.

    Parameters
    ----------
    images
        The images.
    transform
        A dictionary transform, or a `Compose` of them; `RandTorchVisiond` and `TorchVisiond` hold torchvision's.
    """

    def __init__(self, images: ImageBatches, transform: Callable[..., Any]) -> None:
        super().__init__(images, transform)  # type: ignore[arg-type] # it needs a length alone
        self.images = images

    def _transform(self, index: int) -> Any:
        batch = self.images.__getitems__([index])
        item = {"image": scaled(batch["image"])[0].contiguous(), "label": batch["label"][0], "index": index}
        return apply_transform(self.transform, item)


def whole(batch: Any) -> Any:
    """The batch unchanged: the ``collate_fn`` of a data loader over an `ImageBatches`."""
    return batch


def scaled(image: torch.Tensor) -> torch.Tensor:
    """Stored images from 0 to 255 as ``float32`` from 0 to 1, with the same memory format."""
    return image.to(torch.float32).mul_(1 / 255)


class EpochSampler(DistributedSampler[Any]):
    """Positions of the images of one epoch, shuffled and shared out among the processes.

    The order depends on the seed and the epoch alone, so a resumed run draws the same images as one that was never
    stopped. MONAI's engines set the epoch.

    ``balanced``: whether to draw with replacement so that classes come equally often; else each image comes once.
    """

    def __init__(self, records: Sequence[Record], *, classes: int, balanced: bool = False, seed: int = 0) -> None:
        super().__init__(
            records,  # type: ignore[arg-type]
            num_replicas=idist.get_world_size(),
            rank=idist.get_rank(),
            seed=seed,
        )
        self._probabilities = draw_probabilities(records, classes) if balanced else None
        self._count = len(records)

    def __iter__(self) -> Iterator[int]:
        """The positions for this process."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = (
            rng.permutation(self._count)
            if self._probabilities is None
            else rng.choice(self._count, size=self._count, p=self._probabilities)
        )
        # All processes need the same number of images, or they would wait for each other: the first few come twice.
        padded = np.resize(order, self.total_size)
        return iter(padded[self.rank :: self.num_replicas].tolist())
