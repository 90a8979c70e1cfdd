import subprocess
import sys

import pytest

from monai_spine.runtime.choice import Runtime, installed

PROGRAM = """
import gc, numpy, os, signal, torch
from monai_spine.runtime.choice import Runtime, RuntimeChoice
from monai_spine.runtime.conversion import convert
from monai_spine.runtime.engine import open_engine

files = convert(torch.nn.Conv2d(1, 1, 3), (None, 1, None, None), Runtime.OPENVINO)
first, second = (open_engine(files, RuntimeChoice(Runtime.OPENVINO)) for _ in range(2))
for engine in (first, second):
    engine(numpy.zeros((1, 1, 8, 8), dtype=numpy.float32))
del first, engine
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGCHLD)
"""


@pytest.mark.skipif(not installed(Runtime.OPENVINO), reason="OpenVINO is not installed")
def test_a_signal_after_models_were_closed_does_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr[-2000:]
