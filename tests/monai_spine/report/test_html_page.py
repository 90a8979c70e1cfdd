"""Pages and the index as HTML: what they hold, and that nothing of the input is executed."""

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.report.html_page import study_html
from monai_spine.report.index_page import index_html
from monai_spine.report.study_page import StudyPage
from monai_spine.report.study_result import StudyResult, result_of
from monai_spine.spine import Condition
from tests.monai_spine.report.results import HOSTILE, Page, content, result

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")


def hostile_result() -> StudyResult:
    """HTML in every text of a study."""
    found = content(("spinal_canal_stenosis_l3_l4",), study=HOSTILE)
    found["provenance"] = HOSTILE
    found["models"] = [{"bundle": HOSTILE, "weights": {HOSTILE: HOSTILE}, "trained_on": HOSTILE}]
    found["volumes"] = {HOSTILE: HOSTILE, f"{HOSTILE}2": f"left out: {HOSTILE}"}
    for one in found["findings"]:
        one.update(coverage=HOSTILE, flags=[HOSTILE.replace(" ", "")])
    return result_of(found, HOSTILE, {HOSTILE: HOSTILE})


def in_browser(file: Path) -> str:
    """The document after its scripts ran."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "write", [lambda: study_html(StudyPage(hostile_result())), lambda: index_html([hostile_result()], [HOSTILE])]
)
def test_html_in_names_stays_text(write: Callable[[], str]) -> None:
    html = write()
    page, clean = Page(html), Page(index_html([result()]))
    assert HOSTILE in page.text
    assert len(page.of("script")) <= len(clean.of("script"))
    assert not page.of("img")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


@needs_chromium
@pytest.mark.slow
def test_a_browser_executes_nothing_of_the_input(tmp_path: Path) -> None:
    refused = StudyResult(HOSTILE, "x", refused=HOSTILE)
    for name, html in (
        ("study", study_html(StudyPage(hostile_result()))),
        ("refused", study_html(StudyPage(refused))),
        ("index", index_html([hostile_result(), refused], [HOSTILE])),
    ):
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
        assert "<title>executed</title>" not in in_browser(tmp_path / f"{name}.html")


@needs_chromium
@pytest.mark.slow
def test_the_script_of_the_index_runs_under_its_policy(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(index_html([result(study="a"), result(study="b")]), encoding="utf-8")
    document = in_browser(tmp_path / "index.html")
    assert "all 2 shown" in document
    assert '<form class="filters screen" id="filters">' in document
    assert document.count("<button") == 8  # seven columns, and one that shows all rows of a long table


def test_only_the_one_script_of_the_index_may_run() -> None:
    html = index_html([result()])
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    page = study_html(StudyPage(result()))
    assert "<script" not in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_pages_need_no_network() -> None:
    for html in (study_html(StudyPage(result())), index_html([result()])):
        page = Page(html)
        links = [
            value or ""
            for _, attributes in page.elements
            for name, value in attributes.items()
            if name in ("src", "href")
        ]
        assert not [link for link in links if "//" in link]
        assert "url(" not in html


def test_every_page_has_the_notice() -> None:
    refused = StudyResult("r", "r", refused="no lumbar spine found")
    for html in (
        study_html(StudyPage(result())),
        study_html(StudyPage(refused)),
        index_html([result()]),
        index_html([refused]),
    ):
        assert RESEARCH in Page(html).text


def test_a_refused_study_says_why() -> None:
    refused = StudyResult("r", "r", refused="no lumbar spine found", bad={"a.nii.gz": "cut short"})
    page = Page(study_html(StudyPage(refused)))
    assert "no lumbar spine found" in page.text
    assert "cut short" in page.text


def test_the_index_counts_studies_by_their_worst_grade_and_puts_the_worst_first() -> None:
    mild, bad = result(study="a"), result(("spinal_canal_stenosis_l4_l5",), study="b")
    html = index_html([mild, StudyResult("c", "c", refused="no spine"), bad, result(study="d", covered=False)])
    rows = [one["data-study"] for one in Page(html).of("tr") if "data-study" in one]
    assert rows == ["b", "a", "d", "c"]
    table = re.findall(r'<tr><th scope="row">Canal</th>(.*?)</tr>', html)
    assert re.findall(r"<td>(\d+)</td>", table[0]) == ["1", "0", "1", "1"]
    assert html.count('<th scope="row">') == len(Condition) + 4


def test_the_index_counts_and_sorts_by_the_readers_grade_and_says_so() -> None:
    def read(study: str, program: tuple[str, ...], **grades: str) -> StudyResult:
        found = content(program, study=study)
        for one in found["findings"]:
            if one["finding"] in grades:
                one["reader"] = {"grade": grades[one["finding"]], "by": "AB", "at": "2026-11-28T13:40:12Z"}
        return result_of(found, study)

    low, high = "spinal_canal_stenosis_l5_s1", "spinal_canal_stenosis_l1_l2"
    better, worse = read("better", (high,), **{high: "normal_mild"}), read("worse", (), **{low: "severe"})
    page = Page(index_html([better, read("program", (high,)), worse]))
    rows = {one["data-study"]: one["data-worst"] for one in page.of("tr") if "data-study" in one}
    # Of two severe ones, the program's with its probability of .7 is before the reader's.
    assert list(rows.items()) == [("program", "2"), ("worse", "2"), ("better", "0")]
    read_one = "(1\N{NO-BREAK SPACE}✎)"
    assert f"Canal1 {read_one}02 {read_one}0" in page.text  # normal/mild, moderate, severe, not seen
    assert "a reader's (✎) where there is one, otherwise the program's" in page.text
    assert page.text.count("program: severe L1/L2") == 1
    cells = [one for one in page.of("td") if one.get("data-rank")]
    assert [one["class"] for one in cells[::5]] == ["severe", "severe", "normal_mild"]


def test_links_of_the_index_lead_to_the_folders_of_studies() -> None:
    found = result(study="a")
    odd = StudyResult("x", "it's 100% – odd", findings=found.findings)
    (link,) = [one["href"] for one in Page(index_html([odd])).of("a") if (one["href"] or "").endswith("report.html")]
    assert link == "it%27s%20100%25%20%E2%80%93%20odd/report.html"


def test_thousands_of_studies_fit_into_the_index() -> None:
    found = result(("left_subarticular_stenosis_l4_l5",))
    many = [StudyResult(f"1.2.840.{n:060d}", str(n), findings=found.findings) for n in range(3000)]
    html = index_html(many)
    assert html.count("data-study=") == 3000
    assert len(html) < 6e6


def test_measures_are_a_table_with_errors_and_percentiles_and_unusual_ones_stand_out() -> None:
    entry = {"value": 8.24, "uncertainty": 1.1, "percentile": 3}
    usual = {"value": -4.2, "uncertainty": None, "percentile": 50}
    measures = {
        "volume": HOSTILE,
        "reference": "phantoms",
        "levels": {"l4_l5": {"canal_diameter_mm": entry, "disc_wedge_deg": usual, "canal_grade": "severe"}},
        "whole": {"lordosis_deg": {"value": 41.2, "uncertainty": 4.0, "percentile": None}},
    }
    html = study_html(StudyPage(result_of({**content(), "measures": measures}, "s1")))
    page = Page(html)
    for words in ("8.2 ± 1.1 mm", "percentile 3", "−4°", "41 ± 4°", HOSTILE):
        assert words.replace(" ", "") in page.text.replace(" ", "").replace("\N{NO-BREAK SPACE}", "")
    assert re.search(r"<b>8\.2", html)
    assert not re.search(r"<b>[^<]*4°", html)
    assert not page.of("img")


def test_a_study_without_measures_says_why_and_an_old_one_has_no_section() -> None:
    refused = {**content(), "measures": {"reason": "no sagittal volume shows two levels or more"}}
    assert "no sagittal volume shows two levels" in study_html(StudyPage(result_of(refused, "s1")))
    assert "Measures" not in study_html(StudyPage(result()))


def test_a_readers_grade_is_beside_the_programs_on_the_page_and_in_the_index() -> None:
    found = content(("spinal_canal_stenosis_l3_l4",))
    for one in found["findings"]:
        if one["finding"] == "left_subarticular_stenosis_l1_l2":
            one["reader"] = {"grade": "severe", "by": HOSTILE, "at": "2026-11-28T13:40:12Z"}
    found["reviewed"] = {"by": "CD", "at": "2026-11-29T13:40:12Z"}
    read = result_of(found, "s1")
    html = study_html(StudyPage(read))
    page = Page(html)
    assert page.text.count(f"✎ {HOSTILE}: severe") == 2  # in the table, and at the finding
    assert "left subarticular stenosis at L1/L2" in page.text
    assert "Reviewed by CD, 2026-11-29" in page.text
    assert "Worst finding:" in html
    assert not page.of("img")
    index = Page(index_html([read, result(study="s2")]))
    rows = {one["data-study"]: one["data-flags"] for one in index.of("tr") if "data-study" in one}
    assert rows == {"s1": " (reader) (reviewed)", "s2": " (open)"}
    assert index.text.count(f"✎ {HOSTILE}: severe L1/L2") == 1
    assert index.text.count("program: normal/mild") == 1
    assert "✎" not in Page(study_html(StudyPage(result()))).text
    assert "✎" not in Page(index_html([result()])).text
