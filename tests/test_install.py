"""What a user has after ``pip install`` of the wheel: all commands, all bundles, in any folder, without a checkout."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUNDLES = sorted(path.parents[1].name for path in (ROOT / "bundles").glob("*/configs/metadata.json"))


def tracked() -> list[str]:
    """The files of the repository, without what is not committed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, the wheel made out of the sdist as installers do."""
    out, sources = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("sources")
    for name in tracked():  # a copy: building leaves files among the sources
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, sources / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that holds the wheel; what it depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    binaries = folder / "venv" / "bin"
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    # A .pth adds the folder of the dependencies, but not the .pth files in it: the checkout stays invisible.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    (wheel,) = built.glob("*.whl")
    # --ignore-installed: the checkout's own entry among the dependencies would count as an installed monai-spine.
    options = ("--no-deps", "--no-index", "--ignore-installed")
    command = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", *options, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return binaries


def run(binaries: Path, folder: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "COV_"))}
    command = [str(binaries / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_wheel_holds_every_bundle_and_nothing_that_runs_leave(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    in_bundles = {name.removeprefix("monai_spine/") for name in names if name.startswith("monai_spine/bundles/")}
    assert in_bundles == {name for name in tracked() if name.startswith("bundles/")}
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "bundles"))]


def test_the_sdist_holds_what_building_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "setup.cfg", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert {f"bundles/{name}/configs/metadata.json" for name in BUNDLES} <= names


def test_the_bundles_of_the_wheel_are_listed_and_copied(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(run(installed, tmp_path, "monai-spine", "bundles", "--json"))
    assert [one["name"] for one in listed] == BUNDLES
    assert all(str(ROOT) not in one["path"] and Path(one["path"]).is_dir() for one in listed)
    assert {one["name"]: one["trained_on"] for one in listed}["lumbar_25d_grader"] == "phantom"
    run(installed, tmp_path, "monai-spine", "bundle", "lumbar_25d_grader", "-o", "mine")
    assert (tmp_path / "mine/lumbar_25d_grader/models/model.pt").is_file()


@pytest.mark.slow
def test_the_chain_runs_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "python", "-m", "data_prep", "phantom", "rsna", "--studies", "2", "--seed", "3", "--quiet")
    run(
        installed, tmp_path, "python", "-m", "data_prep", "convert", "rsna/train_images", "nifti", "--name-by", "folder"
    )
    run(installed, tmp_path, "monai-spine", "predict", "-i", "rsna/train_images", "-o", "graded", "--quiet")
    assert len(list(tmp_path.glob("graded/*/findings.json"))) == 2
    run(installed, tmp_path, "monai-spine", "bundle", "lumbar_25d_grader", "-o", "mine")
    root = "mine/lumbar_25d_grader"
    words = ("-m", "monai.bundle", "run", "inference", "--config_file", f"{root}/configs/inference.json")
    options = ("--bundle_root", root, "--dataset_dir", "nifti", "--output_dir", "out", "--given_points", "False")
    run(installed, tmp_path, "python", *words, *options)
    assert len((tmp_path / "out/predictions.csv").read_text().splitlines()) == 51
