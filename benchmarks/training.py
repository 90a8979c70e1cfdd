"""What a training step of the grader's shipped config costs beside a bare loop, and how long it waits for data.

    python benchmarks/training.py
    python benchmarks/training.py --preset convnext_nano_gated --steps 4 --rounds 3
    python benchmarks/training.py --preset convnext_nano_gated --device cuda --batch-size 8 --steps 50 --channels-last

Step: the trainer of ``train.json``, with all of its handlers, and a loop of six lines take turns with the same network,
optimiser, loss and batches in memory. Data: the trainer's own loader with a warm crop cache, on studies of noise of
full size; the share of an epoch in which the trainer has no batch yet. A GPU works in bfloat16, as shipped.
On a GPU, or with workers, times are elapsed ones; else processor time of all threads, which other work on the machine
changes less. A median far above the least says that it did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import monai
import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from monai_spine.data.datalist import SCHEMA
from monai_spine.spine import FINDINGS, TARGETS, Level, SeriesType, Side

CONFIGS = Path(__file__).resolve().parents[1] / "bundles/lumbar_25d_grader/configs"
SHAPES = {SeriesType.SAGITTAL_T1: (384, 384, 17), SeriesType.SAGITTAL_T2: (384, 384, 17)}
AXES = {
    SeriesType.SAGITTAL_T1: ([0, -0.7, 0], [0, 0, -0.7], [-4.4, 0, 0]),
    SeriesType.SAGITTAL_T2: ([0, -0.7, 0], [0, 0, -0.7], [-4.4, 0, 0]),
    SeriesType.AXIAL_T2: ([-0.6, 0, 0], [0, -0.6, 0], [0, 0, -4.4]),
}
PITCH_MM = 34.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", default=[], help="of the grader's bundle")
    parser.add_argument("--batch-size", type=int, help="studies of a step; else the config's")
    parser.add_argument("--steps", type=int, default=8, help="of a round, and of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--workers", type=int, help="processes that cut crops; else the config's")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        _measure(Path(folder), options)


def _measure(folder: Path, options: argparse.Namespace) -> None:
    run = _Run(folder, options)
    batches = run.warm_cache()
    shape = tuple(batches[0]["image"].shape)
    print(f"{' + '.join(['train.json', *options.preset])}, batches of {shape}, {run.describe()}\n")
    run.train_on(batches)  # the first steps compile, choose kernels, fill caches
    _bare(run, batches)
    taken: dict[str, list[float]] = {"bare loop": [], "shipped trainer": []}
    for _ in range(options.rounds):
        for name, work in (
            ("bare loop", lambda: _bare(run, batches)),
            ("shipped trainer", lambda: run.train_on(batches)),
        ):
            taken[name].append(_timed(work, run.device, run.clock) / len(batches))
    waits = [run.waiting() for _ in range(options.rounds)]
    _print(taken, waits, len(batches[0]["image"]), shape[1] * shape[2])


def _print(taken: dict[str, list[float]], waits: list[tuple[float, float]], studies: int, slices: int) -> None:
    """``slices`` of a study."""
    bare = taken["bare loop"]
    print("| step | median ms | least ms | × bare, medians | × bare, least | studies/s | slices/s |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, times in taken.items():
        middle, least = float(np.median(times)), min(times)
        rate = studies / middle
        ratios = f"{middle / np.median(bare):.3f} | {least / min(bare):.3f}"
        print(f"| {name} | {1e3 * middle:.1f} | {1e3 * least:.1f} | {ratios} | {rate:.1f} | {rate * slices:.0f} |")
    share, rate = np.median(np.array(waits), axis=0)
    print(
        f"\nWith its own loader: {rate:.1f} studies/s, {rate * slices:.0f} slices/s, {share:.1%} of the time spent",
        end="",
    )
    print(" waiting for data")
    if any(np.median(times) > 1.3 * min(times) for times in taken.values()):
        print("Medians are far above the least: the machine was busy")


class _Run:
    """The shipped training, assembled but not run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        parser = ConfigParser()
        parser.read_config([CONFIGS / "train.json", *(CONFIGS / f"presets/{name}.json" for name in options.preset)])
        batch = options.batch_size or parser["batch_size"]
        write_cohort(folder / "data", batch * options.steps)
        changes = {
            "bundle_root": str(folder / "run"),
            "dataset_dir": str(folder / "data"),
            "device": f"$torch.device('{options.device}')",
            "amp": self.device.type == "cuda",
            "pretrained": None,
            "batch_size": batch,
            "start#channels_last": options.channels_last,
            "start#compiled": options.compile,
            "training_run#progress": False,
            "epochs": 1000,
        }
        parser.update(changes if options.workers is None else {**changes, "num_workers": options.workers})
        parser["train#handlers#0#_disabled_"] = True  # the validation, which runs when an epoch is over
        parser["best_model#patience"] = 0
        monai.utils.set_determinism(seed=parser["seed"])
        parser.get_parsed_content("start")()
        parser.get_parsed_content("training_run").attach()
        self.get: Callable[[str], Any] = parser.get_parsed_content
        self.trainer: Engine = self.get("train#trainer")
        self.loader = self.trainer.data_loader  # type: ignore[attr-defined]
        by_itself = self.device.type == "cpu" and self.loader.num_workers == 0
        self.clock = time.process_time if by_itself else time.perf_counter

    def describe(self) -> str:
        backbones = ", ".join(self.get("backbones"))
        name = (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else f"{torch.get_num_threads()} threads"
        )
        settings = [word for word in ("channels_last", "compiled") if self.get(f"start#{word}")]
        return ", ".join([backbones, name, "bfloat16" if self.get("amp") else "float32", *settings])

    def warm_cache(self) -> list[dict[str, Any]]:
        """The batches of an epoch, after which every study's file is there."""
        for _ in self.loader:
            pass
        return list(self.loader)

    def train_on(self, batches: list[dict[str, Any]]) -> None:
        """An epoch over these batches."""
        self._epoch(batches)

    def waiting(self) -> tuple[float, float]:
        """Share of an epoch with its own loader that the trainer waits, and studies a second."""
        waits: list[float] = []
        begun = [0.0]

        def start() -> None:
            begun[0] = self.clock()

        def stop() -> None:
            waits.append(self.clock() - begun[0])

        with listening(self.trainer, {Events.GET_BATCH_STARTED: start, Events.GET_BATCH_COMPLETED: stop}):
            whole = _timed(lambda: self._epoch(self.loader), self.device, self.clock)
        return sum(waits) / whole, len(self.loader.dataset) / whole

    def _epoch(self, data: Any) -> None:
        """One epoch with all handlers but the validation, which runs when the epoch is over."""
        self.trainer.data_loader = data  # type: ignore[attr-defined]
        self.trainer.state.max_epochs = 1
        self.trainer.run()


