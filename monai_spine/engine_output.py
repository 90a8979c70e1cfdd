"""What MONAI engines leave: after an iteration, and in all processes after an epoch."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine


def studies_of(engine: Engine) -> list[dict[str, Any]]:
    """The studies of the last iteration: for each, a dictionary of what went in and what came out.

    Raises
    ------
    TypeError
        If the engine does not decollate its batches.
    """
    batch, output = engine.state.batch, engine.state.output
    if not isinstance(output, list) or not isinstance(batch, list):
        raise TypeError(f"expected a list of decollated studies, but given {type(output).__name__}; set decollate=True")
    return [{**given, **made} for given, made in zip(batch, output, strict=True)]


def gathered(studies: dict[str, Any]) -> dict[str, Any]:
    """The studies of all processes, by id."""
    if idist.get_world_size() == 1:
        return studies
    parts: list[Any] = [None] * idist.get_world_size()
    torch.distributed.all_gather_object(parts, studies)
    return {study_id: study for part in parts for study_id, study in part.items()}
