"""How many randomised volumes, and slices around recesses with their crops, one core makes in a second.

    python benchmarks/randomised_spines.py [--volumes 60]

Processor time of one thread: the script sets OMP_NUM_THREADS=1, so that arithmetic libraries use one as well.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.phantom.randomised import RandomisedRecesses, RandomisedSpines
from monai_spine.levels.recesses.crop import RecessCropd

SHAPES = ((12, 144, 144), (16, 144, 144), (16, 192, 192))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=60)
    volumes = parser.parse_args().volumes
    print("| item | median ms | items a second |")
    print("|---|--:|--:|")
    for shape in SHAPES:
        spines = RandomisedSpines(length=volumes + 1, seed=0, shape=shape, step=288 / shape[1])
        print(row(f"volume of {' x '.join(map(str, shape))} voxels", spines.__getitem__, volumes))
    slices, crop = RandomisedRecesses(length=volumes + 1, seed=0), RecessCropd()
    print(row("axial slice and its crop", lambda n: crop(slices[n]), volumes))


def row(title: str, make: Callable[[int], object], count: int) -> str:
    """A row of the table: processor time of all items but the first."""
    times = []
    for n in range(count + 1):
        start = time.process_time()
        make(n)
        times.append(time.process_time() - start)
    kept = sorted(times[1:])
    return f"| {title} | {1e3 * kept[len(kept) // 2]:.0f} | {len(kept) / sum(kept):.1f} |"


if __name__ == "__main__":
    main()