@contextlib.contextmanager
def listening(engine: Engine, handlers: dict[Any, Callable[[], None]]) -> Iterator[None]:
    attached = [engine.add_event_handler(event, handler) for event, handler in handlers.items()]
    try:
        yield
    finally:
        for handle in attached:
            handle.remove()


def _bare(run: _Run, batches: list[dict[str, Any]]) -> None:
    """What anyone would write."""
    network, optimizer, loss, prepare = (run.get(name) for name in ("network", "optimizer", "loss", "mixing"))
    network.train()
    for batch in batches:
        image, label = prepare(batch, run.device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=run.get("amp")):
            logits = network(image)
        loss(logits.float(), label).backward()
        optimizer.step()


def _timed(work: Callable[[], None], device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def write_cohort(folder: Path, studies: int) -> None:
    """Studies of noise of full size around a straight spine, and one more to validate on; they share their volumes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    series = {}
    for kind in SeriesType:
        shape = SHAPES.get(kind, (320, 320, 40))
        affine = np.eye(4)
        affine[:3, :3] = np.array(AXES[kind]).T
        affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
        voxels = random.gamma(2.0, 100.0, shape).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, affine), folder / f"{kind.value}.nii.gz")
        series[kind.value] = [f"{kind.value}.nii.gz"]
    points = {finding.name: _place(finding) for finding in FINDINGS}
    entries = [
        {
            "study_id": str(n),
            "fold": int(n < studies),
            "label": random.choice(3, len(TARGETS), p=[0.7, 0.2, 0.1]).tolist(),
            "points": points,
            **series,
        }
        for n in range(studies + 1)
    ]
    content = {"schema": SCHEMA, "targets": list(TARGETS), "training": entries, "test": []}
    (folder / "datalist.json").write_text(json.dumps(content))


def _place(finding: Any) -> list[float]:
    across = {None: 0.0, Side.LEFT: -14.0, Side.RIGHT: 14.0}[finding.condition.side]
    return [across, 0.0, PITCH_MM * (2 - list(Level).index(finding.level))]


if __name__ == "__main__":
    main()
