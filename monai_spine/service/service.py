"""The service: receiving, grading and sending, each in a thread of its own, and the queue on disk between them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai_spine.errors import OutputError, counted
from monai_spine.service.archive import open_archive
from monai_spine.service.configuration import Configuration
from monai_spine.service.delivery import Delivery, backoff
from monai_spine.service.grading import GradedFiles, GradeStudy, refused
from monai_spine.service.metrics import Metrics
from monai_spine.service.queued_study import ENDED, OPEN, QueuedStudy, State
from monai_spine.service.receiver import OUT_OF_RESOURCES, SUCCESS, Receiver
from monai_spine.service.spool import Spool
from monai_spine.service.status_pages import StatusPages
from monai_spine.service.study_queue import StudyQueue
from monai_spine.service.web_source import WebPoller
from monai_spine.service.words import error_in_words, without_uids

logger = logging.getLogger(__name__)

_PAUSE = 0.2
"""Seconds between two looks into the queue."""
_HOUSEKEEPING = 30.0
_HOURS, _DAYS = 3600.0, 86400.0


class Service:
    """Runs until it is stopped.

    Parameters
    ----------
    grade
        Grades a study; see `monai_spine.service.grading`.
    models
        A digest: a study that was graded with other models is graded again if it is received again.

    Raises
    ------
    SpineError
        If the folder, a port, or a file of the configuration cannot be used.
    """

    def __init__(self, configuration: Configuration, grade: GradeStudy, models: str) -> None:
        self._configuration, self._grade, self._models = configuration, grade, models
        self.spool = Spool(configuration.folder, configuration.limits)
        self.spool.use_for_temporary_files()
        self.queue = StudyQueue(self.spool.queue)
        self.metrics = Metrics(self.queue, self.spool)
        self.delivery = Delivery(
            *(self.queue, open_archive(configuration.send), configuration.retry),
            *(self.spool.objects, self.metrics.count),
        )
        self.pages = StatusPages(configuration.http, self.metrics.registry, self.queue, self.health)
        receive = configuration.receive
        limits = configuration.limits
        self.receiver = Receiver(receive.dicom, limits, self.store, self.metrics.count) if receive.dicom else None
        self.poller: WebPoller | None = None
        if receive.dicomweb is not None:
            quiet = configuration.study.quiet_seconds
            self.poller = WebPoller(receive.dicomweb, self.queue, self.keep, self.spool.temporary, quiet)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._died = ""
        self.port = 0

    def start(self) -> None:
        """Begin to receive, to grade and to send."""
        self.spool.measure()
        self._tidy()
        waiting = {state.value: count for state, count in self.queue.counts().items() if state in OPEN and count}
        if self.receiver is not None:
            self.port = self.receiver.start()
            logger.info("listening for DICOM on port %d", self.port)
        self.pages.start()
        logger.info("health, metrics and studies on port %d; waiting: %s", self.pages.port, waiting or "nothing")
        loops = {"grading": self._grade_all, "sending": lambda: self.delivery.run(self._stop, _PAUSE)}
        loops["housekeeping"] = self._remove_old_files
        if self.poller is not None:
            poller = self.poller
            loops["polling"] = lambda: poller.run(self._stop)
        for name, loop in loops.items():
            thread = threading.Thread(target=self._guarded, args=(name, loop), daemon=True, name=name)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 20.0) -> bool:
        """Take no more, let what is under way end for so long, and close the queue. What is not done stays in it.

        Returns
        -------
        Whether all threads have ended.
        """
        deadline = time.monotonic() + seconds
        self._stop.set()
        if self.receiver is not None:
            self.receiver.stop(seconds / 4)
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        self.pages.stop()
        if any(thread.is_alive() for thread in self._threads):
            logger.warning("stopped in the middle of a step, which is done again at the next start")
            return False
        self.queue.close()
        return True

    @property
    def failed(self) -> str:
        """Which part has ended by a fault of ours; empty if none has."""
        return self._died

    def health(self) -> Mapping[str, Any]:
        """For ``/health``."""
        counts = self.queue.counts()
        wrong = self._died or self.spool.full()
        return {
            "status": wrong or "ok",
            "archive": "ok" if not self.delivery.failures else f"not reached {self.delivery.failures} times",
            **{state.value: counts[state] for state in OPEN},
        }

    # Receiving

    def store(self, file: Path, study_uid: str, instance_uid: str) -> int:
        """Keep an image that a peer sent; the status for the peer."""
        limits = self._configuration.limits
        if rule := self.spool.full():
            return self._no_room(rule)
        try:
            with self.queue.arrival(study_uid) as number:
                images, size = self.spool.size(number)
                if images >= limits.study_images or size >= limits.study_mb * 1e6:
                    return self._no_room("study_images" if images >= limits.study_images else "study_mb")
                self.spool.keep(file, number, instance_uid)
        except (OSError, sqlite3.Error) as error:
            logger.error("an image cannot be stored: %s", error_in_words(error))
            return self._no_room("disk")
        self.metrics.images.inc()
        return SUCCESS

    def _no_room(self, rule: str) -> int:
        self.metrics.count("refused", rule)
        logger.warning("an image was refused: the limit %s is reached", rule)
        return OUT_OF_RESOURCES

    def keep(self, study_uid: str, files: list[Path]) -> bool:
        """Keep the images of a study that was fetched; False if there is no room."""
        import pydicom

        with self.queue.arrival(study_uid):
            for file in files:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
                if self.store(file, study_uid, str(header.SOPInstanceUID)) != SUCCESS:
                    return False
        return True

    # Grading

    def _grade_all(self) -> None:
        while not self._stop.is_set():
            self.close_quiet()
            study = self.queue.next_to_grade()
            if study is None:
                self._stop.wait(_PAUSE)
            else:
                self.grade(study)

    def close_quiet(self) -> None:
        """Note the studies that are complete."""
        for study in self.queue.quiet(self._configuration.study.quiet_seconds):
            counted_at = time.time()
            self.spool.received(study.number).mkdir(parents=True, exist_ok=True)
            self.spool.join(study.number, [one.number for one in self.queue.earlier(study)])
            images, content = self.spool.content(study.number, self._models)
            if self.queue.closed(study.number, images, content, counted_at):
                now = self.queue.study(study.number)
                repeated = f"; {now.outcome} {now.reason}".rstrip() if now.state is State.SENT else ""
                logger.info("study %d: complete, %s%s", study.number, counted(images, "image"), repeated)

    def grade(self, study: QueuedStudy) -> None:
        """Grade a study, and note its objects. A failure of the machine is tried again."""
        starts = self.queue.begun(study.number)
        if not starts:
            return
        received, out = self.spool.received(study.number), self.spool.graded(study.number)
        try:
            if starts > self._configuration.study.starts:
                reason = f"{ENDED} {starts - 1} times"
                made = refused(reason, received, out)
            else:
                made = self._graded(received, out)
            names = self.spool.take_objects(study.number, made.objects)
        except (OSError, OutputError, MemoryError) as error:
            wait = backoff(self._configuration.retry, study.attempts + 1)
            # A lack of memory counts as a start that never ended: it may be this study that needs too much.
            self.queue.not_graded(study.number, time.time() + wait, counts=isinstance(error, MemoryError))
            reason = without_uids(str(error.strerror if isinstance(error, OSError) else error)) or "no memory"
            logger.error("study %d: not graded: %s; tried again in about %.3g s", study.number, reason, wait)
            return
        self.queue.graded(study.number, names, made.outcome, made.reason, made.seconds)
        self.spool.remove_graded(study.number)
        self.metrics.studies.labels(made.outcome).inc()
        self.metrics.seconds.observe(made.seconds)
        words = f": {without_uids(made.reason)}" if made.reason else ""
        logger.info("study %d: %s in %.1f s%s", study.number, made.outcome, made.seconds, words)
        if not names:
            logger.error("study %d: nothing can be sent", study.number)

    def _graded(self, received: Path, out: Path) -> GradedFiles:
        try:
            return self._grade(received, out)
        except (OSError, OutputError, MemoryError):
            raise
        except Exception as error:  # one study never ends the service
            return refused(f"unexpected {error_in_words(error)}", received, out)

    # Housekeeping

    def _remove_old_files(self) -> None:
        while not self._stop.wait(min(_HOUSEKEEPING, self._configuration.keep.unsent_days * _DAYS)):
            self._tidy()
            self.spool.sweep_temporary()
            self.spool.measure()

    def _tidy(self) -> None:
        """Give up what cannot be sent, and remove files that nobody needs any more."""
        keep, now = self._configuration.keep, time.time()
        for study in self.queue.studies(State.GRADED, State.COMPLETE):
            if now - study.created > keep.unsent_days * _DAYS and self.queue.expire(study.number):
                logger.error("study %d: given up after %g days; its images are removed", study.number, keep.unsent_days)
        # Folders first: a study has its row before its folder, so a new one is in the rows below.
        there = self.spool.numbers()
        needed = {one.number for one in self.queue.studies(*OPEN)}
        late = {one.number for one in self.queue.studies(State.SENT) if now - one.changed < keep.sent_hours * _HOURS}
        for number in there:
            if number not in needed | late:
                self.spool.remove(number)
        self.queue.forget(now - keep.rows_days * _DAYS)

    def _guarded(self, name: str, loop: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                loop()
            except (OSError, sqlite3.OperationalError) as error:  # a full disk, which may get room again
                logger.error("%s: %s", name, error_in_words(error))
                self._stop.wait(self._configuration.retry.first_seconds)
            except Exception as error:  # the command ends with exit code 1, and what watches it starts it again
                logger.critical("%s has ended: %s", name, error_in_words(error))
                self._died = f"{name} has ended"
                return
