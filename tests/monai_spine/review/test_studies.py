"""The list of studies: which are there, in which order, and that names of files lead nowhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.review.run import review_server
from monai_spine.review.studies import Order, ReviewStudies, doubtful_grades
from tests.cohorts import write_study
from tests.monai_spine.report.results import HOSTILE, result
from tests.monai_spine.review.outputs import CANAL, Site, serving, write_output


def listed(out: Path, order: Order) -> list[str]:
    return [one["study"] for one in ReviewStudies(out).listed(order)]


def test_the_doubt_is_the_number_of_wrong_grades_that_the_probabilities_expect() -> None:
    assert doubtful_grades(result()) == pytest.approx(25 * 0.1, abs=1e-3)
    assert doubtful_grades(result((CANAL,))) == pytest.approx(24 * 0.1 + 0.3, abs=1e-3)


def test_the_most_doubtful_come_first_and_uncertain_levels_before_all(tmp_path: Path) -> None:
    out = write_output(tmp_path, ["a", "b", "c"], sure=[0.9, 0.6, 0.8])
    assert listed(out, Order.UNCERTAINTY) == ["b", "c", "a"]
    content = json.loads((out / "a" / "findings.json").read_text())
    content["findings"][0]["flags"] = ["uncertain_level"]
    (out / "a" / "findings.json").write_text(json.dumps(content))
    assert listed(out, Order.UNCERTAINTY) == ["a", "b", "c"]
    assert listed(out, Order.NAME) == ["a", "b", "c"]


def test_the_page_says_where_the_canals_diameter_decides(tmp_path: Path) -> None:
    out = write_output(tmp_path, ["a"])
    content = json.loads((out / "a" / "findings.json").read_text())
    images = dict.fromkeys(("normal_mild", "moderate"), 0.0) | {"severe": 1.0}
    content["findings"][3] |= {"diameter_mm": 12.4, "natural_of_images": images}
    (out / "a" / "findings.json").write_text(json.dumps(content))
    with serving(out) as site:
        found = {one["name"]: one["flags"] for one in site.client.get("/api/studies/0")["findings"]}
    assert [name for name, flags in found.items() if any("12 mm decides" in flag for flag in flags)] == [CANAL]


def test_a_readers_grade_counts_in_the_list_and_is_not_in_doubt(tmp_path: Path) -> None:
    out = write_output(tmp_path, ["a", "b"], sure=[0.6, 0.61])
    assert listed(out, Order.UNCERTAINTY) == ["a", "b"]
    with serving(out) as site:
        first = site.client.get("/api/studies")["studies"][0]
        assert (first["study"], first["tone"], first["read"]) == ("a", "normal_mild", False)
        site.client.post(0, version=0, what="grade", finding=CANAL, after="severe")
        shown = {one["study"]: one for one in site.client.get("/api/studies")["studies"]}
        assert (shown["a"]["tone"], shown["a"]["worst"], shown["a"]["read"]) == ("severe", "severe", True)
        assert shown["a"]["doubtful"] == pytest.approx(24 * 0.4, abs=0.1)
    assert listed(out, Order.WORST) == ["a", "b"]
    assert listed(out, Order.UNCERTAINTY) == ["b", "a"]


def test_the_worst_come_first_and_refused_ones_last(tmp_path: Path) -> None:
    out = write_output(tmp_path, ["a", "b", "c"])
    content = json.loads((out / "c" / "findings.json").read_text())
    content["findings"][3]["grade"] = "severe"
    (out / "c" / "findings.json").write_text(json.dumps(content))
    shutil.rmtree(out / "a")
    (out / "a").mkdir()
    (out / "a" / "outcome.json").write_text(json.dumps({"study_id": "a", "refused": "no lumbar spine found"}))
    assert listed(out, Order.WORST) == ["c", "b", "a"]
    assert listed(out, Order.UNCERTAINTY)[-1] == "a"


@pytest.mark.parametrize("made", ["nothing", "empty", "other", "file"])
def test_a_folder_without_findings_is_refused_with_what_to_do(tmp_path: Path, made: str) -> None:
    out = tmp_path / "out"
    if made in {"empty", "other"}:
        (out / "x").mkdir(parents=True)
    if made == "other":
        (out / "x" / "points.json").write_text("{}")
    if made == "file":
        out.write_text("")
    with pytest.raises(MissingInputError, match="grade studies first: monai-spine predict"):
        ReviewStudies(out)


def test_findings_without_any_volume_are_refused_until_the_inputs_are_named(tmp_path: Path) -> None:
    out = write_output(tmp_path / "out", ["s1", "s2"], volumes=False)
    with pytest.raises(MissingInputError, match="-i nifti/"):
        ReviewStudies(out)
    write_study(tmp_path / "nifti" / "s2", np.random.default_rng(0))
    studies = ReviewStudies(out, [tmp_path / "nifti"])
    assert [len(studies.study(n).volumes) for n in range(2)] == [0, 3]
    assert [one["images"] for one in studies.listed(Order.NAME)] == [False, True]


@pytest.mark.parametrize("folder", ["../secret", "/etc", ".", "volumes/../../secret", "volumes"])
def test_folders_that_findings_name_lead_nowhere_outside(tmp_path: Path, folder: str) -> None:
    out = write_output(tmp_path / "out", ["a", "b"])
    write_study(tmp_path / "secret", np.random.default_rng(0))
    content = json.loads((out / "b" / "findings.json").read_text())
    names = {"sagittal_t2.nii.gz": "sagittal_t2", "../../secret/sagittal_t1.nii.gz": "sagittal_t1"}
    (out / "b" / "findings.json").write_text(json.dumps({**content, "folder": folder, "volumes": names}))
    assert ReviewStudies(out).study(1).volumes == ()


def test_a_link_among_the_volumes_that_leads_outside_is_no_volume(tmp_path: Path) -> None:
    out = write_output(tmp_path / "out", ["a"])
    write_study(tmp_path / "secret", np.random.default_rng(0))
    file = out / "volumes" / "a" / "axial_t2.nii.gz"
    file.unlink()
    file.symlink_to(tmp_path / "secret" / "axial_t2.nii.gz")
    assert [one.name for one in ReviewStudies(out).study(0).volumes] == ["sagittal_t2.nii.gz", "sagittal_t1.nii.gz"]


def test_five_hundred_studies_are_listed_with_their_corrections(tmp_path: Path) -> None:
    names = [f"{n:04d}" for n in range(500)]
    out = write_output(tmp_path, names[:1])
    text = (out / "0000" / "findings.json").read_text()
    for name in names[1:]:
        (out / name).mkdir()
        (out / name / "findings.json").write_text(text.replace('"study_id": "0000"', f'"study_id": "{name}"'))
    with serving(out, order=Order.NAME) as site:
        site.client.post(7, version=0, what="done", after=True)
        studies = site.client.get("/api/studies")["studies"]
        assert [one["study"] for one in studies] == names
        assert [one["study"] for one in studies if one["done"]] == ["0007"]
        assert site.client.get("/api/studies/499")["study"] == "0499"
    assert ReviewStudies(out).listed(Order.NAME)[7]["done"]["by"] == "AB"


def test_names_with_html_are_text_in_every_answer(tmp_path: Path) -> None:
    out = write_output(tmp_path, [HOSTILE])
    with serving(out) as site:
        for path in ("/api/studies", "/api/studies/0"):
            answer = site.client.ask("GET", path)
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            assert HOSTILE in json.dumps(json.loads(answer.content), ensure_ascii=False).replace('\\"', '"')
        assert HOSTILE.encode() not in site.client.ask("GET", "/").content


def test_a_port_that_is_taken_is_refused_with_what_to_do(site: Site) -> None:
    with pytest.raises(InvalidOptionError, match="--port"):
        review_server(site.out, port=site.server.access.port)
    with pytest.raises(InvalidOptionError, match="--port"):
        review_server(site.out, port=99999)
