import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import competition_score
from monai_spine.spine import FINDINGS, MISSING, Group, columns_of
from monai_spine.tables.ensemble import FittedEnsemble
from monai_spine.tables.ensemble_report import apply_ensemble, combine
from monai_spine.tables.out_of_fold import read_out_of_fold
from tests.monai_spine.tables.files import change_rows, part, simulated, written

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stacked() -> FittedEnsemble:
    s = simulated()
    return FittedEnsemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0)


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("combined")
    solution, submissions = written(folder, simulated(60))
    found = combine(read_out_of_fold(solution, submissions), folder / "out", method="stacked", folds=2, quiet=True)
    return folder, found


@pytest.mark.slow
def test_the_table_names_every_submission_and_every_method(combined) -> None:
    _, found = combined
    assert list(found.scores) == ["model_1", "model_2", "model_3", "mean", "ranks", "weighted", "stacked", "boosted"]
    expected = competition_score(simulated(60).labels, simulated(60).submissions.mean(axis=0)).score
    assert found.scores["mean"]["score"].value == pytest.approx(expected, abs=1e-6)
    assert "stacked against mean" in found.to_text()
    assert set(json.loads(found.to_json())["against_mean"]) == {"ranks", "weighted", "stacked", "boosted"}


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
    renamed = [path.rename(path.with_name(f"other_{path.name}")) for path in submissions[:2]]
    with pytest.raises(InvalidOptionError, match="expected the 3 submissions"):
        apply_ensemble(folder / "out" / "ensemble.json", renamed, tmp_path / "new")
    with pytest.raises(InvalidOptionError, match="or some of them by these names"):
        apply_ensemble(folder / "out" / "ensemble.json", [*renamed, *submissions[2:]][:2], tmp_path / "new")


@pytest.mark.slow
def test_a_stored_ensemble_without_one_of_its_models_shares_its_weight_among_the_others(combined, tmp_path) -> None:
    folder, found = combined
    simulation = part(simulated(60), slice(3))
    _, submissions = written(tmp_path, simulation)
    pairs = apply_ensemble(folder / "out" / "ensemble.json", submissions[1:], tmp_path / "new")
    assert list(pairs) == ["model_2", "model_3"]
    rows = simulation.submissions.copy()
    rows[0] = np.nan
    assert np.allclose(answers(tmp_path / "new", simulation.study_ids), found.ensemble.apply(rows), atol=1e-6)


def answers(folder: Path, study_ids) -> np.ndarray:
    table = pd.read_csv(folder / "predictions.csv").set_index("row_id")
    return np.array([[table.loc[f.row_id(study)].to_numpy() for f in FINDINGS] for study in study_ids])


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A model of everything, one of the canal alone, and one that lacks the canal and every third study."""
    simulation = simulated(60)
    solution, submissions = written(tmp_path_factory.mktemp("partial"), simulation)
    canal = "spinal_canal"
    change_rows(submissions[1], submissions[1], lambda rows: rows[rows["row_id"].str.contains(canal)])
    some = set(simulation.study_ids[::3])
    change_rows(
        submissions[2],
        submissions[2],
        lambda rows: rows[~rows["row_id"].str.contains(canal) & ~rows["row_id"].str.split("_").str[0].isin(some)],
    )
    return solution, submissions


@pytest.fixture(scope="module")
def covering(partial, tmp_path_factory: pytest.TempPathFactory):
    """Their table, what combines them, and the folder of its output."""
    table = read_out_of_fold(*partial)
    out = tmp_path_factory.mktemp("covering") / "out"
    found = combine(table, out, folds=2, quiet=True)
    assert found is not None
    return table, found, out


@pytest.mark.slow
def test_models_that_lack_rows_are_combined_where_they_have_them(covering) -> None:
    _, found, out = covering
    assert np.isfinite([scores["score"].value for name, scores in found.scores.items() if "model" not in name]).all()
    rows = answers(out, simulated(60).study_ids)
    one, two, three = simulated(60).submissions
    spinal, foraminal = columns_of(Group.SPINAL), columns_of(Group.FORAMINAL)
    assert rows[:, spinal] == pytest.approx((one + two)[:, spinal] / 2, abs=1e-6)
    assert rows[::3, foraminal] == pytest.approx(one[::3, foraminal], abs=1e-6)
    assert rows[1::3, foraminal] == pytest.approx((one + three)[1::3, foraminal] / 2, abs=1e-6)


@pytest.mark.slow
def test_a_submission_is_scored_on_its_own_rows_and_the_coverage_is_told(covering) -> None:
    table, found, out = covering
    simulation = simulated(60)
    expected = competition_score(simulation.labels, simulation.submissions[1]).spinal
    assert found.scores["model_2"]["spinal"].value == pytest.approx(expected, abs=1e-6)
    assert np.isnan(found.scores["model_2"]["foraminal"].value)
    assert np.isnan(found.scores["model_2"]["score"].value)
    coverage = pd.read_csv(out / "coverage.csv").set_index(["submission", "condition"])
    assert coverage.loc[("model_2", "spinal_canal_stenosis"), "rows"] == 300
    assert coverage.loc[("model_3", "spinal_canal_stenosis"), "rows"] == 0
    assert coverage.loc[("model_3", "left_subarticular_stenosis"), "rows"] == 200
    assert coverage["labelled_rows"].sum() == (table.covered & (table.grades != MISSING)).sum()
    assert "model_3" in found.to_text().split("studies", 1)[1]


@pytest.mark.slow
def test_models_of_the_canal_alone_are_scored_by_the_parts_that_they_have(partial, tmp_path: Path) -> None:
    solution, submissions = partial
    canal = change_rows(
        submissions[0], tmp_path / "canal.csv", lambda rows: rows[rows["row_id"].str.contains("spinal_canal")]
    )
    table = read_out_of_fold(solution, [canal, submissions[1]])
    found = combine(table, tmp_path / "out", method="weighted", folds=2, quiet=True)
    assert found is not None
    parts = found.scores["mean"]
    expected = (parts["spinal"].value + parts["any_severe_spinal"].value) / 2
    assert parts["score"].value == pytest.approx(expected)
    assert "score: the mean of spinal, any_severe_spinal" in found.to_text()
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 300


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
