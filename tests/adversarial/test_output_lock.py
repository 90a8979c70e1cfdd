"""Two runs never write into one folder at a time, and a killed run never keeps the next one out."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monai_spine.errors import OutputError
from monai_spine.output_lock import LOCK, output_lock, release, take

HOLD = """
import sys, time
from pathlib import Path
from monai_spine.output_lock import take
take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_run_says_who_holds_the_folder_and_since_when(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(OutputError, match=rf"is in use by process {holder.pid} on .* since 20\d\d-"):
        take(tmp_path / "out")


def test_the_lock_of_a_killed_run_does_not_keep_the_next_one_out(tmp_path: Path, holder: subprocess.Popen) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / LOCK).exists()
    with output_lock(tmp_path / "out"):
        assert json.loads((tmp_path / "out" / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / "out" / LOCK).exists()


def test_a_lock_that_children_of_a_killed_run_still_hold_is_broken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    forks = HOLD.replace('print("held"', 'import os; os.fork(); print("held"')
    process = subprocess.Popen([sys.executable, "-c", forks, str(out)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
        time.sleep(0.1)
        with output_lock(out):
            assert json.loads((out / LOCK).read_text())["process"] == os.getpid()
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_lock_of_another_machine_is_never_broken(tmp_path: Path, holder: subprocess.Popen) -> None:
    path = tmp_path / "out" / LOCK
    path.write_text(json.dumps({"process": 2**22 + 1, "machine": f"not-{socket.gethostname()}", "since": 0}))
    with pytest.raises(OutputError, match="is in use by"):
        take(tmp_path / "out")


def test_a_process_may_take_its_own_lock_again(tmp_path: Path) -> None:
    with output_lock(tmp_path), output_lock(tmp_path / "."):
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()
    release(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to the output folder"):
        take(tmp_path / "file" / "out")
