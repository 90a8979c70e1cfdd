import dataclasses
import json
from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.jobs.description import Job, parse_duration, read_job, write_job

JOB = Job("vertex", "a-job", "grader", ("grader/configs/train.json",), "gs://b/n", "gs://b/run", settings={"a": "1"})


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_job(JOB, tmp_path)
    assert read_job(tmp_path) == JOB


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43200), ("1.5d", 129600), ("600", 600)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "12 hours", "-1h", "30s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(InvalidOptionError, match="expected --timeout as 90m, 12h or 2d"):
        parse_duration(text)


@pytest.mark.parametrize("changes", [{"name": "A job"}, {"name": ""}, {"nodes": 0}, {"max_restarts": -1}])
def test_impossible_jobs_are_refused(changes: dict) -> None:
    with pytest.raises(InvalidOptionError, match="expected"):
        dataclasses.replace(JOB, **changes)


def test_a_folder_without_a_job_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="which monai-spine job writes"):
        read_job(tmp_path)


@pytest.mark.parametrize("change", [{"schema": "x"}, {"configs": None}, {"no_such": 1}])
def test_a_damaged_job_is_refused(change: dict, tmp_path: Path) -> None:
    write_job(JOB, tmp_path)
    path = tmp_path / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidTableError, match=r"job\.json"):
        read_job(tmp_path)
