"""One table of what the shipped trainings and `predict` do on this machine's GPU; `gpu.sh` runs it.

    benchmarks/gpu.sh                    # on a machine with a GPU, at most 8 minutes
    benchmarks/gpu.sh --tiny             # shrunk networks and images, on any machine, a minute or two
    python benchmarks/gpu.py --only lumbar_25d_grader -o table.md

Each row is a shipped training with its own loader, handlers and augmentation, without validation, on studies of noise,
randomised phantoms or generated pictures. It runs in a process of its own, twice with the same random numbers: in
bfloat16 and in float32; on a CPU in float32 alone. ``waiting`` is the share of the time in which the trainer has no
batch. The losses are means of the second half of the steps. Then one process trains with DistributedDataParallel, and
`predict` grades phantoms. A row that fails or takes too long says so, and the table goes on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = ROOT / "bundles"
SECONDS = 480.0
"""Of the whole table; a row for which no time is left says so."""
SECONDS_OF_A_ROW = 55.0
SECONDS_OF_THE_END = 120.0
"""Kept for `predict` and for the training in one process of ``torchrun``."""


@dataclass(frozen=True)
class Training:
    """A shipped config with the changes of a row, and the changes that make it tiny."""

    bundle: str
    preset: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    tiny: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " + ".join(part for part in (self.bundle, Path(self.preset).stem) if part)

    def files(self) -> list[Path]:
        configs = BUNDLES / self.bundle / "configs"
        return [configs / "train.json", *([configs / self.preset] if self.preset else [])]


TINY_GRADER = {
    "backbones": ["test_resnet"],
    "network_def#backbone_of_view": [0, 0, 0],
    "pixels": [32, 32],
    "network_def#features": 16,
    "batch_size": 1,
}
TINY_UNET = {"network_def#channels": [4, 8], "network_def#mixed": 1}
LOCALIZER = {"images_per_epoch": 512, "validation_images": 1}
TRAININGS = (
    Training("lumbar_25d_grader", tiny=TINY_GRADER),
    Training("lumbar_25d_grader", "presets/convnext_nano_gated.json", tiny=TINY_GRADER),
    Training("lumbar_25d_grader", "presets/convnext_nano_gated.json", {"pixels": [384, 384]}, TINY_GRADER),
    Training(
        "lumbar_25d_grader",
        "presets/dinov2_axial_convnext_sagittal.json",
        {"pixels": [518, 518], "batch_size": 1, "network_def#checkpointing": True},
        TINY_GRADER,
    ),
    Training(
        "lumbar_unet_classifier",
        tiny={
            "grid_size": [4, 16, 24],
            "grid_step": [12.0, 8.0, 6.0],
            "network_def#channels": [4, 8],
            "network_def#strides": [2, 2],
        },
    ),
    Training(
        "lumbar_level_localizer", changes=LOCALIZER, tiny={**TINY_UNET, "grid_size": [5, 48, 48], "grid_step": 6.0}
    ),
    Training("lumbar_recess_localizer", changes=LOCALIZER, tiny=TINY_UNET),
    Training("image_classifier", tiny={"backbone": "test_resnet", "pixels": [24, 24]}),
    Training(
        "image_classifier",
        changes={"backbone": "convnext_small", "pixels": [384, 384]},
        tiny={"backbone": "test_resnet", "pixels": [24, 24]},
    ),
)


@dataclass(frozen=True)
class Measured:
    """What one training did: shape of a batch, samples a second, share of waiting, GiB, mean loss."""

    shape: tuple[int, ...]
    rate: float
    waiting: float
    memory: float
    loss: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="also write the table to this file")
    parser.add_argument("--tiny", action="store_true", help="shrink networks, images and steps")
    parser.add_argument("--only", help="only rows whose name holds this")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, help="of each training [30, tiny 2]")
    parser.add_argument("--row", nargs=3, metavar=("NUMBER", "PRECISION", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.steps = options.steps or (2 if options.tiny else 30)
    if options.row:
        number, precision, folder = options.row
        print(json.dumps(asdict(_measure(TRAININGS[int(number)], precision, Path(folder), options))))
        return 0
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        text = "\n".join(_table(Path(folder), options)) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    return int("failed" in text)


def _table(folder: Path, options: argparse.Namespace) -> list[str]:
    """The lines of the report, each printed as soon as it is known."""
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    options.begin = begin = time.perf_counter()
    # A CPU gains nothing from bfloat16 in training, and does not compute gradients of 3-D convolutions in it.
    precisions = ("bfloat16", "float32") if torch.device(options.device).type == "cuda" else ("float32",)
    chosen = [(n, row) for n, row in enumerate(TRAININGS) if (options.only or "") in row.name]
    say(f"{_machine(options.device)}; torch {torch.__version__}; {options.steps} steps of each training\n")
    say(
        "| training | batch | bfloat16/s | float32/s | waiting | GiB bfloat16 | GiB float32 | loss bfloat16 | float32 |"
    )
    say("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for number, row in chosen:
        say(_row(row, [_in_process(number, precision, folder, options) for precision in precisions]))
    if not options.only:
        say()
        say(_distributed(folder, options))
        say(_prediction(options))
    say(f"\n{time.perf_counter() - begin:.0f} s in all")
    return lines


def _machine(device: str) -> str:
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {os.cpu_count()} cores"
    return f"CPU, {os.cpu_count()} cores, no GPU used"


def _row(training: Training, results: list[Measured | str]) -> str:
    """One line; the last result is the one in float32."""
    for result in results:
        if isinstance(result, str):
            return f"| {training.name} | failed: {result} |" + " |" * 7
    *low, full = (result for result in results if isinstance(result, Measured))
    shape = " × ".join(map(str, full.shape))
    rate, memory, loss = (f"{low[0].rate:.1f}", f"{low[0].memory:.2f}", f"{low[0].loss:.4f}") if low else "---"
    return (
        f"| {training.name} | {shape} | {rate} | {full.rate:.1f} | {(*low, full)[0].waiting:.0%} | {memory} | "
        f"{full.memory:.2f} | {loss} | {full.loss:.4f} |"
    )


def _in_process(number: int, precision: str, folder: Path, options: argparse.Namespace) -> Measured | str:
    """The row's figures, or why there are none."""
    if options.tiny:  # in this process: the imports of eighteen would take longer than all the rows
        try:
            return _measure(TRAININGS[number], precision, folder, options)
        except Exception as error:  # the table goes on
            return _last_line(str(error))
    # A process of its own: its peak of memory is its own, and a crash ends one row.
    command = [sys.executable, __file__, "--device", options.device, "--steps", str(options.steps)]
    command += ["--row", str(number), precision, str(folder)]
    printed, failure = _output(command, min(SECONDS_OF_A_ROW, _seconds_left(options) - SECONDS_OF_THE_END))
    return failure or Measured(**json.loads(printed.splitlines()[-1]))


