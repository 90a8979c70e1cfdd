"""The command: what it prints, how it ends, and what a kill leaves behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from monai_spine import console
from monai_spine.commands.main import app
from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.review import run
from monai_spine.review.access import Access
from tests.monai_spine.review.outputs import CANAL, Client, serving


def test_a_folder_without_findings_ends_with_exit_code_2_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["monai-spine", "review", str(tmp_path), "--no-browser"])
    with pytest.raises(SystemExit) as ended:
        console.run_app(app)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert "grade studies first: monai-spine predict" in printed.err


def test_the_browser_gets_the_address_by_a_file_that_only_its_user_can_read(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def look(address: str) -> None:
        file = Path(urlsplit(address).path)
        opened.append(address)
        assert file.stat().st_mode & 0o077 == 0
        assert said[0] in file.read_text()

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    monkeypatch.setattr(run.webbrowser, "open", look)
    monkeypatch.setattr(run.ReviewServer, "serve_forever", interrupted)
    monkeypatch.setattr(run, "open_models", lambda **_: None)
    run.run_review(out, browser=True, announce=said.append)
    assert len(said) == 1
    assert said[0].startswith("http://127.0.0.1:")
    assert "token" not in opened[0]
    assert not Path(urlsplit(opened[0]).path).exists()


@pytest.mark.slow
def test_what_was_answered_survives_a_kill_and_ctrl_c_ends_it(out: Path) -> None:
    program = "from monai_spine.commands.main import main; main()"
    command = [sys.executable, "-c", program, "review", str(out), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = urlsplit(process.stdout.readline().strip())
    access = Access(int(url.port or 0), token=url.query.removeprefix("token="))
    client = Client(SimpleNamespace(access=access))  # type: ignore[arg-type]
    answer = client.ask("GET", f"/?{url.query}", headers={"Cookie": None, "Sec-Fetch-Site": "none"})
    client.own["Cookie"] = answer.headers["Set-Cookie"].split(";")[0]
    for version in range(3):
        grade = ("severe", "moderate", "severe")[version]
        assert client.post(0, version=version, what="grade", finding=CANAL, after=grade)[0] == 200
    process.kill()
    process.wait()
    assert read_corrections(out / "a" / NAME).version == 3
    with serving(out) as again:
        assert again.client.post(0, version=3, what="done", after=True)[0] == 200

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert json.loads((out / "a" / NAME).read_text())["done"]["by"] == "AB"
