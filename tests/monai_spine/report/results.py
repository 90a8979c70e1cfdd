"""Contents of ``findings.json`` and pages of them, without images."""

from html.parser import HTMLParser

import numpy as np

from monai_spine.grading.findings import study_findings
from monai_spine.report.study_result import StudyResult, result_of
from monai_spine.spine import FINDINGS, SeriesType

HOSTILE = "<script>document.title='executed'</script><img src=x onerror=\"document.title='executed'\">&lt;\"'"


def content(severe: tuple[str, ...] = (), study: str = "s1", covered: bool = True) -> dict:
    """The content of a study whose named findings are severe, and all others normal or mild."""
    record = {"study_id": study, "points": {}, **{series_type.value: () for series_type in SeriesType}}
    rows = np.array([[0.1, 0.2, 0.7] if finding.name in severe else [0.9, 0.08, 0.02] for finding in FINDINGS])
    found = study_findings(record, rows, rows, about={"models": [], "volumes": {}})
    for one in found["findings"]:
        one["flags"] = [] if covered else ["not_covered"]
        one["coverage"] = "Sagittal T2/STIR, plane 0.8 mm away" if covered else "no axial series"
    return found


def result(*args: object, **options: object) -> StudyResult:
    found = content(*args, **options)
    return result_of(found, found["study_id"])


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]
