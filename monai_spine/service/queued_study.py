"""A study in the queue of the service, and the states that it goes through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """Where a study stands."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    """Quiet for long enough: it waits to be graded, or is being graded."""
    GRADED = "graded"
    """Its objects wait to be sent; a refused study has a note."""
    SENT = "sent"
    EXPIRED = "expired"
    """It could not be sent for too long; its files are gone."""


OPEN = (State.RECEIVING, State.COMPLETE, State.GRADED)
"""States of studies that are not done."""
REPEATED, EMPTY = "repeated", "empty"
ENDED = "grading it ended the program or exhausted the memory"
"""Outcomes of a study whose images were graded before, and of one of which no image was stored before a kill."""


@dataclass(frozen=True)
class QueuedStudy:
    """A row of the queue.

    Attributes
    ----------
    number
        What logs call it.
    changed
        When its state changed.
    content
        A digest of its images and of the models.
    starts
        How often its grading was begun.
    attempts, due
        Failures of the present step, and when it is tried again.
    outcome
        ``graded``, ``refused``, `REPEATED` or `EMPTY`; nothing before.
    """

    number: int
    study_uid: str
    state: State
    created: float
    changed: float
    images: int
    content: str
    starts: int
    attempts: int
    due: float
    outcome: str
    reason: str
    seconds: float
