"""The pages of a run, written while it grades: an output of ``predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from monai_spine.errors import SpineError
from monai_spine.files import write_bytes, write_text
from monai_spine.prediction.outcomes import NAME
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.html_page import study_html
from monai_spine.report.index_page import PAGE, index_html
from monai_spine.report.pdf_page import study_pdf
from monai_spine.report.study_page import StudyPage, study_page
from monai_spine.report.study_result import StudyResult, read_result

INDEX = "index.html"
PDF_PAGE = "report.pdf"


class PageWriter(Protocol):
    """Writes a page in one form; its files are known by their names in the study's folder."""

    name: str
    """For messages."""

    def complete(self, folder: Path) -> bool:
        """Whether a graded study's folder has the files."""
        ...

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """Write the files. Raises `SpineError` if they cannot be made of this study."""
        ...

    def remove(self, folder: Path) -> None:
        """Remove the files."""
        ...


@dataclass(frozen=True)
class HtmlWriter:
    """Writes ``report.html``."""

    name: str = PAGE

    def complete(self, folder: Path) -> bool:
        """As `PageWriter`."""
        return (folder / PAGE).is_file()

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """As `PageWriter`."""
        write_text(study.folder / PAGE, study_html(page))

    def remove(self, folder: Path) -> None:
        """As `PageWriter`."""
        (folder / PAGE).unlink(missing_ok=True)


@dataclass(frozen=True)
class PdfWriter:
    """Writes ``report.pdf``."""

    name: str = PDF_PAGE

    def complete(self, folder: Path) -> bool:
        """As `PageWriter`."""
        return (folder / PDF_PAGE).is_file()

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """As `PageWriter`."""
        write_bytes(study.folder / PDF_PAGE, study_pdf(page))

    def remove(self, folder: Path) -> None:
        """As `PageWriter`."""
        (folder / PDF_PAGE).unlink(missing_ok=True)


@dataclass(frozen=True)
class PageOutput:
    """Makes the page of each study once, for all writers; a `monai_spine.prediction.study_output.StudyOutput`."""

    writers: Sequence[PageWriter]

    def complete(self, folder: Path) -> bool:
        """Whether all writers have written a graded study."""
        return all(writer.complete(folder) for writer in self.writers)

    def write(self, study: GradedStudy) -> Mapping[str, str]:
        """Write a study; for each form that cannot be written, its name and why."""
        page, failed = study_page(study), {}
        for writer in self.writers:
            try:
                writer.write(study, page)
            except SpineError as error:
                writer.remove(study.folder)
                failed[writer.name] = str(error)
        return failed

    def remove(self, folder: Path) -> None:
        """Remove the files of an earlier run."""
        for writer in self.writers:
            writer.remove(folder)

    def finish(self, out: Path) -> None:
        """Write the index, and the pages of refused studies."""
        if any(isinstance(writer, HtmlWriter) for writer in self.writers):
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
        except SpineError as error:
            unread.append(str(error).replace(f"{out}/", ""))
    return results, unread
