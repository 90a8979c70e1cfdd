import subprocess
import sys

import pytest

from monai_spine.bundle.errors import explained, explanation
from monai_spine.errors import MissingInputError, TransientError


def wrapped(error: Exception) -> RuntimeError:
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (wrapped(MissingInputError("no file x")), "no file x"),
        (wrapped(ValueError("run ID 'go' doesn't exist in the config file.")), "nothing to run called 'go'"),
        (
            RuntimeError("Caught in worker\nmonai_spine.errors.InvalidVolumeError: a.nii is cut short"),
            "a.nii is cut short",
        ),
        (wrapped(TransientError("the store is lost")), "the store is lost"),
        (RuntimeError("Caught in worker\nmonai_spine.errors.TransientError: it is lost"), "it is lost"),
        (ValueError("the referring item `@x` is not defined in the config content."), "no item 'x'"),
    ],
)
def test_a_users_mistake_is_found_under_whatever_wraps_it(error: Exception, message: str) -> None:
    found = explained(error)
    assert found is not None
    assert message in found[0]
    assert found[1] == (75 if "lost" in message else 2)


def test_our_own_faults_are_not_explained_away() -> None:
    assert explanation(wrapped(KeyError("bug"))) is None


@pytest.mark.parametrize(("raised", "code"), [("MissingInputError('gone')", 2), ("KeyError('bug')", 1)])
def test_the_exit_code_tells_mistakes_from_faults(raised: str, code: int) -> None:
    script = f"""
from monai_spine.bundle.errors import explain_errors
from monai_spine.errors import MissingInputError
explain_errors()
try:
    raise {raised}
except Exception as err:
    raise RuntimeError("Failed to evaluate an expression") from err
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == (code == 1)
    first, last = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert first == last == {2: "error: gone", 1: "cause: KeyError: 'bug'"}[code]
