import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from monai_spine.grading.grader import Grader
from monai_spine.prediction.models import Models
from monai_spine.prediction.run import predict
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study
from tests.monai_spine.review.outputs import Site, serving, write_output


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much where other tests run beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
def opened(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A localizer that knows the levels, and a small grader with random weights."""
    return models(oracle(*folders), Grader.from_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "one")))


@pytest.fixture(scope="package")
def predicted(folders: list[Path], opened: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graded") / "out"
    predict(inputs(*folders), out, opened, quiet=True)
    return out


@pytest.fixture
def graded(predicted: Path, tmp_path: Path) -> Path:
    """A copy of the output of a run that graded ``s1`` and ``s2``."""
    return Path(shutil.copytree(predicted, tmp_path / "out"))
