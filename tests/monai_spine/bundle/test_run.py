import os
import sys
import time
from pathlib import Path

import pytest

from monai_spine.bundle import run as bundle_run
from monai_spine.bundle.run import BundleRunError, BundleStopped, run_step, training_configs
from monai_spine.errors import MissingInputError
from tests.bundles.runs import CONFIGS


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What runs in place of `monai.bundle run`."""

    def write(text: str) -> Path:
        path = tmp_path / "program.py"
        path.write_text(text)
        monkeypatch.setattr(bundle_run, "_COMMAND", (sys.executable, "-u", str(path)))
        return tmp_path / "deep" / "log.txt"

    return write


def test_all_that_a_step_says_is_in_its_log_and_told_line_by_line(program) -> None:
    log = program("import sys\nprint(sys.argv[1:])\nprint('two', file=sys.stderr)\n")
    lines: list[str] = []
    run_step("training", [Path("a.json")], (("epochs", "3"),), log, follow=lines.append)
    assert lines == [str(["training", "--config_file", str([str(Path("a.json").resolve())]), "--epochs", "3"]), "two"]
    run_step("training", [], (), log, follow=lines.append)
    assert log.read_text().splitlines() == lines


def test_a_step_that_fails_says_so_in_its_own_words(program) -> None:
    log = program("print('error: no such fold')\nprint('bye')\nraise SystemExit(2)\n")
    with pytest.raises(BundleRunError, match=r"exit code 2: no such fold; the log is .*log\.txt"):
        run_step("training", [], (), log)


def test_the_cause_of_a_chain_of_errors_is_named(program) -> None:
    text = "try:\n    1 / 0\nexcept ZeroDivisionError as err:\n    raise RuntimeError('no such\\nluck') from err\n"
    with pytest.raises(BundleRunError, match="exit code 1: ZeroDivisionError: division by zero; the log"):
        run_step("training", [], (), program(text))


def test_a_step_that_is_stopped_is_gone(program) -> None:
    log = program("import os, time\nprint(os.getpid())\ntime.sleep(60)\n")
    begun = time.monotonic()
    lines: list[str] = []
    with pytest.raises(BundleStopped):
        run_step("training", [], (), log, follow=lines.append, stop=lambda: bool(lines))
    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines[0]), 0)


def test_presets_are_found_by_name_and_missing_ones_named() -> None:
    bundle = CONFIGS.parents[1] / "lumbar_25d_grader"
    configs = training_configs(bundle, [Path("plateau"), CONFIGS / "volume_3d.json"])
    assert [path.stem for path in configs] == ["train", "plateau", "volume_3d"]
    with pytest.raises(MissingInputError, match="plateau"):
        training_configs(bundle, [Path("platoe")])
