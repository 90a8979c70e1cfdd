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
# Index, the variable with its count, and the variable with the first index, of the arrays that number their tasks.
# Kubernetes gives no count: completions of the Job has to be written as auto/COUNT.
_ARRAYS = (
    ("JOB_COMPLETION_INDEX", None, None),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
)


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``count``, counted from 1.

    A study belongs to a part by its id alone, so neither the order of the inputs nor other studies matter.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
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
        If the text has another form, the part is beyond the count, or no array job sets its variables.
    """
    if match := _TEXT.fullmatch(text):
        return Part(int(match[1]), int(match[2]))
    word, _, count = text.partition("/")
    if word != AUTO or (count and not count.isdecimal()):
        raise InvalidOptionError(f"expected --part as 3/16, auto or auto/16, but found {text!r}")
    for index, counted, first in _ARRAYS:
        if index in environment:
            total = count or environment.get(counted or "", "")
            if not total:
                raise InvalidOptionError(f"{index} is set, but not the number of parts; write --part auto/16")
            begin = environment.get(first or "", "0")
            return Part(_number(environment[index], index) - _number(begin, first) + 1, _number(total, counted))
    raise InvalidOptionError(
        f"--part {text} needs a variable of an array job: {', '.join(index for index, _, _ in _ARRAYS)}"
    )


def _number(text: str, variable: str | None) -> int:
    if not text.isdecimal():
        raise InvalidOptionError(f"expected a number in the variable {variable}, but found {text!r}")
    return int(text)
