from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
