"""The files of the container: linted, of this version, without root and without a network. No image is built."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from monai_spine import __version__

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=Path(sys.executable).parent) or "hadolint"
    done = subprocess.run(
        [program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_label_is_the_packages_version() -> None:
    assert re.search(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE)[1] == __version__


def test_the_last_user_is_not_root_and_the_health_is_checked() -> None:
    assert int(re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[-1]) > 0
    assert re.search(r"^HEALTHCHECK .*CMD \[", DOCKERFILE, re.MULTILINE)


def test_services_have_a_read_only_system_and_only_the_one_of_a_pacs_a_network() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {"predict", "predict-cuda", "serve"} == set(services)
    for name, service in services.items():
        network = "bridge" if name == "serve" else "none"
        assert (service["network_mode"], service["read_only"], service["cap_drop"]) == (network, True, ["ALL"])
    assert all(port.startswith("127.0.0.1:") for port in services["serve"]["ports"])


def test_the_unit_of_systemd_is_valid_and_starts_the_command_as_it_is(tmp_path: Path) -> None:
    text = (ROOT / "monai-spine.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, command, *options = line.split()
    assert (Path(program).name, command, options[0]) == ("monai-spine", "serve", "--config")
    shown = subprocess.run(
        [sys.executable, "-c", "from monai_spine.commands.main import main; main()", command, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(option in shown.stdout for option in options if option.startswith("--"))
    assert "monai-spine.service" in (ROOT / "MANIFEST.in").read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    unit = tmp_path / "monai-spine.service"
    # A program that exists here: systemd looks for it.
    unit.write_text(text.replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    faults = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, faults) == (0, []), done.stderr


def test_the_build_gets_what_the_wheel_needs() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"setup.cfg", "setup.py", "pyproject.toml", "monai_spine", "data_prep", "bundles"} <= kept
    assert all((ROOT / name).exists() for name in kept)
