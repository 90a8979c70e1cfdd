"""``python -m data_prep check``: files, exit codes, the report's text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_prep import cli
from data_prep.check.faults import Code
from data_prep.check.point_faults import named
from data_prep.check.run import check
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.spine import FINDINGS, Level, SeriesType
from tests.cohorts import write_datalist
from tests.data_prep.check_cohort import Spoiled

CANAL_L3 = "spinal_canal_stenosis_l3_l4"


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, word: str = "") -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag and word in ["", *(attrs.get("class") or "").split()]]


@pytest.fixture
def data(clean_cohort, tmp_path):
    return Spoiled(clean_cohort, tmp_path / "data")


def run(*words: object):
    return CliRunner().invoke(cli.app, ["check", *map(str, words), "--quiet"])


def test_a_clean_data_set_ends_with_0_and_three_files_beside_the_datalist(data):
    result = run(data.save())
    assert result.exit_code == 0
    assert "2 studies of 2 patients, 6 volumes read. No errors, no warnings" in result.stdout
    assert {path.name for path in (data.folder / "check").iterdir()} == {
        "check.html", "check.json", "fingerprint.json",
    }  # fmt: skip


def test_errors_end_with_3_and_the_json_names_the_study_and_what_to_do(data, tmp_path):
    study = data.entries[1]["study_id"]
    data.points(1)[CANAL_L3][1] += 300
    result = run(data.save(), "--out", tmp_path / "out", "--json")
    assert result.exit_code == 3
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "check.json").read_text())
    assert content["schema"] == "monai_spine/check/1"
    assert content["counts"] == {"error": 1, "warning": 0, "note": 0}
    (finding,) = content["findings"]
    assert (finding["code"], finding["severity"], finding["study"]) == ("POINT_OUTSIDE", "error", study)
    assert finding["targets"] == [CANAL_L3] and finding["advice"]
    assert len(content["volumes"]) == 6
    assert content["fingerprint"] == json.loads((tmp_path / "out" / "fingerprint.json").read_text())


def test_several_workers_write_the_same_bytes(data, tmp_path):
    data.points(1)[CANAL_L3][1] += 300
    path = data.save()
    for workers in (1, 2):
        check(path, tmp_path / str(workers), workers=workers, quiet=True)
    for name in ("check.html", "check.json", "fingerprint.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_report_shows_the_study_with_its_points_and_rings_what_is_wrong(data):
    data.points(1)[CANAL_L3][1] += 300
    _, out = check(data.save(), quiet=True)
    page = Page((out / "check.html").read_text())
    (card,) = page.of("article")
    assert card["id"] == "study-1"
    sources = [attrs["href"] for attrs in page.of("image")]
    assert len(sources) == len(SeriesType)
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert len(page.of("circle", "ring")) == 1 + 1  # the legend's and the point's
    canal = [attrs for attrs in page.of("path", "canal") if "halo" not in attrs["class"]]
    assert len(canal) == 1 + len(Level)
    assert "87 mm" not in page.text and re.search(r"spinal L3/L4 \d+ mm beyond the nearest volume", page.text)


def test_text_from_the_input_is_escaped(data):
    data.entries[1]["study_id"] = "<script>alert('x')</script>"
    data.entries[1]["sagittal_t2"] = ['"><img src=x onerror=alert(1)>.nii']
    data.entries[0]["fold"] = "<b>bold</b>"
    _, out = check(data.save(), quiet=True)
    page = Page((out / "check.html").read_text())
    assert not {"script", "img", "b onerror"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert('x')</script>" in page.text
    assert "onerror=alert(1)>.nii" in page.text


def test_the_report_needs_no_network(data):
    data.points(1)[CANAL_L3][1] += 300
    _, out = check(data.save(), quiet=True)
    html = (out / "check.html").read_text()
    page = Page(html)
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "href"}]
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in html and "@import" not in html
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_no_more_studies_are_pictured_than_asked_for(data):
    for n in (0, 1):
        data.points(n)[CANAL_L3][1] += 300
    _, out = check(data.save(), pictures=1, quiet=True)
    page = Page((out / "check.html").read_text())
    assert len(page.of("article")) == 1
    assert "1 study more with errors or warnings has no picture here" in page.text


def test_a_fingerprint_can_be_the_whole_earlier_check(data, tmp_path):
    path = data.save()
    _, out = check(path, quiet=True)
    for name in ("fingerprint.json", "check.json"):
        result = run(path, "--fingerprint", out / name, "--out", tmp_path / name)
        assert result.exit_code == 0
        assert "No errors, no warnings" in result.stdout
        assert f"range of the fingerprint compared with, {name}" in (tmp_path / name / "check.html").read_text()


def test_another_field_of_view_than_the_fingerprints_is_told(data, tmp_path):
    _, out = check(data.save(), quiet=True)
    data.edit(1, lambda voxels, affine: (np.pad(voxels, ((0, 200), (0, 200), (0, 0))), affine))
    checked, _ = check(data.save(), tmp_path / "out", fingerprint=out / "fingerprint.json", pictures=0, quiet=True)
    (fault,) = checked.faults
    assert (fault.code, fault.number) == (Code.OUTSIDE_FINGERPRINT, 1)
    assert "field of view, width" in fault.found


def test_a_fingerprint_names_no_study(data):
    _, out = check(data.save(), quiet=True)
    text = (out / "fingerprint.json").read_text()
    assert not any(entry["study_id"] in text for entry in data.entries)


def test_a_datalist_without_labels_points_or_folds_is_checked(data):
    for entry in data.entries:
        for key in ("label", "points", "fold"):
            del entry[key]
    data.content["test"], data.content["training"] = data.entries, []
    checked, out = check(data.save(), quiet=True)
    assert checked.faults == []
    assert "none graded" in (out / "check.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": [], "test": []}, "expected studies"),
        ({"schema": "other"}, "expected the schema"),
        ({"classes": ["a"], "training": [{"image": ["a.png"], "label": 0}]}, "one of images for classification"),
        ({"training": "all of them"}, "expected 'training' as a list"),
    ],
)
def test_what_is_no_datalist_of_studies_is_refused(tmp_path, content, message):
    path = tmp_path / "datalist.json"
    write_datalist(path, [])
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(InvalidTableError, match=message):
        check(path, quiet=True)
    assert not (tmp_path / "check").exists()


def test_a_datalist_that_is_not_there_and_unusable_options_are_refused(data, tmp_path):
    with pytest.raises(MissingInputError, match="no file"):
        check(tmp_path / "none.json", quiet=True)
    with pytest.raises(InvalidOptionError, match="--pictures -1"):
        check(data.save(), pictures=-1, quiet=True)


def test_all_25_findings_can_be_named_for_people():
    assert len({named(finding) for finding in FINDINGS}) == 25


def test_the_documentation_explains_every_code():
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "check.md").read_text()
    assert all(f"`{code.value}`" in text for code in Code)
