"""What ``monai-spine predict`` costs with each runtime: PyTorch, ONNX Runtime, OpenVINO in float32 and bfloat16.

    python benchmarks/predict.py --chart docs/benchmarks/runtimes.png
    python benchmarks/predict.py --earlier ../an-earlier-checkout
    python benchmarks/predict.py --stages --nifti --device cuda --studies 6

All runtimes take turns in one run, on one thread, and the least of the rounds counts. Figures are processor time (user
and system, of children too), since clock time also has what else the machine does; a median far above the least time
says that the machine was busy. Networks and studies are measured in this process. The run over one DICOM study is a
process of its own, from its start to the table; its bfloat16 is left out, since models need a gate for it.

``--stages`` prints the steps of one run and its memory instead. If the grader has no weights yet, it gets random ones
there: its predictions are then meaningless, but take the same time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_prep.choices import PhantomSize
    from monai_spine.runtime.choice import RuntimeChoice


COLUMNS = ("torch", "onnx", "openvino", "openvino bfloat16")
EARLIER = "earlier"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3, help="phantom studies to make and grade in this process")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of whole runs; networks have five times as many")
    parser.add_argument("--earlier", type=Path, help="a checkout of an earlier version, for a column of its own")
    parser.add_argument("--preset", action="append", default=[], help="presets of the grader, with random weights")
    parser.add_argument("--networks-only", action="store_true", help="no studies")
    parser.add_argument("--chart", type=Path, help="write a bar chart")
    parser.add_argument("--stages", action="store_true", help="the steps of one run, and its memory")
    parser.add_argument("--threads", type=int, default=1, help="with --stages")
    parser.add_argument("--device", default="cpu", help="with --stages: of the networks")
    parser.add_argument("--nifti", action="store_true", help="with --stages: begin with NIfTI volumes")
    parser.add_argument("--tta", action="store_true", help="with --stages")
    parser.add_argument("--model", type=Path, help="with --stages: a grader's bundle [default: the package's]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="predict-") as folder:
        if options.stages:
            _measure(Path(folder), options)
        else:
            _compare(Path(folder), options)


@dataclass
class Table:
    """Processor seconds by work and column, a list with the value of each round."""

    works: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def measure(self, work: str, runs: Mapping[str, Callable[[], float]], rounds: int) -> None:
        """Let the columns take turns; each run returns its processor seconds."""
        times = self.works.setdefault(work, {name: [] for name in runs})
        for number in range(rounds):
            _progress(f"{work}: round {number + 1} of {rounds}")
            for name, run in runs.items():
                times[name].append(run())
        _progress("; ".join(f"{name} {min(values) * 1e3:.0f} ms" for name, values in times.items()))

    def print(self, columns: list[str]) -> None:
        """As Markdown: milliseconds, and how many times as fast as the first column."""
        print(f"| processor time in ms, least of the rounds | {' | '.join(columns)} |")
        print("|---|" + "--:|" * len(columns))
        for work, times in self.works.items():
            first = next(min(times[name]) for name in columns if name in times)
            cells = []
            for name in columns:
                if name not in times:
                    cells.append("")
                    continue
                least, median = min(times[name]), statistics.median(times[name])
                busy = f" (median {median * 1e3:.0f})" if median > 1.3 * least else ""
                cells.append(f"{_digits(least)}{busy}, {first / least:.2f} ×")
            print(f"| {work} | {' | '.join(cells)} |")


def _compare(folder: Path, options: argparse.Namespace) -> None:
    from data_prep.choices import PhantomSize

    os.environ.update(THREADS)
    table = Table()
    _networks(table, options)
    columns = [EARLIER, *COLUMNS] if options.earlier else list(COLUMNS)
    if not options.networks_only:
        _progress("phantoms")
        _studies(table, _write_nifti(folder / "nifti", options.studies, PhantomSize(options.size)), folder, options)
        _one_study(table, _write_dicom(folder / "dicom", 1, PhantomSize(options.size)), folder, options)
    table.print(columns)
    if options.chart:
        _draw(table, columns, options.chart)


def _choices() -> dict[str, RuntimeChoice]:
    from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice

    made = {
        "torch": RuntimeChoice(),
        "onnx": RuntimeChoice(Runtime.ONNX),
        "openvino": RuntimeChoice(Runtime.OPENVINO),
        "openvino bfloat16": RuntimeChoice(Runtime.OPENVINO, Precision.BFLOAT16),
    }
    return {name: made[name] for name in COLUMNS}


def _networks(table: Table, options: argparse.Namespace) -> None:
    import torch

    from monai_spine.grading.grader import Grader
    from monai_spine.levels.localizers import LevelLocator, RecessLocator

    torch.set_num_threads(1)
    choices = _choices()
    _progress("opening the networks")
    sizes = {LevelLocator: (1, 1, 17, 144, 144), RecessLocator: (1, 3, 1, 64, 64)}
    names = {LevelLocator: "level localizer, a volume of 17 slices", RecessLocator: "recess localizer, a slice"}
    generator = torch.Generator().manual_seed(1)
    for locator, size in sizes.items():
        image = torch.rand(size, generator=generator).numpy()
        runs = {
            name: _timed(locator.from_bundle(device="cpu", runtime=choice, gated=False).network, image)
            for name, choice in choices.items()
        }
        table.measure(names[locator], runs, 5 * options.rounds)
    graders = {name: Grader.from_bundle(runtime=choice, gated=False).model for name, choice in choices.items()}
    shape = graders["openvino"].plan.shape  # type: ignore[attr-defined]
    image = torch.rand(shape[1:], generator=generator).numpy()
    runs = {name: _timed(model.outputs, [image]) for name, model in graders.items()}
    table.measure("grader, a study", runs, 5 * options.rounds)
    for preset in options.preset:
        table.measure(f"grader {preset}, a study", _preset_runs(preset), 2 * options.rounds)


def _preset_runs(preset: str) -> dict[str, Callable[[], float]]:
    """A preset's network with random weights in PyTorch and OpenVINO, at its own size."""
    import torch
    from monai.bundle import ConfigParser

    from monai_spine.bundle.shipped import GRADER
    from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
    from monai_spine.runtime.conversion import convert
    from monai_spine.runtime.engine import TorchEngine, open_engine

    parser = ConfigParser()
    parser.read_config([str(GRADER / "configs/inference.json"), str(GRADER / f"configs/presets/{preset}.json")])
    network = parser.get_parsed_content("network_def").eval()
    size = (len(network.place), sum(network.views), *network.backbones[0].pixels)
    image = torch.rand((1, *size), generator=torch.Generator().manual_seed(1)).numpy()
    files = convert(network, (None, *size), Runtime.OPENVINO)
    runs = {"torch": _timed(TorchEngine(network), image)}
    for name, precision in (("openvino", Precision.FLOAT32), ("openvino bfloat16", Precision.BFLOAT16)):
        runs[name] = _timed(open_engine(files, RuntimeChoice(Runtime.OPENVINO, precision)), image)
    return runs


