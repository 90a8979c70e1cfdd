"""How the converter scales: time with the number of processes, and memory with the size of a stack."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from generated_study import make_study

ROOT = Path(__file__).resolve().parents[1]

DEFLATE = """
import sys
from isal import isal_zlib
data = [open(path, "rb").read() for path in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.readline()
for piece in data:
    engine = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 29)
    engine.compress(piece)
    engine.flush()
"""
"""A process that deflates files with ISA-L after a line on stdin: what the machine can do, without our code."""


class Machine:
    """How busy other programs keep the machine, between its creation and its report."""

    def __init__(self) -> None:
        self._before, self._own = _ticks(), all_seconds()

    def report(self) -> str:
        """The share of the machine's time that other programs and the hypervisor used, in percent."""
        ticks = [after - before for before, after in zip(self._before, _ticks(), strict=True)]
        total, idle, steal = max(sum(ticks[:8]), 1), ticks[3] + ticks[4], ticks[7]
        own = (all_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        others = max(total - idle - steal - own, 0)
        return f"others {100 * others / total:.0f} %, stolen {100 * steal / total:.0f} %"


def _ticks() -> list[int]:
    return [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]


def all_seconds() -> float:
    """Processor time of this process and of its children, also of those that have ended."""
    return sum(_processor_seconds().values()) + sum(os.times()[2:4])


def workers(studies: int, rounds: int) -> None:
    """Time many studies in one process and in two; in the same rounds, plain deflate of the same bytes.

    The ratio by processor time is that of one process over the busier of two and what the first does for both: what the
    clock would show on two cores that nobody else uses, and that do not slow each other down.
    """
    from data_prep.workers import run

    with tempfile.TemporaryDirectory() as scratch:
        root, out = Path(scratch) / "in", Path(scratch) / "out"
        for seed in range(studies):
            make_study(root / str(seed), seed)
        list(run(abs, range(2), 2))  # starts the processes, which a long run does once
        _convert(root, out, 2)
        print(f"{studies} studies, {rounds} rounds; seconds in 1 and in 2 processes\n")
        print("| round | ours | ratio | ISA-L alone | ratio | ours / machine | by processor time | meanwhile |")
        print("|--:|---|--:|---|--:|--:|--:|---|")
        pairs = [_round(number, root, out) for number in range(1, rounds + 1)]
    for name, choose in (("best", max), ("median", statistics.median)):
        mine, limit = (choose(values) for values in zip(*pairs, strict=True))
        print(f"{name}: ours x {mine:.2f}, the machine x {limit:.2f}: {100 * mine / limit:.0f} % of it")


def _round(number: int, root: Path, out: Path) -> tuple[float, float]:
    machine = Machine()
    used = _processor_seconds()
    ours = [_convert(root, out, 1)]
    alone, used = _since(used), _processor_seconds()
    ours.append(_convert(root, out, 2))
    shared = _since(used)
    within = sum(alone.values()) / (shared.pop(os.getpid()) + max(shared.values()))
    plain = [_deflate(root, processes) for processes in (1, 2)]
    mine, limit = ours[0] / ours[1], plain[0] / plain[1]
    print(
        f"| {number} | {ours[0]:.2f} {ours[1]:.2f} | {mine:.2f} | {plain[0]:.2f} {plain[1]:.2f} | {limit:.2f} "
        f"| {mine / limit:.2f} | {within:.2f} | {machine.report()} |",
        flush=True,
    )
    return mine, limit


def _processor_seconds() -> dict[int, float]:
    """Seconds of processor time by process, of this one and of its children, to which their own children count."""
    own = os.getpid()
    seconds, parents = {own: time.process_time()}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # the process has ended
            continue
    for process in parents:
        child = process
        while parents.get(child, own) != own:
            child = parents[child]
        if parents.get(child) == own:
            seconds[child] = seconds.get(child, 0.0) + _seconds_of(process)
    return seconds


def _seconds_of(process: int) -> float:
    """Processor time of all threads of a process, counted in nanoseconds: ticks are too coarse for one study."""
    try:
        threads = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/schedstat")]
    except OSError:
        return 0.0
    return 1e-9 * sum(int(text.split()[0]) for text in threads)


def _since(before: dict[int, float]) -> dict[int, float]:
    return {process: seconds - before.get(process, 0.0) for process, seconds in _processor_seconds().items()}


def _convert(root: Path, out: Path, processes: int) -> float:
    from data_prep.dicom.convert import convert

    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    convert(root, out, workers=processes, quiet=True)
    return time.perf_counter() - start


def _deflate(root: Path, processes: int) -> float:
    """Seconds to deflate all files, divided evenly among independent processes that have read them before."""
    paths = sorted(str(path) for path in root.rglob("*.dcm"))
    with _ready([paths[n::processes] for n in range(processes)]) as started:
        start = time.perf_counter()
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in started:
            process.wait()
        return time.perf_counter() - start


@contextmanager
def _ready(shares: list[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-c", DEFLATE]
    pipe = subprocess.PIPE
    started = [subprocess.Popen([*command, *share], stdin=pipe, stdout=pipe) for share in shares]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    try:
        yield started
    finally:
        for process in started:
            process.communicate()


def memory(megabytes: int, side: int) -> None:
    """Print the peak memory of a conversion above that of its imports, as a share of the bytes of the stack."""
    slices = max(megabytes * 1_000_000 // (2 * side * side), 3)
    size = 2e-6 * slices * side * side
    print(f"one stack of {slices} x {side} x {side}, {size:.0f} MB; limit: 4 times that\n")
    print("| input | to | verify | peak MB | x the stack |")
    print("|---|---|---|--:|--:|")
    for name in ("explicit", "deflated", "RLE", "JPEG lossless", "JPEG 2000", "enhanced", "enhanced JPEG 2000"):
        with tempfile.TemporaryDirectory() as scratch:
            source, out = Path(scratch) / "in", Path(scratch) / "out"
            _make_stack(source, name, slices, side)
            idle = _peak(source, out, "nii", "none")
            for suffix, verify in (("nii", "geometry"), ("nii.gz", "geometry"), ("nii.gz", "full")):
                above = _peak(source, out, suffix, verify) - idle
                print(f"| {name} | .{suffix} | {verify} | {above:.0f} | {above / size:.2f} |", flush=True)


def _make_stack(folder: Path, name: str, slices: int, side: int) -> None:
    from pydicom import uid
    from pydicom.encaps import encapsulate, generate_frames

    from tests.data_prep import dicom_factory as factory

    syntaxes = {
        "deflated": uid.DeflatedExplicitVRLittleEndian,
        "RLE": uid.RLELossless,
        "JPEG lossless": uid.JPEGLosslessSV1,
        "JPEG 2000": uid.JPEG2000Lossless,
    }
    syntax = syntaxes.get(name.removeprefix("enhanced").strip(), uid.ExplicitVRLittleEndian)
    images = factory.series(slices, rows=side, columns=side)
    smooth = np.add.outer(np.arange(side), np.arange(side)) % 2000
    for k, image in enumerate(images):
        factory.set_pixels(image, smooth + np.random.default_rng(k).integers(0, 30, (side, side)))
    if not name.startswith("enhanced"):
        packed = (factory.compressed(image, syntax) if syntax.is_encapsulated else image for image in images)
        factory.write(folder, packed, syntax)
        return
    whole = factory.enhanced(images)
    if syntax.is_encapsulated:
        streams = [next(generate_frames(factory.compressed(image, syntax).PixelData)) for image in images]
        whole.PixelData = encapsulate(streams)
        whole["PixelData"].VR = "OB"
    factory.write(folder, [whole], syntax)


def _peak(source: Path, out: Path, suffix: str, verify: str) -> float:
    """Peak resident memory in MB of a process that converts; with ``none``, of one that has imported all that it needs.

    SimpleITK's process counts too, and the memory that it shares with the converter counts twice.
    """
    shutil.rmtree(out, ignore_errors=True)
    code = (
        "import os, sys; from pathlib import Path; from data_prep.dicom import convert, simpleitk, verification\n"
        "import numpy, nibabel, pydicom.pixels.decoders, pydicom.dataset, pydicom.encaps\n"
        "source, out, suffix, verify = sys.argv[1:]\n"
        "simpleitk.read_file('/dev/null', 0)\n"
        "if verify != 'none':\n"
        "    convert.convert(Path(source), Path(out), format=suffix, verify=verify, quiet=True)\n"
        "processes = (os.getpid(), simpleitk._running[0]._process.pid)\n"
        # ru_maxrss would count the process that started this one
        "status = [Path(f'/proc/{process}/status').read_text() for process in processes]\n"
        "print(sum(int(text.split('VmHWM:')[1].split()[0]) for text in status) * 1.024e-3)"
    )
    command = [sys.executable, "-c", code, str(source), str(out), suffix, verify]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return float(done.stdout)
