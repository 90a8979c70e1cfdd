"""DICOM to NIfTI: ours, dcm2niix, SimpleITK and dicom2nifti in turn, for speed and for correctness.

    python benchmarks/convert.py speed [--rounds 7]
    python benchmarks/convert.py workers [--studies 12]
    python benchmarks/convert.py correctness CORPUS

`speed` times one generated study of three series (74 files, 31 MB), every tool in each round, on one thread, and prints
medians, minima and ratios. `correctness` runs all four over a folder of series (``<series>/dicom``) and judges every
output slice by the DICOM headers, as `tests/data_prep/oracle.py` does for ours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Tool = Callable[[Path, Path, str], None]


def ours(source: Path, out: Path, suffix: str) -> None:
    from data_prep.dicom.convert import convert

    convert(source, out, format=suffix, quiet=True)


def dcm2niix(source: Path, out: Path, suffix: str) -> None:
    import dcm2niix as package

    out.mkdir(parents=True)
    # -p n: the rescale of the DICOM standard, not Philips' private one; -z i: its own single-threaded deflate
    zipped = ["-z", "i" if suffix == "nii.gz" else "n"]
    command = [package.bin, *zipped, "-p", "n", "-f", "%j_%s", "-o", str(out), str(source)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def simpleitk(source: Path, out: Path, suffix: str) -> None:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    out.mkdir(parents=True)
    sitk.ProcessObject.GlobalWarningDisplayOff()
    folders = {path.parent for path in source.rglob("*") if path.is_file()}
    for number, folder in enumerate(sorted(folders)):
        for series in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
            names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
            image = sitk.ReadImage(names if len(names) > 1 else names[0])
            sitk.WriteImage(image, str(out / f"{number}_{series}.{suffix}"), suffix == "nii.gz")


def dicom2nifti(source: Path, out: Path, suffix: str) -> None:
    import logging

    import dicom2nifti as package

    out.mkdir(parents=True)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    package.convert_directory(str(source), str(out), compression=suffix == "nii.gz", reorient=False)


TOOLS: dict[str, Tool] = {"ours": ours, "dcm2niix": dcm2niix, "SimpleITK": simpleitk, "dicom2nifti": dicom2nifti}


def make_study(folder: Path, seed: int = 0) -> None:
    """Sagittal T1 and T2 of 17 x 384 x 384 and axial T2 of 40 x 512 x 512: smooth shapes under Rician noise."""
    from tests.data_prep import dicom_factory as factory

    plans = (
        ("T1 sag", factory.SAGITTAL, 17, 384, 4.4),
        ("T2 sag", factory.SAGITTAL, 17, 384, 4.4),
        ("T2 ax", factory.AXIAL, 40, 512, 4.0),
    )
    for number, (description, orientation, slices, side, step) in enumerate(plans, start=1):
        images = factory.series(
            slices,
            orientation=orientation,
            step=step,
            rows=side,
            columns=side,
            StudyInstanceUID=f"1.2.3.{seed}.1",
            SeriesInstanceUID=f"1.2.3.{seed}.1.{number}",
            SeriesNumber=number,
            SeriesDescription=description,
        )
        for k, image in enumerate(images):
            factory.set_pixels(image, _anatomy(side, k / slices, np.random.default_rng((seed, number, k))))
        factory.write(folder / str(number), images)


def _anatomy(side: int, depth: float, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 1 / (1 + np.exp(40 * (x**2 * 1.4 + y**2 - 0.8)))
    tissue = body * (500 + 250 * np.sin(9 * x + 3 * depth) * np.cos(11 * y) + 150 * np.sin(31 * x * y))
    noise = rng.normal(0, 18, (2, side, side))
    return np.clip(np.hypot(tissue + noise[0], noise[1]), 0, 4095)


def speed(rounds: int) -> None:
    """Time every tool in each round."""
    with tempfile.TemporaryDirectory() as scratch:
        study = Path(scratch) / "study"
        make_study(study)
        files = [path for path in study.rglob("*") if path.is_file()]
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB; {rounds} rounds\n")
        print("| to | tool | median ms | min ms | x ours (median) | x ours (min) | MB written |")
        print("|---|---|--:|--:|--:|--:|--:|")
        for suffix in ("nii.gz", "nii"):
            _print_times(suffix, _times(study, Path(scratch) / "out", suffix, rounds))


def _times(study: Path, out: Path, suffix: str, rounds: int) -> dict[str, tuple[list[float], float]]:
    found: dict[str, tuple[list[float], float]] = {name: ([], 0.0) for name in TOOLS}
    for number in range(rounds + 1):
        for name, tool in TOOLS.items():
            shutil.rmtree(out, ignore_errors=True)
            start = time.perf_counter()
            tool(study, out, suffix)
            elapsed = 1e3 * (time.perf_counter() - start)
            size = sum(path.stat().st_size for path in out.rglob("*.nii*")) / 1e6
            if number:  # the first round warms caches and imports
                found[name][0].append(elapsed)
                found[name] = (found[name][0], size)
    return found


def _print_times(suffix: str, found: dict[str, tuple[list[float], float]]) -> None:
    base, best = statistics.median(found["ours"][0]), min(found["ours"][0])
    for name, (times, size) in found.items():
        median, least = statistics.median(times), min(times)
        busy = " (busy machine)" if median > 1.3 * least else ""
        print(
            f"| .{suffix} | {name} | {median:.0f}{busy} | {least:.0f} | {median / base:.1f} | {least / best:.1f} "
            f"| {size:.1f} |"
        )


def workers(studies: int) -> None:
    """Time many studies in one process and in two, and the memory of one process over their number."""
    with tempfile.TemporaryDirectory() as scratch:
        root, out = Path(scratch) / "in", Path(scratch) / "out"
        for seed in range(studies):
            make_study(root / str(seed), seed)
        _run_processes(root, out, 2)
        times = {n: min(_run_processes(root, out, n) for _ in range(3)) for n in (1, 2)}
        print(
            f"{studies} studies: 1 process {times[1]:.2f} s, 2 processes {times[2]:.2f} s: x {times[1] / times[2]:.2f}"
        )
        for count in (1, max(studies // 2, 1), studies):
            subset = Path(scratch) / f"subset{count}"
            subset.mkdir()
            for seed in range(count):
                (subset / str(seed)).symlink_to(root / str(seed))
            print(f"peak memory with {count} studies: {_peak_memory(subset, out):.0f} MB")


def _run_processes(root: Path, out: Path, processes: int) -> float:
    from data_prep.dicom.convert import convert

    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    convert(root, out, workers=processes, quiet=True)
    return time.perf_counter() - start


def _peak_memory(source: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    code = (
        "import resource, sys; from pathlib import Path; from data_prep.dicom.convert import convert; "
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), quiet=True); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    command = [sys.executable, "-c", code, str(source), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).resolve().parents[1])
    return float(done.stdout)


def correctness(corpus: Path) -> None:
    """Judge every tool's output on every series of a corpus."""
    from slice_judge import verdict

    print("| series | " + " | ".join(TOOLS) + " |")
    print("|---|" + "---|" * len(TOOLS))
    totals = {name: {"right": 0, "refused": 0, "wrong": 0} for name in TOOLS}
    for folder in sorted(path for path in corpus.iterdir() if (path / "dicom").is_dir()):
        cells = []
        for name, tool in TOOLS.items():
            with tempfile.TemporaryDirectory() as scratch:
                found = _verdict(verdict, tool, folder, Path(scratch) / "out")
            totals[name][found] += 1
            cells.append(f"**{found}**" if found == "wrong" else found)
        print(f"| {folder.name} | " + " | ".join(cells) + " |", flush=True)
    print(
        "| **right / refused / wrong** | " + " | ".join("/".join(map(str, t.values())) for t in totals.values()) + " |"
    )


def _verdict(verdict: Callable[[Path, Path], str], tool: Tool, folder: Path, out: Path) -> str:
    silence = os.open(os.devnull, os.O_WRONLY)
    kept = os.dup(1), os.dup(2)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        tool(folder / "dicom", out, "nii")
    except Exception:  # a tool that gives up with an error has refused
        pass
    finally:
        for target, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, target)
    return verdict(folder, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("speed").add_argument("--rounds", type=int, default=7)
    commands.add_parser("workers").add_argument("--studies", type=int, default=12)
    commands.add_parser("correctness").add_argument("corpus", type=Path)
    options = parser.parse_args()
    if options.command == "speed":
        speed(options.rounds)
    elif options.command == "workers":
        workers(options.studies)
    else:
        correctness(options.corpus)


if __name__ == "__main__":
    main()
