"""Fuzz `data_prep convert`: damaged headers must give a row in the tables, never a crash or a wrong volume.

    python benchmarks/fuzz_convert.py mutate [--seconds 180] [--mutants N] [--seed 0]
    python benchmarks/fuzz_convert.py guided [--seconds 120]      # needs `pip install atheris`

`mutate` damages a small series per mutant and converts it: it changes, inserts or removes bytes, rewrites numbers or
cuts files, in some files or in all alike. It checks that nothing but a `SpineError` is raised, the tables account for
every file, nothing outside OUT is written or changed, no volume is partial or unlisted, and `tests/data_prep/oracle.py`
finds every converted slice right. `guided` lets atheris (libFuzzer, guided by coverage) search the header reader and
the splitting for an exception.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle

Damage = Callable[[bytearray, int, np.random.Generator], None]

IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, RLE = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99", ".5"))

TILTED = (1.0, 0.0, 0.0, 0.0, 0.8, 0.6)


def write_bases(root: Path) -> list[Path]:
    """Write the base series, a folder each: several syntaxes, two echoes, two angled stacks, enhanced objects."""
    plain = factory.series(4, rows=6, columns=5)
    axial = factory.series(4, rows=6, columns=5, orientation=factory.AXIAL)
    tilted = factory.series(4, rows=6, columns=5, orientation=TILTED, origin=(0, 0, 90), first_instance=5)
    echoes = factory.series(4, rows=6, columns=5, EchoTime=20, first_instance=5, RescaleSlope=0.5, RescaleIntercept=-3)
    compressed = [factory.compressed(image, RLE) for image in plain]
    plans = [(plain, syntax) for syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)]
    plans += [(compressed, RLE), (plain + echoes, EXPLICIT), (axial + tilted, EXPLICIT)]
    plans += [([factory.enhanced(plain)], EXPLICIT), ([factory.enhanced(plain + echoes)], IMPLICIT)]
    for number, (images, syntax) in enumerate(plans):
        for k, image in enumerate(images):
            image.SOPInstanceUID = f"1.2.3.0.4.{number}.{k}"  # mutants of a seed are the same in every run
        factory.write(root / str(number), images, syntax)
    return sorted(root.iterdir())


def change(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Change up to 8 bytes."""
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(0, end)] = rng.integers(0, 256)


