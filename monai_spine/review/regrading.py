"""Grades studies again by their corrected points, in a thread of its own, so that the page never waits."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from monai_spine.data.corrections_file import NAME
from monai_spine.errors import SpineError, one_line, reason_of
from monai_spine.files import safe_name, write_bytes
from monai_spine.levels.files import LOCATED, is_edited, read_study, write_points
from monai_spine.levels.marked import corrected_points
from monai_spine.prediction.findings_table import write_findings_table
from monai_spine.prediction.models import Models
from monai_spine.prediction.object_files import remove_objects
from monai_spine.prediction.outcomes import NAME as OUTCOME
from monai_spine.prediction.outcomes import Outcome, write_tables
from monai_spine.prediction.reader_grades import update_readers
from monai_spine.prediction.run import settings_of
from monai_spine.prediction.study_task import StudyTask
from monai_spine.report.output import HTML, INDEX, PDF, PageFile, PageOutput, write_index
from monai_spine.report.run import graded_study
from monai_spine.review.graded_options import models_as_graded
from monai_spine.review.studies import ReviewStudies, ReviewStudy
from monai_spine.review.writing import Writing, update_tables

logger = logging.getLogger(__name__)

_SCRATCH = ".review"
"""A folder in the output, with machine and process: what is half done holds images, and stays with the others."""
_PAGES = (HTML.name, PDF.name)
_RESULTS = ("findings.json", OUTCOME)


class Progress(str, Enum):
    """How far the grading of a study is."""

    IDLE = "idle"
    WAITING = "waiting"
    GRADING = "grading"
    FAILED = "failed"


@dataclass(frozen=True)
class Grading:
    """The progress of a study, and why it failed."""

    progress: Progress = Progress.IDLE
    message: str = ""


class Regrading:
    """A queue of studies and the thread that grades them.

    Parameters
    ----------
    studies
        Of the folder; they are read again after they were graded.
    open_models
        Opens the models, once, in the thread.
    writing
        The right to write into the folder. It is held only while finished files replace the earlier ones.
    """

    def __init__(self, studies: ReviewStudies, open_models: Callable[[], Models], writing: Writing) -> None:
        self._studies, self._open_models, self._writing = studies, open_models, writing
        self._state: dict[int, Grading] = {}
        self._queue: list[int] = []
        self._pages: list[int] = []  # studies whose pages alone are written again
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="regrading", daemon=True)

    def start(self) -> None:
        """Start the thread, which opens the models first.

        What a killed server has left behind its corrections is made good: studies are graded again, and pages that are
        older than their findings are written again.
        """
        waiting = self._studies.waiting()
        self._queue += waiting
        self._state |= dict.fromkeys(waiting, Grading(Progress.WAITING))
        self._pages += [n for n, folder in enumerate(self._studies.corrected()) if folder and _old_pages(folder)]
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the study that it is grading."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def request(self, number: int) -> None:
        """Grade a study by its newest corrections; soon, and once even if it is asked for several times."""
        with self._changed:
            if number not in self._queue:
                self._queue.append(number)
            self._state[number] = Grading(Progress.WAITING)
            self._changed.notify_all()

    def rewrite_pages(self, number: int) -> None:
        """Write the pages of a study again, after a grade of the reader; the program's grades stay."""
        with self._changed:
            if number not in self._pages:
                self._pages.append(number)
            self._changed.notify_all()

    def state(self, number: int) -> Grading:
        """The progress of a study."""
        with self._changed:
            return self._state.get(number, Grading())

    def _next(self) -> tuple[int, bool] | None:
        """A study, and whether it is graded again; None if nothing comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._queue or self._pages)
            if self._queue and not self._ended:
                number = self._queue.pop(0)
                self._state[number] = Grading(Progress.GRADING)
                return number, True
            # Pages are finished at the end, too: a grade that was saved must not be missing in them.
            return (self._pages.pop(0), False) if self._pages else None

    def _run(self) -> None:
        models = self._opened()
        _remove_scratch(self._studies.out)
        if not self._queue and not self._pages and self._index_is_old():
            self._write_index()
        while (task := self._next()) is not None:
            number, again = task
            if again:
                # What went wrong once may be right by now: MONAI, for one, fails if another thread imports meanwhile.
                models = self._opened() if isinstance(models, SpineError) else models
                result = self._graded(number, models)
                with self._changed:
                    if number not in self._queue:  # asked for again meanwhile: then it still waits
                        self._state[number] = result
            else:
                self._write_pages(number, models)
            with self._changed:
                idle = not self._queue and not self._pages
            if idle:
                self._write_index()

    def _opened(self) -> Models | SpineError:
        """The models, or why they cannot be opened."""
        try:
            return self._open_models()
        except SpineError as error:
            return error

    def _write_pages(self, number: int, models: Models | SpineError) -> None:
        """The pages of a study whose images are at hand; others stay until ``monai-spine report -i`` writes them."""
        try:
            study = self._studies.study(number)
            writers = self._page_writers(study)
            if study.pending is None or not writers or study.result.refused:
                return
            graders = () if isinstance(models, SpineError) else models.graders
            graded = graded_study(study.folder, study.pending.record, study.result, graders)
            with self._writing():
                PageOutput(writers).write(graded)
        except Exception as error:  # the grade is saved, and the page can be written later
            logger.warning("the pages of study %d were not written again: %s", number, reason_of(error))

    def _page_writers(self, study: ReviewStudy) -> list[PageFile]:
        """The pages that the study has, or, if it was refused, those that graded studies have."""
        if not study.result.refused:
            return [page for page in (HTML, PDF) if page.complete(study.folder, refused=False)]
        out = self._studies.out
        return [HTML] * (out / INDEX).is_file() + [PDF] * any(out.glob(f"*/{PDF.name}"))

    def _graded(self, number: int, models: Models | SpineError) -> Grading:
        try:
            if isinstance(models, SpineError):
                raise models
            self._grade(self._studies.study(number), models)
            self._studies.refresh(number, graded=True)
        except (SpineError, OSError) as error:
            return Grading(Progress.FAILED, one_line(error))
        except Exception as error:  # a fault of ours in one study must not end the thread
            logger.exception("study %d could not be graded again", number)
            return Grading(
                Progress.FAILED, f"an error that was not foreseen ({type(error).__name__}); please report it"
            )
        return Grading()

    def _grade(self, study: ReviewStudy, models: Models) -> None:
        if study.pending is None:
            raise SpineError("the volumes of this study are not at hand; name the inputs of predict with -i")
        models = models_as_graded(models, study.result)
        points = corrected_points(study.corrections())
        writers = self._page_writers(study)
        with _scratch(self._studies.out) as out:
            # The reader's grades stand in the new findings and pages, too.
            own = out / safe_name(study.pending.study_id)
            if (study.folder / NAME).is_file():
                write_bytes(own / NAME, (study.folder / NAME).read_bytes())
            task = StudyTask(
                out=out,
                models=lambda: models,
                settings=settings_of(models),
                outputs=(PageOutput(writers),) if writers else (),
                marked={study.pending.study_id: points},
                force=True,
            )
            outcome = task(study.pending).outcome
            # Without a point, a reader has taken back those by which a refused study was graded: it is refused again.
            if outcome.refused and points:
                raise SpineError(f"not graded: {outcome.refused}")
            with self._writing():
                if (study.folder / NAME).is_file():
                    write_bytes(own / NAME, (study.folder / NAME).read_bytes())
                    update_readers(out, [own])  # a grade that came meanwhile
                    (own / NAME).unlink()
                _write_tables(out, study, outcome, models)
                update_tables(self._studies.out, out, study.result.study_id)
                _publish(own, study.folder)

    def _index_is_old(self) -> bool:
        """Whether the index is older than the findings of a study with corrections."""
        index = self._studies.out / INDEX
        folders = filter(None, self._studies.corrected())
        return index.is_file() and any(_is_older(index, folder / name) for folder in folders for name in _RESULTS)

    def _write_index(self) -> None:
        out = self._studies.out
        if (out / INDEX).is_file():
            try:
                with self._writing():
                    write_index(out)
            except (SpineError, OSError) as error:
                logger.warning("%s was not written again: %s", INDEX, one_line(error))


def _write_tables(out: Path, study: ReviewStudy, outcome: Outcome, models: Models) -> None:
    """Tables of one study alone, for `update_tables`."""
    assert study.pending is not None
    write_points(out, [read_study(out / safe_name(study.pending.study_id))] * outcome.located)
    write_findings_table(out, [] if outcome.refused else [study.pending])
    write_tables(out, [outcome], provenance=models.provenance, trained_on=models.trained_on_cell, fill=None)


def _publish(new: Path, folder: Path) -> None:
    """Move the files of a folder into that of a study, in the place of those of an earlier grading.

    The disk needs no room for it. The outcome comes last: it says that all is there (`needs_grading`). Pages come after
    the findings that they show. Markups that a person has edited stay. DICOM objects show the earlier findings, so they
    stay and go with these.
    """
    edited = is_edited(folder)
    order = ("findings.json", *_PAGES, OUTCOME)
    names = {file.name for file in new.iterdir() if file.is_file()} - ({LOCATED[1]} if edited else set())
    remove_objects(folder)
    if not edited:
        # Beside other points, after a kill, they would be taken for a person's.
        (folder / LOCATED[1]).unlink(missing_ok=True)
    for name in sorted(names, key=lambda one: (order.index(one) + 1 if one in order else 0, one)):
        (new / name).replace(folder / name)
    for name in {"findings.json", *_PAGES} - names:
        (folder / name).unlink(missing_ok=True)


def _old_pages(folder: Path) -> bool:
    return any(_is_older(folder / name, folder / "findings.json") for name in _PAGES)


def _is_older(one: Path, other: Path) -> bool:
    """Whether both files are there, and the first is the older one."""
    return one.is_file() and other.is_file() and one.stat().st_mtime_ns < other.stat().st_mtime_ns


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    folder = out / f"{_SCRATCH}.{socket.gethostname()}.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_scratch(out: Path) -> None:
    """Remove the folders of this machine's killed servers."""
    start = f"{_SCRATCH}.{socket.gethostname()}."
    for folder in out.glob(f"{start}*"):
        process = folder.name.removeprefix(start)
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)
