"""Sends the objects of graded studies, and tries again with waits that double."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from monai_spine.errors import counted
from monai_spine.service.archive import Archive, ArchiveDownError, ObjectRefusedError
from monai_spine.service.configuration import Retry
from monai_spine.service.queued_study import QueuedStudy, State
from monai_spine.service.study_queue import StudyQueue
from monai_spine.service.words import error_in_words

logger = logging.getLogger(__name__)


def backoff(retry: Retry, failures: int) -> float:
    """Seconds to wait after the given number of failures: doubled each time, up to the longest.

    A tenth more or less, at random, so that services that lost one archive do not come back in step.
    """
    wait = min(retry.longest_seconds, retry.first_seconds * 2.0 ** min(failures - 1, 60))
    return wait * random.uniform(0.9, 1.1)  # noqa: S311 - no secret


class Delivery:
    """Sends until it is stopped.

    Parameters
    ----------
    objects
        The folder of a study's objects.
    count
        Called with an event (``sent`` or ``send_failed``), for the metrics.
    """

    def __init__(
        self,
        queue: StudyQueue,
        archive: Archive,
        retry: Retry,
        objects: Callable[[int], Path],
        count: Callable[[str, str], None],
    ) -> None:
        self._queue, self._archive, self._retry = queue, archive, retry
        self._objects, self._count = objects, count
        self.failures = 0
        """How often the archive could not be reached since it last could."""

    def run(self, stop: threading.Event, pause: float) -> None:
        """Send what is due, until it is stopped."""
        while not stop.is_set():
            study = self._queue.next_to_send()
            if study is None:
                stop.wait(pause)
            elif not self.send(study):
                stop.wait(backoff(self._retry, self.failures) if self.failures else 0)

    def send(self, study: QueuedStudy) -> bool:
        """Send what the archive has not confirmed of a study; whether it has all by now."""
        folder, sent = self._objects(study.number), 0
        try:
            for file in self._archive.send([folder / name for name in self._queue.unsent(study.number)]):
                self._queue.confirmed(study.number, file.name)
                self._count("sent", "")
                sent += 1
        except ArchiveDownError as error:
            self.failures += 1
            wait = backoff(self._retry, self.failures)
            self._queue.not_sent(study.number, time.time())  # the wait is that of the archive, not of the study
            logger.warning("study %d: not sent: %s; tried again in about %.3g s", study.number, error, wait)
        except Exception as error:  # of an archive of any make; the other studies go on
            self.failures = 0
            wait = backoff(self._retry, study.attempts + 1)
            self._queue.not_sent(study.number, time.time() + wait)
            reason = str(error) if isinstance(error, ObjectRefusedError) else error_in_words(error)
            logger.error("study %d: not sent: %s; tried again in about %.3g s", study.number, reason, wait)
        else:
            self.failures = 0
            logger.info("study %d: sent, %s", study.number, counted(sent, "object"))
            return self._queue.study(study.number).state is State.SENT
        self._count("send_failed", "")
        return False
