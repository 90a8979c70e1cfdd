import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from monai_spine.data.datalist import read_datalist
from monai_spine.data.volume import Volume
from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.scoring.competition import natural_prevalence
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, SeriesType
from monai_spine.tables.audit.contact_sheet import SIDE_MM, SIDE_PIXELS, NoPictureError, nearest_volume, slice_picture
from monai_spine.tables.audit.report import audit
from monai_spine.tables.audit.suspects import expected_distances, find_suspects, label_errors, threshold_table
from tests.cohorts import affine_of, write_cohort
from tests.monai_spine.tables.files import simulated, write_labels


def test_the_error_is_the_largest_difference_between_probability_and_label() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    errors = label_errors(simulation.labels, natural)
    by_hand = np.abs(natural - (simulation.labels[..., None] == np.arange(3))).max(axis=-1)
    known = simulation.labels != MISSING
    assert np.allclose(errors[known], by_hand[known])
    assert (errors[~known] == 0).all()


@given(st.integers(0, 2), st.floats(0, 1), st.floats(0, 1))
def test_the_expected_distance_by_hand(label: int, moderate: float, severe: float) -> None:
    rows = np.array([1.0, moderate, severe]) / (1 + moderate + severe)
    found = expected_distances(np.array([[label]]), rows[None, None])[0, 0]
    assert found == pytest.approx(sum(p * abs(grade - label) for grade, p in enumerate(rows)))


def test_wrong_labels_are_found_and_those_off_by_two_come_first() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions.mean(axis=0))
    known = simulation.labels != MISSING
    off = np.abs(simulation.labels - simulation.truth)[known]
    distances, errors = (f(simulation.labels, natural)[known] for f in (expected_distances, label_errors))
    assert average_precision_score(off > 0, distances) > 5 * (off > 0).mean()
    assert average_precision_score(off > 1, distances) > average_precision_score(off > 1, errors)
    assert (off[errors > 0.8] > 0).mean() > 0.9


def test_suspects_fall_in_suspicion_and_thresholds_flag_ever_fewer() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    found = find_suspects(simulation.study_ids, simulation.labels, natural, 0.8)
    distances = [one.distance for one in found]
    assert distances == sorted(distances, reverse=True)
    assert all(one.error > 0.8 for one in found)
    table = threshold_table(simulation.labels, natural)
    assert [row.flagged for row in table] == sorted((row.flagged for row in table), reverse=True)
    assert next(row.flagged for row in table if row.threshold == 0.8) == len(found)


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, Path, Path, np.ndarray]:
    """A datalist with a point for every finding, its solution, and a submission that doubts two labels."""
    datalist = write_cohort(tmp_path / "nifti", studies=3)
    content = json.loads(datalist.read_text())
    for entry in content["training"]:
        entry["label"] = [0] * 25
        entry["points"] = {target: [2.0, 3.0, -5.0] for target in TARGETS}
    datalist.write_text(json.dumps(content))
    ids = tuple(entry["study_id"] for entry in content["training"])
    labels = np.zeros((3, 25), dtype=np.int64)
    rows = np.tile([0.9, 0.06, 0.04], (3, 25, 1))
    rows[0, 3] = rows[0, 20] = [0.01, 0.01, 0.98]
    rows[1, 9] = [0.02, 0.96, 0.02]
    solution = write_labels(tmp_path / "solution.csv", ids, labels)
    write_predictions(tmp_path / "oof.csv", ids, rows)
    return datalist, solution, tmp_path / "oof.csv", labels


