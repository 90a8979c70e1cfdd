"""Compares the image classifier with a plain timm loop: throughput, accuracy, loading, and the head alone.

python benchmarks/image_classifier.py [FOLDER] [IMAGES] [BACKBONE] [PARTS, such as 134]

Writes IMAGES JPEGs of 512 x 512 pixels in four class folders to FOLDER, unless they exist, and measures four things:

1. Throughput of training steps at 224 pixels and 32 images, of both in turn: ours (stored images, augmentation, MONAI's
   engine with the shipped config), and the usual loop (PIL, Resize, flip, ToTensor, Normalize, AdamW).
2. Accuracy of both after the same number of epochs with the same small network at 64 pixels.
3. Training speed with stored images, compared with images that lie in memory as floating point.
4. An epoch of the head on features computed once, compared with an epoch through the backbone, and the difference of
   the logits.

Times are the processor time of this process with torch's threads, which other processes of the machine disturb less.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import create_workflow
from PIL import Image
from plain_loop import BATCH, Pictures, logits_of, steps
from torch.utils.data import DataLoader

from monai_spine.images.data.datalist import ImageDatalist, Task, write_image_datalist
from monai_spine.images.data.dataset import ImageBatches, whole
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.frozen_features import FrozenFeatures
from monai_spine.images.training.augmentation import PRESETS, BatchPreparation
from monai_spine.networks.layer_freezing import FROZEN, LayerFreezing

SIDE, PIXELS, CLASSES, ROUNDS = 512, 224, 4, 4
SMALL, SMALL_PIXELS, EPOCHS = "test_resnet", 64, 20
CONFIG = Path(__file__).parents[1] / "bundles" / "image_classifier" / "configs" / "train.json"


def write_images(folder: Path, count: int) -> list[dict[str, Any]]:
    """Grey heads with a lesion whose type is the class: bright, dark, ring, none; position, size and noise vary."""
    records = []
    for n in range(count):
        label, path = n % CLASSES, folder / str(n % CLASSES) / f"{n}.jpg"
        records.append({"image": [str(path)], "label": label, "group": str(n), "fold": n // CLASSES % 5})
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(label, np.random.default_rng(n))).save(path, quality=90)
    write_image_datalist(folder / "datalist.json", ImageDatalist(tuple("abcd"), Task.MULTICLASS, records, []))
    return records


def picture(label: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    head = (x / rng.uniform(0.6, 0.8)) ** 2 + (y / rng.uniform(0.7, 0.9)) ** 2 < 1
    shades = np.kron(rng.normal(0, 12, (16, 16)), np.ones((SIDE // 16, SIDE // 16))).astype(np.float32)
    grey = np.where(head, rng.uniform(90, 130) + shades, 8)
    distance = np.hypot(x - rng.uniform(-0.35, 0.35), y - rng.uniform(-0.35, 0.35)) / rng.uniform(0.1, 0.2)
    lesion = (distance < 1, distance < 1, (distance > 0.6) & (distance < 1), distance < 0)[label]
    grey = grey + lesion * (35, -35, 35, 0)[label] + rng.normal(0, 14, grey.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


def peer_accuracy(records: list[dict[str, Any]]) -> float:
    validation, training = ([r for r in records if (r["fold"] == 0) is side] for side in (True, False))
    *_, network = steps(Pictures(training, Path(), SMALL_PIXELS, mirror=True), SMALL, CLASSES, EPOCHS)
    predicted = logits_of(network, Pictures(validation, Path(), SMALL_PIXELS)).argmax(1)
    return (predicted == torch.tensor([record["label"] for record in validation])).float().mean().item()


def our_trainer(folder: Path, run: Path, **settings: Any) -> Any:
    return create_workflow(
        config_file=str(CONFIG),
        workflow_type="train",
        run_id="training",
        dataset_dir=str(folder),
        bundle_root=str(run),
        cache_dir=str(folder / "cache"),
        **settings,
    )


def our_steps(folder: Path, run: Path, backbone: str) -> Iterator[None]:
    """Steps of the shipped training, without the loop of MONAI's engine."""
    parser = our_trainer(folder, run, backbone=backbone, pixels=[PIXELS, PIXELS]).parser
    trainer, loader = parser.get_parsed_content("train#trainer"), parser.get_parsed_content("train#dataloader")
    while True:
        for batch in loader:
            trainer._iteration(trainer, batch)
            yield


