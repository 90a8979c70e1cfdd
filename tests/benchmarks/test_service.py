"""The service as a process, killed on the way, between dcmtk's storescu and a real Orthanc."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import service

from tests.data_prep.tiny_phantom import write_cohort


@pytest.mark.slow
def test_every_study_stands_in_orthanc_once_however_often_the_service_is_killed(tmp_path: Path) -> None:
    for program in ("Orthanc", "storescu"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install orthanc orthanc-dicomweb dcmtk")
    write_cohort(tmp_path / "phantoms")
    options = argparse.Namespace(cohort=tmp_path / "phantoms", phantoms=1)
    studies = service.copies(service.phantoms(tmp_path, options), tmp_path / "studies", 3)
    found = service.run_archive(tmp_path, studies, 2, rng=random.Random(1), code=service.STAND_IN, pause=2.0)
    assert found["studies with a note"] == 4
    assert found["objects in Orthanc"] == 2 * 4
    assert found["exit code at SIGTERM"] == 0
    assert found["patients' names in the log"] == 0