def test_doubted_labels_go_from_the_cleaned_datalist_and_nothing_else_does(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    found = audit(solution, submission, tmp_path / "a" / "audit", datalist=datalist, quiet=True)
    before, after = read_datalist(datalist), read_datalist(tmp_path / "a" / "audit" / "datalist.json")
    assert [(s, t) for s in range(3) for t in range(25) if after[s]["label"][t] != before[s]["label"][t]] == [
        (0, 3),
        (0, 20),
        (1, 9),
    ]
    assert after[0]["label"][3] == MISSING
    assert [Path(r["sagittal_t1"][0]).resolve() for r in after] == [Path(r["sagittal_t1"][0]) for r in before]
    assert len(found.suspects) == 3


def test_studies_with_many_doubted_labels_can_be_left_out_instead(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    audit(solution, submission, tmp_path / "audit", datalist=datalist, drop_studies=2, quiet=True)
    after = read_datalist(tmp_path / "audit" / "datalist.json")
    assert [record["study_id"] for record in after] == [r["study_id"] for r in read_datalist(datalist)][1:]
    assert all((record["label"] == 0).all() for record in after)


def test_the_table_lists_what_is_doubted_most_first(cohort, tmp_path: Path) -> None:
    _, solution, submission, _ = cohort
    audit(solution, submission, tmp_path / "audit", quiet=True)
    table = pd.read_csv(tmp_path / "audit" / "audit.csv", dtype={"study_id": str})
    assert list(table["rank"]) == [1, 2, 3]
    assert set(table["row_id"][:2]) == {FINDINGS[n].row_id(table["study_id"][0]) for n in (3, 20)}
    assert list(table["likeliest"]) == ["Severe", "Severe", "Moderate"]
    assert (tmp_path / "audit" / "thresholds.csv").read_text().count("\n") == 7
    assert "pictures need --datalist" in (tmp_path / "audit" / "audit.html").read_text()


def test_the_contact_sheet_shows_a_picture_for_each_or_says_why_not(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    content = json.loads(datalist.read_text())
    del content["training"][0]["points"][TARGETS[3]]
    content["training"][1]["points"][TARGETS[9]] = [900.0, 0.0, 0.0]
    datalist.write_text(json.dumps(content))
    audit(solution, submission, tmp_path / "audit", datalist=datalist, quiet=True)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count("<article") == 3
    assert page.count("data:image/jpeg") == 1
    assert "no point in the datalist" in page
    assert "mm away" in page


def test_the_sheet_shows_no_more_than_asked_for(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    audit(solution, submission, tmp_path / "audit", datalist=datalist, pictures=1, quiet=True)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count("<article") == 1
    assert "the first 1 are shown" in page


def test_the_datalist_of_another_solution_is_refused(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    content = json.loads(datalist.read_text())
    content["training"][0]["label"][3] = 1
    datalist.write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match="other labels than the solution for 1 finding"):
        audit(solution, submission, tmp_path / "audit", datalist=datalist, quiet=True)


@pytest.mark.parametrize(
    ("options", "message"), [({"threshold": 1.5}, "--threshold"), ({"drop_studies": 2}, "--datalist")]
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str, cohort, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        audit(cohort[1], cohort[2], tmp_path / "audit", quiet=True, **options)


def test_labels_that_nothing_contradicts_give_an_empty_table(cohort, tmp_path: Path) -> None:
    found = audit(cohort[1], cohort[2], tmp_path / "audit", threshold=0.999, quiet=True)
    assert not found.suspects
    assert "None at this threshold" in (tmp_path / "audit" / "audit.html").read_text()


@pytest.mark.parametrize("kind", list(SeriesType))
def test_a_crop_shows_the_patient_as_people_look_at_it(kind: SeriesType) -> None:
    affine = affine_of(kind)
    shape = (40, 48, 9)
    steps = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = steps @ affine[:3, :3].T + affine[:3, 3]
    axis = 1  # anterior
    volume = Volume((world[..., axis] - world[..., axis].min() + 1).astype(np.float32), affine)
    picture = np.asarray(slice_picture(volume, affine[:3, :3] @ [20, 24, 4] + affine[:3, 3]).convert("L"), dtype=float)
    assert picture.shape == (SIDE_PIXELS, SIDE_PIXELS)
    if kind is SeriesType.AXIAL_T2:
        assert picture[20].mean() > picture[-20].mean()  # anterior on top
    else:
        assert picture[:, 20].mean() > picture[:, -20].mean()  # anterior on the left


def test_the_middle_of_a_crop_is_the_point_and_its_side_is_in_millimetres() -> None:
    affine = np.diag([0.5, 0.5, 4.0, 1.0])
    voxels = np.zeros((300, 300, 5), dtype=np.float32)
    voxels[:] = 10
    voxels[149:152, 149:152, 2] = 1000
    bright = np.asarray(slice_picture(Volume(voxels, affine), [75.0, 75.0, 8.9]).convert("L"), dtype=float)
    inner = bright[SIDE_PIXELS // 2 - 20 : SIDE_PIXELS // 2 + 20, SIDE_PIXELS // 2 - 20 : SIDE_PIXELS // 2 + 20]
    at = np.argwhere(inner > inner.max() / 2)
    assert at.mean(axis=0) == pytest.approx([19.5, 19.5], abs=1)
    assert np.ptp(at[:, 0]) * SIDE_MM / SIDE_PIXELS == pytest.approx(1.5, abs=0.8)


def test_no_crop_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="no such series"):
        nearest_volume([], [0, 0, 0])
    with pytest.raises(NoPictureError, match="cannot be read"):
        nearest_volume([tmp_path / "none.nii.gz"], [0, 0, 0])