def in_turn(steps: dict[str, Iterator[Any]], rounds: int) -> dict[str, float]:
    """Median processor seconds of a step of each iterator."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for n in range(rounds + 1):
        for name, iterator in steps.items():
            begin = time.process_time()
            next(iterator)
            times[name] += [time.process_time() - begin] if n else []  # the first round warms up
    return {name: statistics.median(some) for name, some in times.items()}


def loading(records: list[dict[str, Any]], folder: Path) -> float:
    """Processor seconds of an augmented batch from the store."""
    store = ImageStore(records, ImageForm(pixels=(PIXELS, PIXELS)), folder=folder / "cache")
    begin = time.process_time()
    store.open()
    print(f"   decoding once: {(time.process_time() - begin) / len(records) * 1e3:.2f} ms an image (0 if kept)")
    loader = DataLoader(ImageBatches(records, store), BATCH, shuffle=True, collate_fn=whole)
    prepare = BatchPreparation(augmentation=PRESETS["light"])
    begin = time.process_time()
    for batch in loader:
        prepare(batch, "cpu")
    return (time.process_time() - begin) / len(loader)


def in_memory_step(backbone: str) -> Iterator[None]:
    network = ImageClassifier(backbone=backbone, classes=CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    image = torch.rand(BATCH, 3, PIXELS, PIXELS).to(memory_format=torch.channels_last)
    label = torch.randint(CLASSES, (BATCH,))
    while True:
        torch.nn.functional.cross_entropy(network(image), label).backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def head_alone(records: list[dict[str, Any]], folder: Path, backbone: str) -> tuple[float, float, float]:
    """Processor seconds of an epoch through the backbone and on features, and the greatest difference of logits."""
    records = records[: 8 * BATCH]
    store = ImageStore(records, ImageForm(pixels=(PIXELS, PIXELS)), folder=folder / "cache")
    dataset = ImageBatches(records, store)
    network = ImageClassifier(backbone=backbone, classes=CLASSES).to(memory_format=torch.channels_last)
    LayerFreezing(network, train_layers=FROZEN)
    optimizer = torch.optim.AdamW(network.head.parameters(), lr=0.0)
    features = FrozenFeatures(network, dataset, device=torch.device("cpu"))
    features.read(torch.arange(1))  # computes all of them, outside of the measured time
    loader = DataLoader(dataset, BATCH, collate_fn=whole)
    times, logits = [], []
    for prepare in (BatchPreparation(), BatchPreparation(features=features)):
        begin = time.process_time()
        epoch_logits = []
        for batch in loader:
            image, label = prepare(batch, "cpu")
            epoch_logits.append(network.train()(image))
            torch.nn.functional.cross_entropy(epoch_logits[-1], label).backward()
            optimizer.step()
            optimizer.zero_grad()
        times.append(time.process_time() - begin)
        logits.append(torch.cat([batch.detach() for batch in epoch_logits]))
    return times[0], times[1], float((logits[0] - logits[1]).abs().max())


def throughput(records: list[dict[str, Any]], folder: Path, backbone: str) -> None:
    sides = {
        "ours": our_steps(folder, Path(tempfile.mkdtemp()), backbone),
        "loop": steps(Pictures(records, Path(), PIXELS, mirror=True), backbone, CLASSES, 1000),
    }
    seconds = in_turn(sides, ROUNDS)
    for name, step in seconds.items():
        print(f"1. {name}: {BATCH / step:.2f} images a processor second")
    print(f"   ours / loop: {seconds['loop'] / seconds['ours']:.2f}")


def accuracy(records: list[dict[str, Any]], folder: Path) -> None:
    print(f"2. loop: accuracy {peer_accuracy(records):.3f} of {SMALL} after {EPOCHS} epochs")
    pixels = [SMALL_PIXELS, SMALL_PIXELS]
    settings = {"backbone": SMALL, "pixels": pixels, "epochs": EPOCHS, "embedding#images": 0, "pictures#every": 99}
    workflow = our_trainer(folder, Path(tempfile.mkdtemp()), **settings)
    workflow.run()
    reached = workflow.parser.get_parsed_content("validate#evaluator").state.metrics["accuracy"]
    print(f"   ours: accuracy {reached:.3f} after the last of them")


def in_memory(records: list[dict[str, Any]], folder: Path, backbone: str) -> None:
    batch = loading(records, folder)
    step = in_turn({"network": in_memory_step(backbone)}, ROUNDS)["network"]
    share = step / (step + batch)
    print(
        f"3. a batch from the store {batch * 1e3:.0f} ms, a step {step * 1e3:.0f} ms: {share:.1%} of images in memory"
    )


def frozen(records: list[dict[str, Any]], folder: Path, backbone: str) -> None:
    slow, fast, difference = head_alone(records, folder, backbone)
    print(f"4. an epoch through the backbone {slow:.2f} s, of the head alone {fast:.3f} s: {slow / fast:.0f} times;")
    print(f"   logits differ by {difference:.1e}")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    backbone = sys.argv[3] if len(sys.argv) > 3 else "resnet18"
    parts = sys.argv[4] if len(sys.argv) > 4 else "1234"
    records = write_images(folder, count)
    print(f"{count} images, {backbone}, {torch.get_num_threads()} threads of {os.cpu_count()}", flush=True)
    if "1" in parts:
        throughput(records, folder, backbone)
    if "2" in parts:
        accuracy(records, folder)
    if "3" in parts:
        in_memory(records, folder, backbone)
    if "4" in parts:
        frozen(records, folder, backbone)


if __name__ == "__main__":
    main()
