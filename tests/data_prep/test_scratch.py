"""Scratch folders: private, gone with their run, swept by the next one if it was killed."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

from data_prep import scratch

HOLD = "import sys, time\nfrom pathlib import Path\nfrom data_prep import scratch\n" + (
    "with scratch.folder(Path(sys.argv[1])) as folder:\n"
    "    (folder / 'identified.dcm').write_text('x')\n    print('ready', flush=True)\n    time.sleep(60)\n"
)


def holding(parent: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_folder_is_private_and_gone_with_its_block(tmp_path: Path) -> None:
    with scratch.folder(tmp_path) as folder:
        (folder / "file").write_text("x")
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert not list(tmp_path.iterdir())


def test_folder_of_a_killed_run_is_removed_by_the_next_and_that_of_a_live_run_is_not(tmp_path: Path) -> None:
    process = holding(tmp_path)
    try:
        assert scratch.sweep(tmp_path) == 0
        assert list(tmp_path.rglob("identified.dcm"))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with scratch.folder(tmp_path) as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.parent.name]
    assert not list(tmp_path.iterdir())


def test_folders_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"{scratch.PREFIX}other").mkdir(0o700)
    shared = tmp_path / f"{scratch.PREFIX}shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / scratch.MARKER).touch()
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(shared)
    assert scratch.sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3
