"""What a MONAI engine leaves after an iteration."""

from __future__ import annotations

from typing import Any

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
