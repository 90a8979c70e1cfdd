"""The time and the memory that ``monai-spine predict`` needs for a full-size study, from DICOM or from NIfTI.

    python benchmarks/predict.py --studies 3 --threads 2
    python benchmarks/predict.py --nifti --device cuda --studies 6

Processor seconds (of this process and its children) are what the work costs. Elapsed seconds also include what else the
machine does. The start, that is imports and the opening of the models, has a row of its own. If the grader has no
weights yet, it gets random ones: its predictions are then meaningless, but take the same time.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_prep.choices import PhantomSize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3, help="phantom studies to make and grade")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the networks")
    parser.add_argument("--nifti", action="store_true", help="begin with NIfTI volumes: nothing is converted")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--model", type=Path, help="a grader's bundle [default: the package's]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="predict-") as folder:
        _measure(Path(folder), options)


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

    from monai_spine.bundle.shipped import GRADER
    from monai_spine.errors import MissingInputError
    from monai_spine.prediction.grader_bundle import config_files, parsed_parts, weight_files

    bundle = bundle or GRADER
    try:
        weight_files(bundle)
    except MissingInputError:
        shutil.copytree(bundle, copy)
        network = parsed_parts(config_files(copy), copy, torch.device("cpu"))["network_def"]
        (copy / "models").mkdir(exist_ok=True)
        torch.save(network.state_dict(), copy / "models" / "model.pt")
        print(f"{bundle.name} has no weights: it gets random ones\n")
        return copy
    return bundle


if __name__ == "__main__":
    main()
