"""How long a phantom study takes: processor time of one core, DICOM files included, to a temporary folder.

python benchmarks/phantom_speed.py small 20
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from data_prep.phantom.cohort import Job, write_study
from data_prep.phantom.size import Size

SEED = 3


def seconds(folder, index, size):
    """Processor time of one study."""
    start = time.process_time()
    write_study(Job(folder, SEED, index, size))
    return time.process_time() - start


def main(size, count):
    with tempfile.TemporaryDirectory() as folder:
        seconds(Path(folder), count, size)  # imports, and tables that are made once
        taken = [seconds(Path(folder), index, size) for index in range(count)]
        size_mb = sum(path.stat().st_size for path in Path(folder).rglob("*.dcm")) / (count + 1) / 1e6
    mean, median, least = statistics.mean(taken), statistics.median(taken), min(taken)
    print(f"{size.value}: mean {mean:.2f} s, median {median:.2f} s, least {least:.2f} s, {size_mb:.1f} MB a study")


if __name__ == "__main__":
    main(Size(sys.argv[1]), int(sys.argv[2]))
