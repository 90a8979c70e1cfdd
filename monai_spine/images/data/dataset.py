"""Batches of images for a data loader: one copy out of the store for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from monai_spine.images.data.datalist import Record
from monai_spine.images.data.store import ImageStore

Batch = dict[str, torch.Tensor]


class ImageDataset(Dataset[Batch]):
    """Images of records, given a batch at a time.

    A batch is a dictionary: ``image`` ``(batch, channels, rows, columns)`` of 0 to 255, with the channels last in
    memory, ``uint8`` or ``float16``; ``label`` ``(batch,)`` or ``(batch, classes)``; ``index`` ``(batch,)``, the places
    of the records in `data`.

    Parameters
    ----------
    data
        Records of a datalist, all of them in the store.
    store
        Of the images.
    """

    def __init__(self, data: Sequence[Record], store: ImageStore) -> None:
        self.data, self.store = list(data), store
        self.labels = torch.tensor([record["label"] for record in self.data])
        self._places = store.places(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Batch:
        """A batch of one image."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of these images: what torch's loader asks for."""
        index = np.asarray(indices)
        images = self.store.take(self._places[index])
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": self.labels[index],
            "index": torch.from_numpy(index),
        }


def whole(batch: Any) -> Any:
    """A batch as it is: the ``collate_fn`` of a data loader over an `ImageDataset`."""
    return batch


def scaled(image: torch.Tensor) -> torch.Tensor:
    """Stored images of 0 to 255 as floating point of 0 to 1, in the same order in memory."""
    return image.to(torch.float32).mul_(1 / 255)