def flip(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Change one bit."""
    data[rng.integers(0, end)] ^= 1 << int(rng.integers(0, 8))


def remove(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Remove up to 16 bytes."""
    start = int(rng.integers(0, end))
    del data[start : start + int(rng.integers(1, 17))]


def insert(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Insert up to 16 bytes."""
    start = int(rng.integers(0, end))
    data[start:start] = rng.bytes(int(rng.integers(1, 17)))


def copy(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Copy a piece of the header over another part of it."""
    source, target, size = int(rng.integers(0, end)), int(rng.integers(0, end)), int(rng.integers(1, 65))
    size = min(size, end - source, end - target)
    data[target : target + size] = data[source : source + size]


def renumber(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Rewrite digits, signs and separators of texts: positions, orientations, spacings, UIDs, slopes."""
    places = [n for n in range(132, end) if data[n : n + 1] in b"0123456789.-\\"]
    for place in rng.choice(places or [0], size=int(rng.integers(1, 5))):
        data[place] = rng.choice(np.frombuffer(b"0123456789.-\\e+/ ", np.uint8))


def cut(data: bytearray, end: int, rng: np.random.Generator) -> None:
    """Cut the end off, within the header or the pixels."""
    del data[int(rng.integers(0, max(len(data), end))) :]


DAMAGES: tuple[Damage, ...] = (change, flip, remove, insert, copy, renumber, renumber, cut)


def damage(base: Path, into: Path, rng: np.random.Generator) -> None:
    """Copy a base series with one or two damages in some of its files, or the same ones in all."""
    shutil.copytree(base, into)
    paths = sorted(into.iterdir())
    chosen = paths if rng.random() < 0.5 else [paths[n] for n in set(rng.integers(0, len(paths), 2).tolist())]
    seed, count = int(rng.integers(1 << 32)), int(rng.integers(1, 3))
    for path in chosen:
        same = np.random.default_rng(seed)
        data = bytearray(path.read_bytes())
        for _ in range(count):
            header = max(data.rfind(b"\x10\x00"), 200)  # (7FE0,0010) or thereabouts
            DAMAGES[same.integers(len(DAMAGES))](data, min(header, len(data)) or 1, same)
            data = data or bytearray(1)
        path.write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def convert_and_check(source: Path, out: Path) -> Counter[str]:
    """Convert one mutant; count the verdicts of its stacks, or the refusal of the whole input.

    Raises
    ------
    AssertionError
        If what came out breaks a promise.
    """
    from data_prep.dicom.convert import convert
    from monai_spine.errors import SpineError

    try:
        convert(source, out, format="nii", quiet=True)
    except SpineError:
        return Counter(["no image in the input"])
    listed = oracle.files(out)
    assert {row["path"] for row in listed} == {path.name for path in source.iterdir()}, (
        "the tables do not account for a file"
    )
    assert {row["status"] for row in listed} <= {"used", "duplicate", "refused", "ignored"}
    volumes = {row["nifti"] for row in oracle.manifest(out)} - {""}
    expected = volumes | {volume.replace(".nii", ".json") for volume in volumes} | {"manifest.csv", "files.csv"}
    assert set(contents(out)) == expected, "a partial or unlisted file"
    return Counter(oracle.verdicts(out)) + compared(source, out)


def compared(source: Path, out: Path) -> Counter[str]:
    """Compare the volumes with the headers that pydicom reads; where it cannot read them, count that."""
    try:
        oracle.check(source, out)
    except AssertionError:
        raise
    except Exception as error:  # pydicom cannot read a header that ours read: there is nothing to compare with
        return Counter([f"(not compared: {type(error).__name__})"])
    return Counter()


def mutate(seconds: float, mutants: int, seed: int) -> int:
    """Convert mutants until the time or their number is used up; return the number of broken promises."""
    verdicts: Counter[str] = Counter()
    broken: list[str] = []
    times: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        bases, folder = write_bases(Path(scratch) / "bases"), Path(scratch) / "a" / "b" / "c" / "mutant"
        start = time.monotonic()
        while time.monotonic() - start < seconds and len(times) < mutants:
            number = len(times)
            began = time.monotonic()
            try:
                verdicts += one(bases, folder, np.random.default_rng((seed, number)))
            except Exception as error:  # anything at all is a finding, and the run goes on
                broken.append(f"mutant {number}: {type(error).__name__}: {error}")
            times.append(time.monotonic() - began)
    print_report(seed, verdicts, broken, times)
    return len(broken)


def one(bases: list[Path], folder: Path, rng: np.random.Generator) -> Counter[str]:
    """Damage a base series in a new folder, convert it, and check that nothing else has changed."""
    shutil.rmtree(folder.parents[2], ignore_errors=True)
    damage(bases[rng.integers(len(bases))], folder / "in", rng)
    before = contents(folder.parents[2])
    verdicts = convert_and_check(folder / "in", folder / "out")
    after = contents(folder.parents[2])
    outside = {path for path in after if not path.startswith("b/c/mutant/out/")}
    assert outside == set(before), "a file outside OUT"
    assert all(after[path] == data for path, data in before.items()), "an input file was changed"
    return verdicts


def print_report(seed: int, verdicts: Counter[str], broken: list[str], times: list[float]) -> None:
    """Print the counts and the slowest mutant."""
    stacks = sum(count for name, count in verdicts.items() if not name.startswith(("(", "no ")))
    print(f"seed {seed}: {len(times)} mutants, {stacks} stacks, {verdicts['converted']} converted")
    print("; ".join(f"{name} {count}" for name, count in verdicts.most_common()))
    slowest = int(np.argmax(times))
    print(f"median {1e3 * float(np.median(times)):.0f} ms, slowest {1e3 * times[slowest]:.0f} ms (mutant {slowest})")
    print(f"promises broken: {len(broken)}")
    print("\n".join(broken))


def guided(seconds: int) -> None:
    """Let libFuzzer search the header reader and the splitting for an exception. It ends the process."""
    try:
        import atheris
    except ImportError:
        sys.exit("guided fuzzing needs atheris: pip install atheris")
    with atheris.instrument_imports(include=["data_prep.dicom"]) if not _loaded() else nullcontext():
        from data_prep.dicom.headers.reader import read_header
        from data_prep.dicom.sources import Source
        from data_prep.dicom.stacks.series import stacks_of

    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    corpus = scratch / "corpus"
    corpus.mkdir()
    for base in write_bases(scratch / "bases"):
        for path in list(base.iterdir())[:2]:
            shutil.copy(path, corpus / f"{base.name}_{path.name}")

    def read(data: bytes) -> None:
        path = scratch / "one.dcm"
        path.write_bytes(data)
        header = read_header(Source("one.dcm", str(path)))
        stacks_of(list(header.frames))

    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10"], read)
    atheris.Fuzz()


def _loaded() -> bool:
    return any(name.startswith("data_prep.dicom") for name in sys.modules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    mutating = commands.add_parser("mutate")
    mutating.add_argument("--seconds", type=float, default=180)
    mutating.add_argument("--mutants", type=int, default=1 << 30)
    mutating.add_argument("--seed", type=int, default=0)
    commands.add_parser("guided").add_argument("--seconds", type=int, default=120)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # pydicom warns of every damaged value
    if options.command == "guided":
        guided(options.seconds)
    else:
        sys.exit(bool(mutate(options.seconds, options.mutants, options.seed)))


if __name__ == "__main__":
    main()
