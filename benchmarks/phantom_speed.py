"""How long one core takes for a phantom study, in processor time, its DICOM files included.

python benchmarks/phantom_speed.py small 20
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from data_prep.choices import PhantomSize
from data_prep.phantom.cohort import Job, write_study

SEED = 3


def seconds(folder, index, size):
    """Processor time of one study."""
    start = time.process_time()
    write_study(Job(folder, SEED, index, size))
    return time.process_time() - start


def main(size, count):
    with tempfile.TemporaryDirectory() as folder:
        seconds(Path(folder), count, size)  # not counted: imports, and tables that are made once
        times = [seconds(Path(folder), index, size) for index in range(count)]
        size_mb = sum(path.stat().st_size for path in Path(folder).rglob("*.dcm")) / (count + 1) / 1e6
    mean, median, least = statistics.mean(times), statistics.median(times), min(times)
    print(f"{size.value}: mean {mean:.2f} s, median {median:.2f} s, least {least:.2f} s, {size_mb:.1f} MB a study")


if __name__ == "__main__":
    main(PhantomSize(sys.argv[1]), int(sys.argv[2]))