def _timed(network: Callable[..., object], image: object) -> Callable[[], float]:
    import torch

    def run() -> float:
        with torch.inference_mode():
            begin = time.process_time()
            network(image)
            return time.process_time() - begin

    run()  # the first call makes room
    return run


def _studies(table: Table, studies: Path, folder: Path, options: argparse.Namespace) -> None:
    """Levels and grades of NIfTI studies that are converted already, with models that are open."""
    from monai_spine.grading.grader import Grader
    from monai_spine.levels.localizers import LevelLocator, RecessLocator
    from monai_spine.prediction.inputs import Conversion, find_inputs
    from monai_spine.prediction.models import Models
    from monai_spine.prediction.run import predict

    inputs = find_inputs([studies], folder / "in-process", Conversion("folder", quiet=True))
    runs: dict[str, Callable[[], float]] = {}
    for name, choice in _choices().items():
        models = Models(
            LevelLocator.from_bundle(device="cpu", runtime=choice, gated=False),
            RecessLocator.from_bundle(device="cpu", runtime=choice, gated=False),
            [Grader.from_bundle(runtime=choice, gated=False)],
        )

        def run(models: Models = models, out: Path = folder / f"out-{name}") -> float:
            begin = time.process_time()
            predict(inputs, out, models, force=True, quiet=True)
            return (time.process_time() - begin) / options.studies

        runs[name] = run
    table.measure("predict, a further study, after its conversion", runs, options.rounds)


