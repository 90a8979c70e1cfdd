from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.errors import InvalidOptionError
from monai_spine.prediction.part import Part, parse_part

STUDY = st.text(min_size=1)


def slurm(task: int, tasks: Sequence[int]) -> dict[str, str]:
    """The variables of a task of ``sbatch --array``."""
    values = {"ID": task, "COUNT": len(tasks), "MIN": min(tasks), "MAX": max(tasks)}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@given(study=STUDY, count=st.integers(1, 50))
def test_every_study_is_in_exactly_one_part(study: str, count: int) -> None:
    assert sum(Part(number, count).holds(study) for number in range(1, count + 1)) == 1


def test_the_partition_is_the_same_on_every_machine_and_for_ever() -> None:
    """Figures by hand: SHA-256 of the id, its first eight bytes as a number, modulo 4."""
    assert [next(n for n in range(1, 5) if Part(n, 4).holds(study)) for study in ("a", "b")] == OWNERS


OWNERS = [
    1 + int(first[:16], 16) % 4
    for first in (
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
    )
]


def test_parts_are_of_similar_size() -> None:
    sizes = [sum(Part(number, 16).holds(str(study)) for study in range(16_000)) for number in range(1, 17)]
    assert min(sizes) > 850
    assert max(sizes) < 1150


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("3/16", {}, (3, 16)),
        ("1/1", {}, (1, 1)),
        ("auto/16", {"JOB_COMPLETION_INDEX": "0"}, (1, 16)),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "15", "AWS_BATCH_JOB_ARRAY_SIZE": "16"}, (16, 16)),
        ("auto", slurm(7, range(1, 9)), (7, 8)),
        ("auto", slurm(7, range(8)), (8, 8)),
        ("auto/8", slurm(7, range(8)), (8, 8)),
        ("auto/16", slurm(3, [3, 7]), (3, 16)),
        ("auto/16", slurm(7, [7]), (7, 16)),
        ("auto/16", slurm(5, range(1, 9)), (5, 16)),
    ],
)
def test_parts_of_texts_and_of_array_jobs(text: str, environment: dict, part: tuple[int, int]) -> None:
    assert parse_part(text, environment) == Part(*part)


@pytest.mark.parametrize(
    ("text", "environment", "fault"),
    [
        ("17/16", {}, "a part from 1 to 16, but found 17/16"),
        ("0/16", {}, "parts count from 1"),
        ("3", {}, "expected --part as 3/16"),
        ("3/16/2", {}, "expected --part as 3/16"),
        ("auto", {}, "needs a variable of an array job"),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "write --part auto/16"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "a part from 1 to 4, but found 5/4"),
        ("auto", slurm(3, [3, 7]), "write the number of all parts, as in --part auto/16"),
        ("auto", slurm(7, [1, 7]), "write the number of all parts"),
        ("auto", slurm(3, [3]), "write the number of all parts"),
        ("auto", slurm(17, range(17, 33)), "write the number of all parts"),
        ("auto/16", slurm(3, range(8)), "the array begins at 0"),
        ("auto/16", slurm(3, [0, 3]), "the array begins at 0"),
        ("auto/16", slurm(17, [17, 18]), "a part from 1 to 16, but found 17/16"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "write --part auto/16"),
        ("auto/16", {"SLURM_ARRAY_TASK_ID": "1"}, "expected a number in the variable SLURM_ARRAY_TASK_MIN"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "x"}, "expected a number in the variable JOB_COMPLETION_INDEX"),
    ],
)
def test_other_parts_are_refused(text: str, environment: dict, fault: str) -> None:
    with pytest.raises(InvalidOptionError, match=fault):
        parse_part(text, environment)
