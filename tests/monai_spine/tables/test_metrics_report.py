import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_models import Simulation
from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.prevalence import WEIGHTS, natural_prevalence
from monai_spine.spine import FINDINGS, MISSING
from monai_spine.tables.metrics_report import measure, pools
from monai_spine.tables.out_of_fold import OutOfFold, read_out_of_fold
from tests.monai_spine.tables.files import change_rows, simulated, written


def out_of_fold(simulation: Simulation, probabilities: np.ndarray | None = None) -> OutOfFold:
    rows = simulation.submissions[0] if probabilities is None else probabilities
    present = np.ones((1, *simulation.labels.shape), dtype=bool)
    studies = tuple(simulation.study_ids)
    return OutOfFold(("model",), studies, studies, simulation.labels, rows[None], present, None)


def test_the_summary_has_every_pool_and_counts_every_label_once_in_each_kind() -> None:
    simulation = simulated()
    found = measure(out_of_fold(simulation), replicates=20)
    content = json.loads(found.to_json())
    known = int((simulation.labels != MISSING).sum())
    for kind in ("all", "groups", "conditions", "levels", "findings"):
        assert sum(pool["rows"] for pool in content[kind].values()) == known, kind
    assert set(content["findings"]) == {finding.name for finding in FINDINGS}
    assert len(content["sides"]) == 2
    assert len(found.pools) == len(pools())
    expected = competition_score(simulation.labels, simulation.submissions[0]).as_dict()
    assert {part: figure["value"] for part, figure in content["score"].items()} == pytest.approx(expected, abs=1e-6)
    assert "kappa_quadratic" in found.to_text()


def test_a_model_of_some_conditions_has_the_figures_that_it_has_among_all(tmp_path: Path) -> None:
    solution, submissions = written(tmp_path, simulated())
    recesses = change_rows(
        submissions[0], tmp_path / "recesses.csv", lambda rows: rows[rows["row_id"].str.contains("subarticular")]
    )
    whole, own = (measure(read_out_of_fold(solution, [path]), replicates=20) for path in (submissions[0], recesses))
    assert own.score["subarticular"] == whole.score["subarticular"]
    assert np.isnan(own.score["score"].value)
    found, expected = (
        {pool.pool.name: pool for pool in report.pools if pool.pool.division == "groups"} for report in (own, whole)
    )
    assert found["subarticular"].as_dict() == expected["subarticular"].as_dict()
    assert own.left_out == (simulated().labels[:, :15] != MISSING).sum()
    assert "subarticular" in own.to_text()
    assert "foraminal  " not in own.to_text().split("auc_severe")[0].splitlines()[-1]


def test_weighted_decisions_find_more_severe_findings_and_change_no_area() -> None:
    simulation = simulated()
    natural, weighted = (
        measure(out_of_fold(simulation), decision=how, replicates=5) for how in ("natural", "weighted")
    )
    first, second = (found.pools[0].figures for found in (natural, weighted))
    assert second["sensitivity_severe"].value > first["sensitivity_severe"].value
    assert second["auc_severe"] == first["auc_severe"]


def test_natural_probabilities_give_the_figures_that_their_weighted_form_gives() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    given_weighted = measure(out_of_fold(simulation, natural * WEIGHTS), replicates=5)
    given_natural = measure(out_of_fold(simulation, natural), tilted=False, replicates=5)
    for one, other in zip(given_weighted.pools, given_natural.pools, strict=True):
        for name, figure in one.figures.items():
            assert figure.value == pytest.approx(other.figures[name].value, abs=1e-9, nan_ok=True), name
