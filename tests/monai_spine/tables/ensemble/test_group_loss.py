import numpy as np
import pytest

from monai_spine.scoring.competition import competition_score
from monai_spine.spine import Group
from monai_spine.tables.ensemble.group_loss import GroupLoss
from tests.monai_spine.tables.files import simulated


def test_the_groups_losses_add_up_to_the_competitions_score() -> None:
    import torch

    simulation = simulated()
    rows = simulation.submissions[0]
    score = competition_score(simulation.labels, rows)
    expected = {
        Group.SPINAL: (score.spinal + score.any_severe_spinal) / 2,
        Group.FORAMINAL: score.foraminal,
        Group.SUBARTICULAR: score.subarticular,
    }
    for group, value in expected.items():
        loss = GroupLoss(simulation.labels, group)
        logits = torch.from_numpy(np.log(rows))[:, loss.columns].float()
        assert float(loss(logits)) == pytest.approx(value, rel=1e-4)
