import os
import tempfile
from collections.abc import Iterator

import pytest

from tests.monai_spine.service.parts import Archive


@pytest.fixture(autouse=True)
def temporary_folders_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service moves the temporary files of its whole process into its private folder."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    monkeypatch.setenv("TMPDIR", os.environ.get("TMPDIR", ""))
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive().start()
    yield made
    made.stop()
