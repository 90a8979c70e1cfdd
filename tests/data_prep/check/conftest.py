from pathlib import Path

import pytest

from tests.data_prep.check.cohort import write_clean


@pytest.fixture(scope="session")
def clean_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a datalist that nothing is wrong with; not to be written to."""
    return write_clean(tmp_path_factory.mktemp("clean_cohort"))
