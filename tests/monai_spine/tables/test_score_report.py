import json
from pathlib import Path

import pytest

from monai_spine.tables.score_report import report_score


@pytest.mark.parametrize(("name", "share"), [("best", 1.0), ("prior", 0.0)])
def test_the_share_of_the_way_is_0_at_the_prior_and_1_at_the_floor(
    phantom_cohort: Path, name: str, share: float
) -> None:
    found = report_score(
        phantom_cohort / "train.csv", phantom_cohort / f"{name}.csv", floor=phantom_cohort / "floor.json"
    )
    assert json.loads(found.to_json())["share_of_way"] == pytest.approx(share, abs=1e-5)
    assert f"{share:.0%}" in found.to_text()