def _seconds_left(options: argparse.Namespace) -> float:
    return float(options.begin + SECONDS - time.perf_counter())


def _output(command: list[str], seconds: float) -> tuple[str, str]:
    """What a command prints, and why it failed, if it did."""
    if seconds <= 0:
        return "", f"no time left of {SECONDS:.0f} s"
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "", f"took more than {seconds:.0f} s"
    return ran.stdout.strip(), _last_line(ran.stderr) if ran.returncode else ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200].replace("|", "/")


def _measure(training: Training, precision: str, folder: Path, options: argparse.Namespace) -> Measured:
    """Train as shipped for some steps, the first of which are not counted."""
    import monai
    from ignite.engine import Events
    from monai.bundle import ConfigParser
    from training import listening

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    parser = ConfigParser()
    parser.read_config([str(path) for path in training.files()])
    parser.update({**training.changes, **(training.tiny if options.tiny else {})})
    data = _write_data(training.bundle, folder, options)
    root = folder / f"{training.name}-{precision}"
    parser.update(
        {
            "bundle_root": str(root),
            "dataset_dir": str(data),
            "device": f"$torch.device('{options.device}')",
            "amp": precision == "bfloat16",
            "training_run#progress": False,
            "epochs": 1000,
            **({"num_workers": 0} if options.tiny else {}),
        }
    )
    _leave_out_validation(parser)
    monai.utils.set_determinism(seed=0)
    parser.get_parsed_content("run#0")
    parser.get_parsed_content("training_run").attach()
    trainer = parser.get_parsed_content("train#trainer")
    device = torch.device(options.device)
    warm, clock = max(1, options.steps // 3), _Clock(device)
    losses: list[float] = []

    def after_step() -> None:
        output = trainer.state.output  # one a sample where the engine takes the batch apart, each with the batch's loss
        losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))
        if len(losses) == warm:
            clock.start()
        if len(losses) >= warm + options.steps:
            clock.stop()
            trainer.terminate()

    events = {
        Events.GET_BATCH_STARTED: clock.wait,
        Events.GET_BATCH_COMPLETED: clock.resume,
        Events.ITERATION_COMPLETED: after_step,
    }
    with listening(trainer, events):
        trainer.run()
    batch = trainer.state.batch
    shape = (len(batch), *batch[0]["image"].shape) if isinstance(batch, list) else tuple(batch["image"].shape)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    half = losses[len(losses) // 2 :]
    rate = shape[0] * options.steps / clock.elapsed
    return Measured(shape, rate, clock.waited / clock.elapsed, peak, sum(half) / len(half))


def _leave_out_validation(parser: Any) -> None:
    for handler in parser["train#handlers"]:
        if handler["_target_"] == "ValidationHandler":
            handler["_disabled_"] = True


class _Clock:
    """Elapsed seconds between two steps, and how many of them were spent waiting for a batch."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.elapsed, self.waited = device, 0.0, 0.0
        self._begun = self._asked = 0.0

    def start(self) -> None:
        self.waited, self._begun = 0.0, self._now()

    def wait(self) -> None:
        # The host asks for the next batch while the GPU still computes: without this, that time would count as waiting.
        self._asked = self._now()

    def resume(self) -> None:
        self.waited += time.perf_counter() - self._asked

    def stop(self) -> None:
        self.elapsed = self._now() - self._begun

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _write_data(bundle: str, folder: Path, options: argparse.Namespace) -> Path:
    """Studies of noise or generated pictures, written once; the localizers draw their images themselves."""
    studies = 2 if options.tiny else 32
    if bundle == "image_classifier":
        path = folder / "pictures"
        if not path.is_dir():
            from image_classifier import write_images

            path.mkdir()
            write_images(path, 16 * studies)
        return path
    path = folder / "studies"
    if not path.is_dir():
        from training import write_cohort

        write_cohort(path, studies)
    return path


def _distributed(folder: Path, options: argparse.Namespace) -> str:
    """An epoch of the grader in one process of ``torchrun``."""
    training = TRAININGS[0]
    configs = BUNDLES / training.bundle / "configs"
    settings = {
        **training.changes,
        **(training.tiny if options.tiny else {}),
        "bundle_root": str(folder / "distributed"),
        "dataset_dir": str(_write_data(training.bundle, folder, options)),
        "epochs": 1,
        "training_run#progress": False,
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    command += ["-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str([str(configs / "train.json"), str(configs / "multi_gpu_train.json")])]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    begin = time.perf_counter()
    _, failure = _output(command, min(120.0, _seconds_left(options)))
    took = f"an epoch with start and validation in {time.perf_counter() - begin:.0f} s"
    return f"DistributedDataParallel, one process: {f'failed: {failure}' if failure else took}"


def _prediction(options: argparse.Namespace) -> str:
    """Seconds a study of `predict`, from phantoms as NIfTI: the GPU is asked, not the converter."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("predict.py")),
        "--stages",
        "--nifti",
        "--device",
        options.device,
    ]
    command += ["--studies", "1", "--size", "small"] if options.tiny else ["--studies", "6"]
    printed, failure = _output(command, min(150.0, _seconds_left(options)))
    return f"predict: failed: {failure}" if failure else f"predict:\n\n{printed}"


if __name__ == "__main__":
    sys.exit(main())
