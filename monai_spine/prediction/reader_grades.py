"""What a reader said of a study in ``monai-spine review``, beside the program's findings in ``findings.json``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_spine.data.corrections import Corrections
from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.data.finished_mark import update_checksum
from monai_spine.errors import SpineError, one_line
from monai_spine.files import checksum, write_text
from monai_spine.prediction.outcomes import NAME as OUTCOME

logger = logging.getLogger(__name__)


def with_reader(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content of ``findings.json`` with the reader's grades of a study's folder.

    Each finding gets ``reader``: ``grade``, ``by`` and ``at``, or None; the study gets ``reviewed``: ``by`` and ``at``,
    or None. What the program found stays as it is.
    """
    corrections = _corrections(folder)
    # After a study was graded again without --points, a grade would be at another level.
    used = {one["finding"]: one.get("point") for one in content["findings"]}
    state = corrections.state if corrections and not corrections.has_other_levels(used) else None
    grades = {} if state is None else {name: (grade, state.graded_by[name]) for name, grade in state.grades.items()}
    readers = {name: {"grade": grade, **vars(signature)} for name, (grade, signature) in grades.items()}
    findings = [{**one, "reader": readers.get(one["finding"])} for one in content["findings"]]
    reviewed = vars(state.done) if state and state.done else None
    return {**content, "reviewed": reviewed, "findings": findings}


def update_reader(folder: Path) -> None:
    """Write the reader's grades into the ``findings.json`` of a study's folder, whose outcome stays valid.

    Raises
    ------
    OSError, ValueError, KeyError
        If the file cannot be read or written.
    """
    path = folder / "findings.json"
    before = checksum(path)
    content = with_reader(json.loads(path.read_text(encoding="utf-8")), folder)
    write_text(path, json.dumps(content, indent=2) + "\n")
    update_checksum(folder / OUTCOME, path.name, before)


def _corrections(folder: Path) -> Corrections | None:
    try:
        return read_corrections(folder / NAME) if (folder / NAME).is_file() else None
    except SpineError as error:
        logger.warning("the grades of readers are left out: %s", one_line(error))
        return None
