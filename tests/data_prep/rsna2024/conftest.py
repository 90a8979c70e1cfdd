import shutil

import pytest

from tests.data_prep.tiny_phantom import write_cohort


@pytest.fixture(scope="session")
def two_studies(tmp_path_factory):
    """A cohort of two clean studies; not to be written to."""
    return write_cohort(tmp_path_factory.mktemp("small") / "cohort", studies=2)


@pytest.fixture
def small(two_studies, tmp_path):
    """Two clean studies, to be broken by the test."""
    return shutil.copytree(two_studies, tmp_path / "small")
