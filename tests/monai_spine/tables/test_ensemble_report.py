import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import competition_score
from monai_spine.spine import FINDINGS
from monai_spine.tables.ensemble import Ensemble
from monai_spine.tables.ensemble_report import apply_ensemble, combine
from monai_spine.tables.out_of_fold import read_out_of_fold
from tests.monai_spine.tables.files import part, simulated, written

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stacked() -> Ensemble:
    s = simulated()
    return Ensemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0)


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("combined")
    solution, submissions = written(folder, simulated(60))
    found = combine(read_out_of_fold(solution, submissions), folder / "out", method="stacked", folds=2, quiet=True)
    return folder, found


@pytest.mark.slow
def test_the_table_names_every_submission_and_every_method(combined) -> None:
    _, found = combined
    assert list(found.scores) == ["model_1", "model_2", "model_3", "mean", "weighted", "stacked"]
    expected = competition_score(simulated(60).labels, simulated(60).submissions.mean(axis=0)).score
    assert found.scores["mean"]["score"].value == pytest.approx(expected, abs=1e-6)
    assert "stacked against mean" in found.to_text()
    assert set(json.loads(found.to_json())["against_mean"]) == {"weighted", "stacked"}


@pytest.mark.slow
def test_the_rows_that_are_written_score_what_the_table_says(combined) -> None:
    folder, found = combined
    table = pd.read_csv(folder / "out" / "predictions.csv").set_index("row_id")
    s = simulated(60)
    rows = np.array([[table.loc[f.row_id(study)].to_numpy() for f in FINDINGS] for study in s.study_ids])
    assert competition_score(s.labels, rows).score == pytest.approx(found.scores["stacked"]["score"].value, abs=1e-6)


@pytest.mark.slow
def test_a_stored_ensemble_takes_submissions_by_name_in_any_order(combined, tmp_path: Path) -> None:
    folder, found = combined
    _, submissions = written(tmp_path, part(simulated(60), slice(3)))
    pairs = apply_ensemble(folder / "out" / "ensemble.json", submissions[::-1], tmp_path / "new")
    assert pairs == {name: name for name in ("model_1", "model_2", "model_3")}
    table = pd.read_csv(tmp_path / "new" / "predictions.csv").set_index("row_id")
    expected = found.ensemble.apply(simulated(60).submissions[:, :3])
    name = f"{simulated(60).study_ids[1]}_{FINDINGS[7].name}"
    assert np.allclose(table.loc[name], expected[1, 7], atol=1e-6)


@pytest.mark.slow
def test_a_stored_ensemble_wants_as_many_submissions_as_it_was_made_of(combined, tmp_path: Path) -> None:
    folder, _ = combined
    _, submissions = written(tmp_path, part(simulated(60), slice(3)))
    with pytest.raises(InvalidOptionError, match="expected the 3 submissions"):
        apply_ensemble(folder / "out" / "ensemble.json", submissions[:2], tmp_path / "new")


def test_the_mean_needs_no_labels(tmp_path: Path) -> None:
    simulation = part(simulated(), slice(3))
    _, submissions = written(tmp_path, simulation)
    assert combine(read_out_of_fold(None, submissions), tmp_path / "out") is None
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("row_id")
    name = f"{simulation.study_ids[0]}_{FINDINGS[0].name}"
    assert np.allclose(table.loc[name], simulation.submissions[:, 0, 0].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("count", "method", "message"), [(1, "mean", "at least two"), (3, "stacked", "--solution")])
def test_what_cannot_be_combined_is_refused(count: int, method: str, message: str, tmp_path: Path) -> None:
    _, submissions = written(tmp_path, part(simulated(), slice(3)))
    with pytest.raises(InvalidOptionError, match=message):
        combine(read_out_of_fold(None, submissions[:count]), tmp_path / "out", method=method)
