import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from monai_spine.errors import InvalidOptionError
from monai_spine.experiments.tuning.storage import TrialStorage


def storage(url: str, fingerprint: str = "a") -> TrialStorage:
    return TrialStorage(url, "s", higher_is_better=False, pruner=optuna.pruners.NopPruner(), fingerprint=fingerprint)


def share_a_search(url: str) -> None:
    """Two machines never make more trials than there are, and each sees the other's."""
    one, other = storage(url), storage(url)
    first, second, third = one.study.ask(), other.study.ask(), one.study.ask()
    assert [led.is_surplus(trial, 2) for led, trial in ((one, first), (other, second), (one, third))] == [0, 0, 1]
    one.study.tell(first, 0.25)
    other.study.tell(second, 0.5)
    assert other.study.best_value == 0.25
    one.study.tell(third, state=TrialState.FAIL)
    assert [trial.number for trial in other.counted()] == [0, 1]
    with pytest.raises(InvalidOptionError, match="another space"):
        storage(url, "b")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL server of our own, on a socket in a folder."""
    found = shutil.which("initdb"), shutil.which("pg_ctl")
    if None in found:
        pytest.skip("no PostgreSQL here: initdb and pg_ctl are not found")
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: psycopg is not installed")
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path("/tmp") / f"pg_{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    initdb, pg_ctl = map(str, found)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

    options = f"-c listen_addresses='' -k {folder}"
    try:
        run(initdb, "-D", f"{folder}/db", "-U", "search", "-A", "trust", "--no-sync")
        run(pg_ctl, "-D", f"{folder}/db", "-w", "-l", f"{folder}/log", "-o", options, "start")
    except (subprocess.CalledProcessError, LookupError, OSError) as err:
        said = (folder / "log").read_text() if (folder / "log").is_file() else ""
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no PostgreSQL server can be started here: {err} {said}")
    yield f"postgresql+psycopg://search:secret@/postgres?host={folder}"
    run(pg_ctl, "-D", f"{folder}/db", "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_machines_share_a_search_through_a_file(tmp_path: Path) -> None:
    share_a_search(f"sqlite:///{tmp_path / 'deep' / 'study.db'}")


def test_machines_share_a_search_through_a_server(server: str) -> None:
    share_a_search(server)
    assert "secret" not in storage(server).shown
