"""The peer in the benchmarks of the image classifier: the usual training loop with timm, PIL and torchvision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pictures(Dataset):
    """Images of a datalist, in one file or a file per channel: Resize, optional flip, ToTensor, Normalize."""

    def __init__(self, entries: Sequence[dict[str, Any]], root: Path, pixels: int, *, mirror: bool = False) -> None:
        self.entries, self.root = entries, root
        flip = [transforms.RandomHorizontalFlip()] if mirror else []
        self.change = transforms.Compose(
            [transforms.Resize((pixels, pixels)), *flip, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        names = self.entries[n]["image"]
        if len(names) == 1:
            with Image.open(self.root / names[0]) as image:
                picture = image.convert("RGB")
        else:
            picture = Image.merge("RGB", [Image.open(self.root / name).convert("L") for name in names])
        return self.change(picture), torch.as_tensor(self.entries[n]["label"])


def steps(dataset: Pictures, backbone: str, classes: int, epochs: int) -> Iterator[torch.nn.Module]:
    """Training steps from random weights, AdamW with a cosine from .001; yields the network after each step."""
    torch.manual_seed(0)
    network = timm.create_model(backbone, num_classes=classes)
    loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for _ in range(epochs):
        network.train()
        for image, label in loader:
            logits = network(image)
            if label.ndim == 2:
                loss = functional.binary_cross_entropy_with_logits(logits, label.float())
            else:
                loss = functional.cross_entropy(logits, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield network


@torch.no_grad()
def logits_of(network: torch.nn.Module, dataset: Pictures) -> torch.Tensor:
    """Logits ``(images, classes)``."""
    network.eval()
    return torch.cat([network(image) for image, _ in DataLoader(dataset, BATCH)])
