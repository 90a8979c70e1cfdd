"""The pages of a run, written while it grades: an output of ``predict``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from monai_spine.errors import SpineError, reason_of
from monai_spine.files import write_bytes, write_text
from monai_spine.prediction.outcomes import NAME
from monai_spine.prediction.study_output import GradedStudy, RefusedStudy
from monai_spine.report.html_page import study_html
from monai_spine.report.index_page import PAGE, index_html
from monai_spine.report.study_page import StudyPage, study_page
from monai_spine.report.study_result import StudyResult, read_result

logger = logging.getLogger(__name__)

INDEX = "index.html"


class PageWriter(Protocol):
    """Writes a page in one form."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def explains(self) -> bool:
        """Whether it shows where the grader looked."""
        ...

    def complete(self, folder: Path, *, refused: bool) -> bool:
        """Whether the folder of a study, graded or refused, has the files."""
        ...

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """Write the files. Raises `SpineError` if they cannot be made of this study."""
        ...

    def refuse(self, study: RefusedStudy) -> None:
        """Write what a refused study gets. Raises `SpineError` if it cannot be made of this study."""
        ...

    def remove(self, folder: Path) -> None:
        """Remove the files."""
        ...


@dataclass(frozen=True)
class PageFile:
    """Writes a page as one file, whose content ``render`` makes."""

    name: str
    render: Callable[[StudyPage], bytes]
    explains: bool = False

    def complete(self, folder: Path, *, refused: bool) -> bool:
        """As `PageWriter`. The pages of refused studies are written with the index."""
        return refused or (folder / self.name).is_file()

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """As `PageWriter`."""
        write_bytes(study.folder / self.name, self.render(page))

    def refuse(self, study: RefusedStudy) -> None:
        """As `PageWriter`: nothing yet; see `write_index`."""

    def remove(self, folder: Path) -> None:
        """As `PageWriter`."""
        (folder / self.name).unlink(missing_ok=True)


def _html(page: StudyPage) -> bytes:
    return study_html(page).encode()


def _pdf(page: StudyPage) -> bytes:
    from monai_spine.report.pdf_page import study_pdf  # reportlab takes half a second to import

    return study_pdf(page)


HTML = PageFile(PAGE, _html, explains=True)
PDF = PageFile("report.pdf", _pdf)


@dataclass(frozen=True)
class PageOutput:
    """Makes the page of each study once, for all writers; a `monai_spine.prediction.study_output.StudyOutput`."""

    writers: Sequence[PageWriter]

    def lacking(self, folder: Path, *, refused: bool) -> Sequence[str]:
        """Names of the writers whose files a study lacks."""
        return [writer.name for writer in self.writers if not writer.complete(folder, refused=refused)]

    def write(self, study: GradedStudy) -> Mapping[str, str]:
        """Write a study; by name, why forms cannot be written."""
        page = study_page(study, explain=any(writer.explains for writer in self.writers))
        return self._each(study.folder, lambda writer: writer.write(study, page))

    def refuse(self, study: RefusedStudy) -> Mapping[str, str]:
        """Write what a refused study gets, in the place of an earlier run's files; by name, why forms cannot be."""
        for writer in self.writers:
            writer.remove(study.folder)
        return self._each(study.folder, lambda writer: writer.refuse(study))

    def _each(self, folder: Path, write: Callable[[PageWriter], None]) -> Mapping[str, str]:
        failed = {}
        for writer in self.writers:
            try:
                write(writer)
            except SpineError as error:
                writer.remove(folder)
                failed[writer.name] = str(error)
            except OSError:
                raise  # a full disk concerns all studies
            except Exception as error:
                # The grades are good without it. A message of another program's may name the patient.
                logger.debug("%s of study %s", writer.name, folder.name, exc_info=error)
                writer.remove(folder)
                failed[writer.name] = f"an error that was not foreseen ({type(error).__name__}); please report it"
        return failed

    def finish(self, out: Path) -> None:
        """Write the index, and the pages of refused studies."""
        if HTML in self.writers:
            write_index(out)


def write_index(out: Path) -> Path:
    """Write ``index.html`` of all studies in a folder of results, and the pages of refused studies; its path."""
    results, unread = read_results(out)
    for result in results:
        if result.refused:
            write_text(out / result.name / PAGE, study_html(StudyPage(result)))
    write_text(out / INDEX, index_html(results, unread))
    return out / INDEX


def read_results(out: Path) -> tuple[list[StudyResult], list[str]]:
    """The results of all studies in a folder, by name, and a sentence about each folder that breaks the format."""
    results, unread = [], []
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        if not any((folder / name).is_file() for name in ("findings.json", NAME)):
            continue
        try:
            results.append(read_result(folder))
        except Exception as error:  # one damaged folder must not hide the other studies
            reason = reason_of(error).replace(f"{out}/", "")
            unread.append(reason if folder.name in reason else f"{folder.name}: {reason}")
    return results, unread
