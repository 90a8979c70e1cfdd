import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError
from monai_spine.scoring.competition import competition_score
from monai_spine.spine import FLIPPED, MISSING, Grade
from monai_spine.tables.ensemble import Ensemble
from tests.monai_spine.tables.files import part, simulated

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stacked() -> Ensemble:
    s = simulated()
    return Ensemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0)


def without(content: dict, *keys: str) -> dict:
    return {key: value for key, value in content.items() if key not in keys}


def test_a_flipped_study_gets_the_flipped_prediction(stacked: Ensemble) -> None:
    submissions = simulated().submissions[:, :20].copy()
    sided = stacked.apply(submissions[:, :, list(FLIPPED)])
    assert np.allclose(sided[:, list(FLIPPED)], stacked.apply(submissions))


@pytest.mark.slow
def test_what_others_teach_makes_stacking_better_than_the_mean_on_studies_it_never_saw() -> None:
    simulation = simulated(1500, 4)
    known, unseen = slice(1000), slice(1000, None)
    found = Ensemble.fit(
        "stacked", "abcd", simulation.labels[known], simulation.submissions[:, known], simulation.study_ids[known], 0
    )
    answers = found.apply(simulation.submissions[:, unseen])
    mean = simulation.submissions[:, unseen].mean(axis=0)
    labels = simulation.labels[unseen]
    assert competition_score(labels, answers).score < competition_score(labels, mean).score - 0.001


def test_the_same_input_gives_the_same_ensemble(stacked: Ensemble) -> None:
    s = simulated()
    assert Ensemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0).to_json() == stacked.to_json()


def test_an_ensemble_comes_back_from_json_as_it_was(stacked: Ensemble) -> None:
    submissions = simulated().submissions[:, :10]
    again = Ensemble.from_json(stacked.to_json())
    assert np.array_equal(again.apply(submissions), stacked.apply(submissions))
    assert np.allclose(again.apply(submissions).sum(axis=-1), 1)


def test_a_damaged_ensemble_is_refused(stacked: Ensemble, tmp_path: Path) -> None:
    content = json.loads(stacked.to_json())
    damaged = [
        without(content, "schema"),
        {**content, "method": "median"},
        {**content, "submissions": ["a"]},
        {**content, "weights": {}},
        {**content, "stack": {}},
        {**content, "weights": {group: [None] * 3 for group in content["weights"]}},
    ]
    for n, one in enumerate(damaged):
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(one))
        with pytest.raises(InvalidTableError, match="expected an ensemble"):
            Ensemble.read(path)


def test_studies_without_severe_findings_but_one_are_no_obstacle() -> None:
    simulation = part(simulated(), slice(30))
    labels = np.where(simulation.labels == Grade.SEVERE, MISSING, simulation.labels)
    labels[0, :] = Grade.SEVERE
    found = Ensemble.fit("stacked", NAMES, labels, simulation.submissions, simulation.study_ids, 0)
    assert np.isfinite(competition_score(labels, found.apply(simulation.submissions)).score)
