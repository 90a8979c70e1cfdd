"""The output of MONAI's engines: of an iteration, and of an epoch in all processes."""

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine, Events

from monai_spine.scoring.competition import Floats, Ints


class CollectedCases:
    """Labels and probabilities of the cases that an engine has seen in an epoch.

    An engine that decollates its batches gives studies with a ``study_id``; one that does not gives images with an
    ``index``. A distributed sampler may give a case to two processes: it counts once. Cases without an id all count.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[list[Any], torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Clear when the engine starts, collect after each iteration."""
        engine.add_event_handler(Events.STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)

    def reset(self) -> None:
        """Clear the cases."""
        self._parts = []

    def collect(self, engine: Engine) -> None:
        """Add the last iteration's cases: ``label``, and ``pred``, which holds probabilities."""
        if isinstance(engine.state.output, list):
            studies = studies_of(engine)
            ids: list[Any] = [study.get("study_id") for study in studies]
            label, pred = (torch.stack([torch.as_tensor(one[key]) for one in studies]) for key in ("label", "pred"))
        else:
            output: Any = engine.state.output
            label, pred = torch.as_tensor(output["label"]), torch.as_tensor(output["pred"])
            ids = list[Any](indices_of(engine)) or [None] * len(pred)
        self.add(ids, label, pred)

    def add(self, ids: list[Any], label: torch.Tensor, pred: torch.Tensor) -> None:
        """Add cases: labels ``(n, …)`` and probabilities ``(n, …, classes)``; an id may be None."""
        self._parts.append((ids, label.detach(), pred.detach().float()))

    def by_id(self) -> dict[Any, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Label and probabilities of the cases of all processes, by their ids and in the order of the ids.

        All processes must call this.
        """
        rank = idist.get_rank()
        cases: dict[Any, Any] = {}
        for ids, label, pred in self._parts:
            labels, probabilities = label.cpu().numpy().astype(np.int64), pred.cpu().numpy().astype(np.float64)
            for one, truth, row in zip(ids, labels, probabilities, strict=True):
                # rank and place make an id that no other process has
                cases[(rank, len(cases)) if one is None else one] = (truth, row)
        cases = gathered(cases)
        return {one: cases[one] for one in sorted(cases)}

    def arrays(self) -> tuple[Ints, Floats]:
        """Labels and probabilities of all cases (`by_id`), stacked; all processes must call this."""
        cases = self.by_id()
        if not cases:
            return np.zeros(0, np.int64), np.zeros((0, 0))
        truths, rows = zip(*cases.values(), strict=True)
        return np.stack(truths), np.stack(rows)


def indices_of(engine: Engine) -> list[int]:
    """Places of the last iteration's images in the dataset; empty if the batch has no ``index``."""
    batch: Any = engine.state.batch
    return [int(n) for n in batch["index"]] if isinstance(batch, Mapping) and "index" in batch else []


def studies_of(engine: Engine) -> list[dict[str, Any]]:
    """The studies of the last iteration: a dictionary of inputs and outputs for each.

    Raises `TypeError` if the engine does not decollate its batches.
    """
    batch, output = engine.state.batch, engine.state.output
    if not isinstance(output, list) or not isinstance(batch, list):
        raise TypeError(f"expected a list of decollated studies, but found {type(output).__name__}; set decollate=True")
    return [{**inputs, **outputs} for inputs, outputs in zip(batch, output, strict=True)]


def gathered(studies: dict[Any, Any]) -> dict[Any, Any]:
    """The studies of all processes, by id."""
    if idist.get_world_size() == 1:
        return studies
    parts: list[Any] = [None] * idist.get_world_size()
    torch.distributed.all_gather_object(parts, studies)
    return {study_id: study for part in parts for study_id, study in part.items()}
