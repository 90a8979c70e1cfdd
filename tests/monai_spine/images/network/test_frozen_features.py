from __future__ import annotations

from pathlib import Path

import torch

from monai_spine.images.data.dataset import ImageBatches, whole
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.frozen_features import FrozenFeatures
from monai_spine.images.training.augmentation import BatchPreparation
from monai_spine.networks.layer_freezing import LayerFreezing
from tests.monai_spine.images.network.classifiers import classifier
from tests.monai_spine.images.pictures import write_pictures


def test_the_head_learns_the_same_from_features_that_were_computed_once(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 10)
    dataset = ImageBatches(records, ImageStore(records, ImageForm(pixels=(32, 32))))
    learnt = []
    for once in (False, True):
        network = classifier()
        LayerFreezing(network, train_layers="frozen")
        device = torch.device("cpu")
        features = FrozenFeatures(network, dataset, device=device, batch_size=4) if once else None
        prepare = BatchPreparation(features=features)
        optimizer = torch.optim.SGD(network.head.parameters(), lr=0.1)
        for batch in torch.utils.data.DataLoader(dataset, 5, collate_fn=whole):
            image, label = prepare(batch, device)
            assert (image.ndim == 2) is once
            torch.nn.functional.cross_entropy(network.train()(image), label).backward()
            optimizer.step()
        learnt.append(network.state_dict())
    assert all(torch.allclose(learnt[0][name], learnt[1][name], atol=1e-6) for name in learnt[0])
