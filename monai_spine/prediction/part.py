"""A part of many studies, for machines that share no scheduler: which studies are its own, and where its tables go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_spine.errors import InvalidOptionError

PARTS = "parts"
"""The folder of the output that holds a folder of tables for each part."""
AUTO = "auto"
_TEXT = re.compile(r"(\d+)/(\d+)")
# Index from 0, and the variable with its count, of the arrays that number their tasks.
# Kubernetes gives no count: completions of the Job has to be written as auto/COUNT.
_ARRAYS = (("JOB_COMPLETION_INDEX", None), ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"))
_SLURM = "SLURM_ARRAY_TASK"


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``count``, counted from 1.

    A study belongs to a part by its id alone, so neither the order of the inputs nor other studies matter.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidOptionError(f"expected at least one part, but found {self.number}/{self.count}")
        if not 1 <= self.number <= self.count:
            raise InvalidOptionError(
                f"expected a part from 1 to {self.count}, but found {self.number}/{self.count}; parts count from 1"
            )

    def holds(self, study_id: str) -> bool:
        """Whether a study is one of this part."""
        # Python's own hash differs between processes.
        digest = hashlib.sha256(study_id.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def folder(self, out: Path) -> Path:
        """Where its tables go."""
        return out / PARTS / f"{self.number:0{len(str(self.count))}}-of-{self.count}"


def parse_part(text: str, environment: Mapping[str, str]) -> Part:
    """A part from ``3/16``, or from the variables of an array job with ``auto`` or ``auto/16``.

    Raises
    ------
    InvalidOptionError
        If the text has another form, the part is beyond the count, no array job sets its variables, or those of Slurm
        do not say for certain which part is meant.
    """
    if match := _TEXT.fullmatch(text):
        return Part(int(match[1]), int(match[2]))
    word, _, count = text.partition("/")
    if word != AUTO or (count and not count.isdecimal()):
        raise InvalidOptionError(f"expected --part as 3/16, auto or auto/16, but found {text!r}")
    for index, counted in _ARRAYS:
        if index in environment:
            total = count or environment.get(counted or "", "")
            if not total:
                raise InvalidOptionError(f"{index} is set, but not the number of parts; write --part auto/16")
            return Part(_number(environment[index], index) + 1, _number(total, counted))
    if f"{_SLURM}_ID" in environment:
        return _of_slurm(count, environment)
    names = [*(index for index, _ in _ARRAYS), f"{_SLURM}_ID"]
    raise InvalidOptionError(f"--part {text} needs a variable of an array job: {', '.join(names)}")


def _of_slurm(count: str, environment: Mapping[str, str]) -> Part:
    """The part of a task of Slurm, whose arrays may begin anywhere and have gaps, such as ``--array 3,7``.

    An array of all parts begins at 0 or 1, and its tasks take their numbers from there. Of any other array, which
    repeats some tasks, only the count of all parts, in ``auto/16``, tells what its ids mean: parts from 1.
    """

    def variable(name: str, default: int | None = None) -> int:
        text = environment.get(f"{_SLURM}_{name}")
        if text is None and default is not None:
            return default
        return _number(text or "", f"{_SLURM}_{name}")

    if not count and f"{_SLURM}_COUNT" not in environment:
        raise InvalidOptionError(f"{_SLURM}_ID is set, but not the number of parts; write --part auto/16")
    task, first, tasks = variable("ID"), variable("MIN"), variable("COUNT", 0)
    total = int(count) if count else tasks
    whole = tasks == total == variable("MAX", first + tasks - 1) - first + 1 and first in {0, 1}
    if whole:
        return Part(task - first + 1, total)
    if not count:
        raise InvalidOptionError(
            "the Slurm array does not have all tasks from 0 or 1 on, so its number of tasks is not that of the parts; "
            "write the number of all parts, as in --part auto/16, with task 1 for part 1/16"
        )
    if first == 0:
        raise InvalidOptionError(
            f"--part auto/{count} with some tasks of an array takes their ids as parts, which count from 1, but the "
            f"array begins at 0; submit --array 1-{count}, or add 1 to each id"
        )
    return Part(task, total)


def _number(text: str, variable: str | None) -> int:
    if not text.isdecimal():
        raise InvalidOptionError(f"expected a number in the variable {variable}, but found {text!r}")
    return int(text)
