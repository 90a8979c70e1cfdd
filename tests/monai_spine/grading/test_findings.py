import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.files import safe_name
from monai_spine.grading.findings import study_findings, write_findings
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.prevalence import natural_prevalence
from monai_spine.spine import TARGETS, SeriesType
from tests.cohorts import SHAPE, affine_of, write_volume


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("data") / "4003253"
    kinds = (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)
    files = [write_volume(folder / f"{kind.value}.nii.gz", np.ones(SHAPE, np.int16), affine_of(kind)) for kind in kinds]
    return {
        "study_id": "4003253",
        "sagittal_t1": [str(files[0])],
        "sagittal_t2": [str(files[1])],
        "axial_t2": [],
        "points": {TARGETS[0]: (1.0, 2.0, 3.0)},
    }


ROWS = np.random.default_rng(0).dirichlet([1, 1, 1], size=25)


def test_undoing_the_weights_of_a_weighted_prior_gives_the_shares_of_the_grades() -> None:
    labels = np.random.default_rng(1).choice([0, 1, 2], size=(200, 25), p=[0.7, 0.2, 0.1])
    shares = np.stack([(labels == grade).mean(axis=0) for grade in range(3)], axis=-1)
    assert np.allclose(natural_prevalence(level_prior(labels)), shares)


def test_every_finding_is_there_once_with_both_kinds_of_probability(record: dict) -> None:
    findings = study_findings(record, ROWS)["findings"]
    assert [entry["finding"] for entry in findings] == list(TARGETS)
    for entry, row in zip(findings, ROWS, strict=True):
        assert list(entry["weighted"].values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert sum(entry["natural"].values()) == pytest.approx(1, abs=1e-5)
        assert entry["grade"] == max(entry["natural"], key=entry["natural"].get)


def test_given_natural_probabilities_take_the_place_of_those_with_the_weights_divided_out(record: dict) -> None:
    natural = ROWS[:, ::-1]
    for entry, row in zip(study_findings(record, ROWS, natural)["findings"], natural, strict=True):
        assert list(entry["natural"].values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_a_missing_series_is_told_where_it_matters_and_flagged_everywhere(record: dict) -> None:
    points = dict.fromkeys(TARGETS, (1.0, 2.0, 3.0))
    findings = {entry["finding"]: entry for entry in study_findings({**record, "points": points}, ROWS)["findings"]}
    recess = findings["left_subarticular_stenosis_l4_l5"]
    assert (recess["coverage"], recess["series"]) == ("no Axial T2", None)
    assert findings["spinal_canal_stenosis_l1_l2"]["series"] == "sagittal_t2.nii.gz"
    assert all("missing_axial_t2" in entry["flags"] for entry in findings.values())


def test_a_known_point_is_given_in_mm_and_an_unknown_one_is_null_and_not_covered(record: dict) -> None:
    first, second, *_ = study_findings(record, ROWS)["findings"]
    assert (first["point"], second["point"]) == ([1.0, 2.0, 3.0], None)
    assert "not_covered" not in first["flags"]
    assert "not_covered" in second["flags"]


def test_paths_of_the_machine_stay_out(record: dict, tmp_path: Path) -> None:
    text = write_findings(tmp_path, study_findings(record, ROWS)).read_text()
    assert str(Path(record["sagittal_t1"][0]).parent) not in text
    assert json.loads(text)["provenance"].startswith("Research software")


@given(st.text(min_size=1))
def test_no_study_id_leads_out_of_the_folder(study_id: str) -> None:
    name = safe_name(study_id)
    assert name not in {"", ".", ".."}
    assert Path("out", name).resolve().parent == Path("out").resolve()


@pytest.mark.parametrize("study_id", ["log.txt", "manifest.csv", "Quality.CSV", "run.json", "parts", "volumes", "NUL"])
def test_no_study_has_the_name_of_an_output_of_all_studies(study_id: str) -> None:
    assert safe_name(study_id) == f"{study_id}_"
    assert safe_name(safe_name(study_id)) == f"{study_id}_"
