"""DICOM to NIfTI: speed and correctness of our converter, dcm2niix, SimpleITK and dicom2nifti.

    python benchmarks/convert.py speed [--rounds 7]
    python benchmarks/convert.py workers [--studies 12] [--rounds 3]
    python benchmarks/convert.py memory [--megabytes 100] [--side 512]
    python benchmarks/convert.py correctness CORPUS

`speed` converts one generated study of three series (74 files, 31 MB) with every tool in each round, on one thread. It
prints elapsed time and processor time, and measures two floors in the same rounds: ISA-L's deflate of the same bytes,
and reading and writing them. `workers` and `memory` are in `convert_scale.py`. `correctness` runs all four tools over a
folder of series (``<series>/dicom``) and compares every output slice with the DICOM headers, as
`tests/data_prep/oracle.py` does for ours.
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
from typing import NamedTuple

from convert_scale import all_seconds, memory, workers
from generated_study import make_study

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


def deflate_alone(source: Path, out: Path, suffix: str) -> None:
    """Deflate the same bytes with ISA-L, all in memory: no DICOM, no check."""
    from isal import isal_zlib

    out.mkdir(parents=True)
    for number, data in enumerate(_read(source)):
        engine = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 29)
        (out / f"{number}.{suffix}").write_bytes(engine.compress(data) + engine.flush())


def copy_alone(source: Path, out: Path, suffix: str) -> None:
    """Read the same bytes, and write one file for each series."""
    out.mkdir(parents=True)
    for number, data in enumerate(_read(source)):
        (out / f"{number}.{suffix}").write_bytes(data)


def _read(source: Path) -> list[bytes]:
    """The bytes of each series."""
    folders = sorted({path.parent for path in source.rglob("*.dcm")})
    return [b"".join(path.read_bytes() for path in sorted(folder.iterdir())) for folder in folders]


FLOORS: dict[str, tuple[str, Tool]] = {
    "(ISA-L's deflate alone)": ("nii.gz", deflate_alone),
    "(reading and writing alone)": ("nii", copy_alone),
}
"""Floors, not converters: the least that a converter to this format can take."""

TOOLS: dict[str, Tool] = {"ours": ours, "dcm2niix": dcm2niix, "SimpleITK": simpleitk, "dicom2nifti": dicom2nifti}


def speed(rounds: int) -> None:
    """Time every tool in each round."""
    with tempfile.TemporaryDirectory() as scratch:
        study = Path(scratch) / "study"
        make_study(study)
        files = [path for path in study.rglob("*") if path.is_file()]
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB; {rounds} rounds\n")
        print("| to | tool | median ms | x ours | min CPU ms | x ours | MB written |")
        print("|---|---|--:|--:|--:|--:|--:|")
        for suffix in ("nii.gz", "nii"):
            _print_times(suffix, _times(study, Path(scratch) / "out", suffix, rounds))


class Cost(NamedTuple):
    """Cost of one conversion: elapsed ms, ms of processor time with that of child processes, MB written."""

    elapsed: float
    processor: float
    size: float


def _times(study: Path, out: Path, suffix: str, rounds: int) -> dict[str, list[Cost]]:
    tools = {**TOOLS, **{name: tool for name, (only, tool) in FLOORS.items() if only == suffix}}
    costs: dict[str, list[Cost]] = {name: [] for name in tools}
    for number in range(rounds + 1):
        for name, tool in tools.items():
            cost = _time(tool, study, out, suffix)
            if number:  # the first round warms caches and imports
                costs[name].append(cost)
    return costs


def _time(tool: Tool, study: Path, out: Path, suffix: str) -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    start, used = time.perf_counter(), all_seconds()
    tool(study, out, suffix)
    elapsed, used = time.perf_counter() - start, all_seconds() - used
    return Cost(1e3 * elapsed, 1e3 * used, sum(path.stat().st_size for path in out.rglob("*.nii*")) / 1e6)


def _print_times(suffix: str, costs: dict[str, list[Cost]]) -> None:
    """Print the median elapsed time, and the least processor time, which other programs hardly disturb."""
    base = statistics.median(cost.elapsed for cost in costs["ours"])
    best = min(cost.processor for cost in costs["ours"])
    for name, times in costs.items():
        median, least = statistics.median(cost.elapsed for cost in times), min(cost.processor for cost in times)
        busy = " (busy machine)" if median > 1.3 * least else ""
        ratios = f"{median:.0f}{busy} | {median / base:.1f} | {least:.0f} | {least / best:.1f}"
        print(f"| .{suffix} | {name} | {ratios} | {times[-1].size:.1f} |")


def correctness(corpus: Path) -> None:
    """Compare every tool's output with the headers, for every series of a corpus."""
    from slice_judge import verdict

    print("| series | " + " | ".join(TOOLS) + " |")
    print("|---|" + "---|" * len(TOOLS))
    totals = {name: {"right": 0, "refused": 0, "wrong": 0} for name in TOOLS}
    for folder in sorted(path for path in corpus.iterdir() if (path / "dicom").is_dir()):
        cells = []
        for name, tool in TOOLS.items():
            with tempfile.TemporaryDirectory() as scratch:
                result = _verdict(verdict, tool, folder, Path(scratch) / "out")
            totals[name][result] += 1
            cells.append(f"**{result}**" if result == "wrong" else result)
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
    except Exception:  # an error of the tool counts as a refusal
        pass
    finally:
        for target, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, target)
    return verdict(folder, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("speed").add_argument("--rounds", type=int, default=7)
    scaling = commands.add_parser("workers")
    scaling.add_argument("--studies", type=int, default=12)
    scaling.add_argument("--rounds", type=int, default=3)
    peak = commands.add_parser("memory")
    peak.add_argument("--megabytes", type=int, default=100)
    peak.add_argument("--side", type=int, default=512)
    commands.add_parser("correctness").add_argument("corpus", type=Path)
    options = parser.parse_args()
    if options.command == "speed":
        speed(options.rounds)
    elif options.command == "workers":
        workers(options.studies, options.rounds)
    elif options.command == "memory":
        memory(options.megabytes, options.side)
    else:
        correctness(options.corpus)


if __name__ == "__main__":
    main()
