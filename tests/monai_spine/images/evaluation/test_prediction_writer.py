"""The tables that an evaluation leaves, by an engine that gives answers without a network."""

from pathlib import Path

import pandas as pd
import torch
from ignite.engine import Engine

from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.images.evaluation.prediction_writer import ImagePredictionWriter
from monai_spine.images.network.model_description import ClassifierDescription
from tests.monai_spine.images.pictures import write_pictures


def written(folder: Path, records: list[dict], probabilities: list, task: str = "multiclass", **settings) -> Path:
    """Run an engine that sees the images in reverse order, one at a time."""

    def step(engine: Engine, n: int) -> dict:
        engine.state.batch = {"index": torch.tensor([n])}
        return {"label": torch.tensor([records[n]["label"]]), "pred": torch.tensor([probabilities[n]])}

    engine = Engine(step)
    ImagePredictionWriter(
        output_dir=str(folder / "out"),
        records=records,
        description=ClassifierDescription(task=task, classes=("a", "b", "c")),
        root=str(folder),
        **{"store": ImageStore(records, ImageForm()), **settings},
    ).attach(engine)
    engine.run(list(reversed(range(len(records)))))
    return folder / "out"


ROWS = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]


def test_rows_are_sorted_by_image_and_name_label_and_prediction(tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path, write_pictures(tmp_path, 3), ROWS) / "predictions.csv")
    assert list(table.columns) == ["image", "label", "predicted", "probability_a", "probability_b", "probability_c"]
    assert table["image"].tolist() == ["000.png", "001.png", "002.png"]
    assert table["label"].tolist() == ["a", "b", "c"]
    assert table["predicted"].tolist() == ["a", "c", "b"]
    assert table["probability_c"].tolist() == [0.1, 0.6, 0.3]


def test_several_labels_are_joined_by_their_thresholds(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 3, label=lambda n: [[1, 0, 1], [0, 0, -1], [0, 1, 0]][n])
    out = written(tmp_path, records, ROWS, "multilabel", thresholds=torch.tensor([0.5, 0.2, 0.55]).numpy())
    table = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    assert table["label"].tolist() == ["a|c", "", "b"]
    assert table["predicted"].tolist() == ["a|b", "b|c", "b"]


def test_without_any_known_label_there_is_no_column_of_labels(tmp_path: Path) -> None:
    records = [{**record, "label": -1} for record in write_pictures(tmp_path, 3)]
    assert "label" not in pd.read_csv(written(tmp_path, records, ROWS) / "predictions.csv").columns


def test_images_that_could_not_be_read_are_in_a_table_of_their_own(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 3)
    Path(records[1]["image"][0]).write_bytes(b"")
    store = ImageStore(records, ImageForm(pixels=(8, 8)), skip_unreadable=True)
    store.read(store.positions(records))
    out = written(tmp_path, records, ROWS, store=store)
    assert pd.read_csv(out / "predictions.csv")["image"].tolist() == ["000.png", "002.png"]
    refused = pd.read_csv(out / "refused.csv")
    assert refused["image"].tolist() == ["001.png"]
    assert "empty" in refused["reason"][0]
    assert not (written(tmp_path / "again", write_pictures(tmp_path / "again", 3), ROWS) / "refused.csv").exists()
