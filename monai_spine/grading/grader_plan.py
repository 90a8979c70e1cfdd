"""What a converted grader needs besides its network, as data that is kept beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monai_spine.crops.view import View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import Level


@dataclass(frozen=True)
class GraderPlan:
    """Which crops make the image of a `LevelGrader`, whose logits become probabilities by a softmax.

    Attributes
    ----------
    views
        In the order in which their slices follow one another.
    conditions
        Those that it learnt to grade; None for all.
    """

    views: tuple[View, ...]
    conditions: Sequence[str] | None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The network's input: any number of studies, levels, slices of all views, rows, columns."""
        return (None, len(Level), sum(view.slices for view in self.views), *self.views[0].pixels)

    def to_bytes(self) -> bytes:
        """The plan as JSON."""
        conditions = None if self.conditions is None else list(self.conditions)
        content = {"views": [asdict(view) for view in self.views], "conditions": conditions}
        return json.dumps(content, indent=1, default=_word).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> GraderPlan:
        """The plan that `to_bytes` wrote.

        Raises
        ------
        ValueError
            If it is no plan.
        """
        try:
            plan: dict[str, Any] = json.loads(content)
            return cls(tuple(View(**view) for view in plan["views"]), plan["conditions"])
        except (KeyError, TypeError, InvalidOptionError) as error:
            raise ValueError(f"it is no plan of a grader: {error}") from error


def _word(one: Any) -> Any:
    return one.value  # of an enumeration
