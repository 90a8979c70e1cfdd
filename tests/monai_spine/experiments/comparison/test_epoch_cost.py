import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.data.datalist import read_datalist
from monai_spine.experiments.comparison.epoch_cost import EpochCost, _few
from tests.cohorts import write_cohort

seconds = st.floats(1e-3, 100)


costs = st.builds(EpochCost, seconds, seconds, seconds)


@given(costs, st.floats(0.01, 1000), st.integers(1, 500), st.integers(1, 500))
def test_epochs_fill_the_minutes_and_are_at_least_one(cost: EpochCost, minutes: float, items: int, held: int) -> None:
    epochs, each = cost.epochs(minutes, items, held), cost.epoch(items, held)
    assert each == pytest.approx(cost.training * items + cost.validation * held + cost.rest)
    assert epochs == 1 or epochs * each <= 60 * minutes * (1 + 1e-9)
    assert (epochs + 1) * each > 60 * minutes * (1 - 1e-9)


def test_a_few_items_hold_every_label_and_can_be_read_from_elsewhere(tmp_path: Path) -> None:
    path = write_cohort(tmp_path / "data", studies=8)
    (tmp_path / "few").mkdir()
    (tmp_path / "few/datalist.json").write_text(json.dumps(_few(path, 1, 2)))
    records = read_datalist(tmp_path / "few/datalist.json")
    assert sorted(record["fold"] for record in records) == [0, 0, 1, 1]
    content = json.loads(path.read_text())
    for n, entry in enumerate(content["training"]):
        entry |= {"fold": 0, "label": 0 if n < 6 else n}
    path.write_text(json.dumps(content))
    assert {entry["label"] for entry in _few(path, 1, 3)["training"]} == {0, 6, 7}
