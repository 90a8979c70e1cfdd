"""A server that is killed between two files of a change: the next start makes good what ``corrections.json`` says.

The files are copied at each moment at which one is about to be replaced: what a kill would leave there. Each copy is
then reviewed, or reported, and must end as the output of a server that nobody stopped.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_spine.data.corrections_file import NAME
from monai_spine.prediction.models import Models
from monai_spine.prediction.object_files import MANUFACTURER
from monai_spine.prediction.run import predict
from monai_spine.report.output import HTML, PageOutput
from monai_spine.report.run import run_report
from monai_spine.review import run
from monai_spine.review.regrading import Progress, Regrading
from tests.monai_spine.prediction.parts import inputs, write_object
from tests.monai_spine.review.test_regrading import CANAL, rows

pytestmark = pytest.mark.slow

DEAD = "4194304"
"""No process has this number: it is the limit of the kernel."""
OF_A_RUN = {"seconds", "peak_mb", "machine", "checksum"}


@pytest.fixture
def out(folders: list[Path], opened: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a run with pages; the study has DICOM objects."""
    predict(inputs(*folders), tmp_path / "out", opened, quiet=True, outputs=[PageOutput([HTML])])
    write_object(tmp_path / "out" / "s1" / "dicom" / "sr.dcm", MANUFACTURER)
    monkeypatch.setattr(run, "open_models", lambda **_: opened)
    return tmp_path / "out"


def settled(regrading: Regrading) -> None:
    """Wait until nothing is left to do, and stop."""
    until = time.monotonic() + 60
    busy = {Progress.WAITING, Progress.GRADING}
    while regrading._queue or regrading._pages or any(regrading.state(n).progress in busy for n in range(2)):
        assert time.monotonic() < until
        time.sleep(0.01)
    regrading.stop()
    assert regrading.state(0).progress is Progress.IDLE, regrading.state(0).message


def reviewed(out: Path, folders: list[Path], *requests: dict[str, Any]) -> None:
    """Start the server of a folder, make changes, and stop it when all is done."""
    server = run.review_server(out, inputs=[folders[0].parent])
    regrading = server.site.regrading
    regrading.start()
    for version, request in enumerate(requests):
        server.site.changes.apply(0, {"by": "AB", "version": version, **request})
    settled(regrading)
    server.server_close()


def interrupted(out: Path, folders: list[Path], copies: Path, request: dict[str, Any]) -> list[Path]:
    """Make a change, and copy the output each time before a file of it is replaced."""
    made: list[Path] = []
    replace, lock = Path.replace, threading.RLock()

    def copying(self: Path, target: Path) -> Path:
        with lock:
            place = Path(target)
            if place.is_relative_to(out) and not place.relative_to(out).parts[0].startswith(".review"):
                copy = copies / f"{len(made):02d} {place.name}"
                shutil.copytree(out, copy, ignore=shutil.ignore_patterns("*.partial"))
                for scratch in copy.glob(".review*"):
                    scratch.rename(scratch.with_suffix(f".{DEAD}"))
                made.append(copy)
            return replace(self, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "replace", copying)
        reviewed(out, folders, request)
    return [copy for copy in made if (copy / "s1" / NAME).is_file()]


def files(out: Path) -> dict[str, object]:
    """What every file of an output says, but the times and the machine of the run."""
    found: dict[str, object] = {}
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        name = file.relative_to(out).as_posix()
        if file.name == "outcome.json":
            content = json.loads(file.read_text())
            found[name] = {key: value for key, value in content.items() if key not in OF_A_RUN}
        elif file.name == "studies.csv":
            head, *others = rows(file)
            found[name] = [[c for h, c in zip(head, row, strict=True) if h not in OF_A_RUN] for row in others]
        else:
            found[name] = file.read_bytes()
    return found


def check(copies: list[Path], out: Path, again: Callable[[Path], None], expected: dict[str, object]) -> None:
    signed = (out / "s1" / NAME).read_bytes()
    for copy in copies:
        assert (copy / "s1" / NAME).read_bytes() == signed
        again(copy)
        after = files(copy)
        different = [name for name in {**expected, **after} if expected.get(name) != after.get(name)]
        assert not different, f"killed before {copy.name}"
        shutil.rmtree(copy)


def test_a_grade_is_made_good(out: Path, folders: list[Path], bundle: Path, tmp_path: Path) -> None:
    request = {"what": "grade", "finding": CANAL, "after": "severe"}
    copies = interrupted(out, folders, tmp_path / "copies", request)
    expected = files(out)
    assert "s1/dicom/sr.dcm" not in expected
    names = [copy.name[3:] for copy in copies]
    assert names == ["findings.csv", "outcome.json", "findings.json", "report.html", "index.html"]
    # The objects go and stay with the findings that they show.
    there = [(copy / "s1" / "dicom" / "sr.dcm").exists() for copy in copies]
    assert there == [True, True, False, False, False]
    for copy in copies:
        shutil.copytree(copy, tmp_path / "reported" / copy.name)
    check(copies, out, lambda copy: reviewed(copy, folders), expected)

    def report(copy: Path) -> None:
        run_report(copy, PageOutput([HTML]), inputs=[folders[0].parent], bundles=[bundle], quiet=True)

    check(sorted((tmp_path / "reported").iterdir()), out, report, expected)


def test_a_moved_point_is_made_good(out: Path, folders: list[Path], bundle: Path, tmp_path: Path) -> None:
    found = json.loads((out / "s1" / "findings.json").read_text())["findings"]
    (x, y, z) = next(one["point"] for one in found if one["finding"] == CANAL)
    request = {"what": "point", "finding": CANAL, "after": [x, y, z + 6.0]}
    copies = interrupted(out, folders, tmp_path / "copies", request)
    assert len(copies) >= 11
    # While the earlier findings stand, so do their objects, and the report names the study.
    early = next(copy for copy in copies if copy.name.endswith("studies.csv"))
    assert (early / "s1" / "dicom" / "sr.dcm").exists()
    summary = run_report(early, PageOutput([]), inputs=[folders[0].parent], bundles=[bundle], quiet=True)
    assert summary.waiting == ["s1"]
    assert "start monai-spine review" in summary.line()
    check(copies, out, lambda copy: reviewed(copy, folders), files(out))


def test_objects_stay_with_the_findings_if_the_study_cannot_be_graded_again(
    out: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(out)
    monkeypatch.setattr("monai_spine.review.regrading.StudyTask", None)
    server = run.review_server(out, inputs=[folders[0].parent])
    regrading = server.site.regrading
    regrading.start()
    server.site.changes.apply(0, {"by": "AB", "version": 0, "what": "levels", "after": "up"})
    with pytest.raises(AssertionError):
        settled(regrading)
    assert regrading.state(0).progress is Progress.FAILED
    server.server_close()
    after = files(out)
    assert {name for name in after if after[name] != before.get(name)} <= {f"s1/{NAME}", "index.html"}
    assert "s1/dicom/sr.dcm" in after
