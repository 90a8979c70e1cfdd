import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_spine.grading.grader import Grader
from monai_spine.prediction.models import Models
from monai_spine.prediction.run import predict
from monai_spine.report.output import HTML, PDF, PageOutput
from monai_spine.review.writing import update_tables
from tests.monai_spine.levels.test_locate import Oracle
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study
from tests.monai_spine.review.outputs import Site, serving, write_output
from tests.one_thread import one_thread  # noqa: F401 - for all tests of this folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a run with the studies ``a`` and ``b``."""
    return write_output(tmp_path / "out", ["a", "b"])


@pytest.fixture
def site(out: Path) -> Iterator[Site]:
    """A server of that output, which nobody asked yet."""
    with serving(out) as running:
        yield running


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """NIfTI studies ``s1`` and ``s2``, whose levels are known."""
    root = tmp_path_factory.mktemp("nifti")
    return [write_study(root / name) for name in ("s1", "s2")]


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small grader with random weights."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture(scope="package")
def opened(folders: list[Path], bundle: Path) -> Models:
    """A localizer that knows the levels, and the small grader."""
    return models(oracle(*folders), Grader.from_bundle(bundle))


@pytest.fixture(scope="package")
def blind(folders: list[Path], opened: Models) -> Models:
    """A localizer that finds no spine, and the same grader."""
    files = [file for folder in folders for file in sorted(folder.glob("sagittal*"))]
    return replace(opened, levels=Oracle(np.zeros((0, 3))).know(*files))


@pytest.fixture
def refused(folders: list[Path], opened: Models, blind: Models, tmp_path: Path) -> Path:
    """The output of a run that graded ``s2``, and refused ``s1``, with pages."""
    out = tmp_path / "refused"
    pages = [PageOutput([HTML, PDF])]
    predict(inputs(*folders), out, blind, quiet=True, outputs=pages)
    graded = out / "of s2"
    predict(inputs(folders[1]), graded, opened, quiet=True, outputs=pages)
    update_tables(out, graded, "s2")
    shutil.rmtree(out / "s2")
    (graded / "s2").rename(out / "s2")
    shutil.rmtree(graded)
    return out


@pytest.fixture(scope="package")
def predicted(folders: list[Path], opened: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graded") / "out"
    predict(inputs(*folders), out, opened, quiet=True)
    return out


@pytest.fixture
def graded(predicted: Path, tmp_path: Path) -> Path:
    """A copy of the output of a run that graded ``s1`` and ``s2``."""
    return Path(shutil.copytree(predicted, tmp_path / "out"))