def _one_study(table: Table, studies: Path, folder: Path, options: argparse.Namespace) -> None:
    study = next(path for path in sorted(studies.iterdir()) if path.is_dir())
    runs = {name: _command(name, folder) for name in COLUMNS if name != "openvino bfloat16"}
    if options.earlier:
        runs = {EARLIER: _command(EARLIER, folder, options.earlier), **runs}
    each = {name: lambda run=run: run([study]) for name, run in runs.items()}
    table.measure("predict, one DICOM study, from process start to table", each, options.rounds)


def _command(name: str, folder: Path, checkout: Path | None = None) -> Callable[[list[Path]], float]:
    """A run of ``predict`` as a process of its own, and its processor seconds."""
    root = checkout or Path(__file__).resolve().parents[1]
    out = folder / f"out-{name}"
    arguments = ["predict", "-o", str(out), "--force", "--quiet", "--device", "cpu", "--name-by", "folder"]
    arguments += [] if checkout else ["--runtime", name]
    program = "from monai_spine.commands.main import main; main()"
    environment = {**os.environ, **THREADS, "PYTHONPATH": str(root)}

    def run(studies: list[Path]) -> float:
        shutil.rmtree(out, ignore_errors=True)
        inputs = [text for study in studies for text in ("-i", str(study))]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", program, *arguments, *inputs],
            check=True,
            env=environment,
            capture_output=True,
            cwd=root,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def _digits(seconds: float) -> str:
    """Milliseconds with three digits or all that are before the point."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _draw(table: Table, columns: list[str], path: Path) -> None:
    """Bars of the speed against the first column, for each work."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.5 + 0.9 * len(table.works)), layout="constrained")
    height = 0.8 / len(columns)
    colours = dict(
        zip(columns, pyplot.get_cmap("viridis")([n / len(columns) for n in range(len(columns))]), strict=True)
    )
    for row, times in enumerate(table.works.values()):
        first = next(min(times[name]) for name in columns if name in times)
        for place, name in enumerate(name for name in columns if name in times):
            speed = first / min(times[name])
            bar = axes.barh(row + place * height, speed, height, color=colours[name], label=name if row == 0 else None)
            axes.bar_label(bar, [f" {speed:.1f} ×  {_digits(min(times[name]))} ms"], fontsize=8)
    axes.set_yticks([n + 0.4 - height / 2 for n in range(len(table.works))], list(table.works), fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the first bar of a row; processor time on one thread")
    axes.margins(x=0.2)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colours[name]) for name in columns]
    figure.legend(handles, columns, loc="outside upper center", ncols=len(columns), fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _measure(folder: Path, options: argparse.Namespace) -> None:
    from data_prep.choices import PhantomSize

    write = _write_nifti if options.nifti else _write_dicom
    studies = write(folder / "studies", options.studies, PhantomSize(options.size))
    clock = _Clock()
    import torch

    from monai_spine.prediction.inputs import Conversion, find_inputs
    from monai_spine.prediction.models import open_models
    from monai_spine.prediction.run import predict

    torch.set_num_threads(options.threads)
    bundle = _with_weights(options.model, folder / "bundle")
    with redirect_stderr(StringIO()):
        models = open_models([bundle], tta=["flip"] if options.tta else [], device=options.device)
    clock.lap("start-up")
    inputs = find_inputs([studies], folder / "out", Conversion("folder", quiet=True))
    clock.lap("finding the volumes" if options.nifti else "DICOM to NIfTI")
    summary = predict(inputs, folder / "out", models, quiet=True)
    clock.lap("levels and grades")
    predict(inputs, folder / "out", models, quiet=True)
    clock.lap("again, nothing to do")
    print(f"{options.studies} studies of size {options.size}, {options.threads} threads; {summary.line()}\n")
    print("| step | processor s | elapsed s | processor s per study |\n|---|--:|--:|--:|")
    for name, (processor, elapsed) in clock.laps.items():
        each = "" if name == "start-up" else f"{processor / options.studies:.2f}"
        print(f"| {name} | {processor:.2f} | {elapsed:.2f} | {each} |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def _write_dicom(folder: Path, studies: int, size: PhantomSize) -> Path:
    """Phantoms as DICOM; the folder of their studies."""
    from data_prep.phantom.cohort import generate

    generate(folder, studies, 32, size=size, workers=1, quiet=True)
    return folder / "train_images"


def _write_nifti(folder: Path, studies: int, size: PhantomSize) -> Path:
    """Phantoms as NIfTI, a folder a study; the folder of their folders."""
    import nibabel as nib
    import numpy as np

    from data_prep.phantom.acquire import acquire
    from data_prep.phantom.disease import draw_disease
    from data_prep.phantom.person import draw_person
    from data_prep.phantom.plan import plan_axial, plan_sagittal
    from monai_spine.spine import Level, SeriesType

    for n in range(studies):
        rng = np.random.default_rng([32, n])
        person = draw_person(draw_disease(rng), rng, np.zeros(3))
        scans = {
            SeriesType.SAGITTAL_T1: plan_sagittal(person, SeriesType.SAGITTAL_T1, size, 1.5, rng),
            SeriesType.SAGITTAL_T2: plan_sagittal(person, SeriesType.SAGITTAL_T2, size, 1.5, rng),
            SeriesType.AXIAL_T2: plan_axial(person, (Level.L1_L2, Level.L5_S1), size, 1.5, rng),
        }
        (folder / str(n)).mkdir(parents=True)
        for series_type, scan in scans.items():
            voxels = acquire(person, scan, rng).transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(voxels, scan.affine), folder / str(n) / f"{series_type.value}.nii.gz")
    return folder


class _Clock:
    """Processor and elapsed seconds from lap to lap."""

    def __init__(self) -> None:
        self.laps: dict[str, tuple[float, float]] = {}
        self._last = self._now()

    def lap(self, name: str) -> None:
        now = self._now()
        self.laps[name] = (now[0] - self._last[0], now[1] - self._last[1])
        self._last = now

    def _now(self) -> tuple[float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used), time.perf_counter()


def _with_weights(bundle: Path | None, copy: Path) -> Path:
    """The bundle, or a copy with random weights if it has none."""
    import torch

    from monai_spine.bundle.model_description import ModelDescription
    from monai_spine.bundle.shipped import GRADER
    from monai_spine.errors import MissingInputError
    from monai_spine.grading.grader_bundle import config_files, weight_files
    from monai_spine.grading.parsed_grader import parsed_parts

    bundle = bundle or GRADER
    try:
        weight_files(bundle)
    except MissingInputError:
        shutil.copytree(bundle, copy)
        about = {"description": ModelDescription(), "weights": copy / "models/model.pt"}
        network = parsed_parts(config_files(copy), copy, torch.device("cpu"), **about)["network_def"]
        (copy / "models").mkdir(exist_ok=True)
        torch.save(network.state_dict(), copy / "models" / "model.pt")
        print(f"{bundle.name} has no weights: it gets random ones\n")
        return copy
    return bundle


if __name__ == "__main__":
    main()
