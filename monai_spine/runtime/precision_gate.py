"""The gate of a precision: whether a model may run in it, by a comparison with float32 that is kept beside the model.

`monai_spine.grading.precision_check` makes the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from monai_spine.errors import InvalidOptionError
from monai_spine.runtime.choice import Precision
from monai_spine.runtime.converted_model import ConvertedModel

SCHEMA = "monai_spine/precision_gate/1"


@dataclass(frozen=True)
class GateRow:
    """A figure of the comparison: in float32, in the other precision, their difference, and its limit.

    ``limit``: None for a figure that does not decide.
    """

    figure: str
    float32: float | None
    other: float | None
    difference: float
    limit: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the difference is below the limit."""
        return self.limit is None or self.difference < self.limit


def passed(rows: Sequence[GateRow]) -> bool:
    """Whether all figures are within their limits."""
    return all(row.passed for row in rows)


def table(rows: Sequence[GateRow]) -> str:
    """The comparison as a Markdown table."""
    lines = ["| figure | float32 | bfloat16 | difference | limit | passed |", "|---|--:|--:|--:|--:|---|"]
    for row in rows:
        both = ["" if value is None else f"{value:.4f}" for value in (row.float32, row.other)]
        limit = "" if row.limit is None else f"{row.limit:g}"
        verdict = "" if row.limit is None else ("yes" if row.passed else "no")
        lines.append(f"| {row.figure} | {' | '.join(both)} | {row.difference:.4f} | {limit} | {verdict} |")
    return "\n".join(lines)


def write_gate(model: ConvertedModel, precision: Precision, rows: Sequence[GateRow]) -> Path | None:
    """Keep a comparison beside the converted model; its path, None if no folder can be written."""
    content = {
        **{"schema": SCHEMA, "identity": model.identity, "precision": precision.value, "passed": passed(rows)},
        **{"packages": model.runtime.versions, "rows": [asdict(row) for row in rows]},
    }
    text = json.dumps(content, indent=1) + "\n"
    return model.write(_name(model, precision), lambda partial: _written(partial, text))


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def allowed(model: ConvertedModel, precision: Precision, bundle: Path) -> Precision:
    """The precision that a model runs in: the one that was asked for if the model passed its gate, else float32.

    Raises
    ------
    InvalidOptionError
        If the model was never compared with float32. The message has the command that does.
    """
    if precision is Precision.FLOAT32:
        return precision
    path = model.find(_name(model, precision))
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        if content["schema"] == SCHEMA and content["identity"] == model.identity:
            return precision if content["passed"] is True else Precision.FLOAT32
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InvalidOptionError(
        f"--precision {precision.value}: expected a comparison of {bundle} with float32, but there is none; make it "
        f"once with: monai-spine runtime check {bundle}"
    )


def _name(model: ConvertedModel, precision: Precision) -> str:
    return f"{model.stem}-{precision.value}.json"
