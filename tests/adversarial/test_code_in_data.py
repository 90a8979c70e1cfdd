"""Data are never run: search spaces, stored models and tables are refused, or neutral."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from monai_spine.csv_cells import neutral, plain, read_text_table
from monai_spine.errors import InvalidTableError
from monai_spine.experiments.tuning.space import read_space
from monai_spine.files import csv_text
from monai_spine.scoring.competition import uniform_rows
from monai_spine.scoring.submission import read_table, write_predictions
from monai_spine.spine import TARGETS, Group
from monai_spine.tables.calibration import Calibration
from monai_spine.tables.ensemble import FittedEnsemble
from monai_spine.weights import load_safely

CONFIG = {"learning_rate": 1e-3, "lr_scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR"}}
SHOT = "__import__('pathlib').Path({!r}).touch()"


def space_of(folder: Path, content: object) -> tuple[Path, list[Path]]:
    (folder / "space.json").write_text(json.dumps(content))
    (folder / "train.json").write_text(json.dumps(CONFIG))
    return folder / "space.json", [folder / "train.json"]


@pytest.mark.parametrize(
    "content",
    [
        {"learning_rate": {"choices": ["$1 + 1", 0.1]}},
        {"learning_rate": {"choices": {"a": " $1 + 1", "b": 0.1}}},
        {"learning_rate": {"choices": ["%other.json::key", 0.1]}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "os.system", "command": "id"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "builtins.eval"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "monai.utils.misc.subprocess.Popen"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "monai_spine.bundle.run.subprocess.Popen"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "monai.bundle.ConfigWorkflow"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "ConfigWorkflow"}, "b": {}}}},
        {"lr_scheduler": {"choices": {"a": {"_target_": "torch.optim.lr_scheduler.X", "f": ["$id"]}, "b": {}}}},
        {"lr_scheduler#_target_": {"choices": ["os.system", "torch.optim.SGD"]}},
        {"size": {"sets": {"a": {"lr_scheduler#_target_": "subprocess.run"}, "b": {"learning_rate": 1}}}},
        {"size": {"sets": {"a": {"lr_scheduler::_target_": "subprocess.Popen"}, "b": {"learning_rate": 1}}}},
    ],
)
def test_a_search_space_that_holds_code_is_refused_unless_it_is_trusted(tmp_path: Path, content: dict) -> None:
    path, configs = space_of(tmp_path, content)
    with pytest.raises(InvalidTableError, match=r"code; give --trust if you trust the file"):
        read_space(path, configs)
    assert read_space(path, configs, trust=True).parameters


def test_a_search_space_may_name_schedulers_and_refer_to_other_entries(tmp_path: Path) -> None:
    scheduler = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "optimizer": "@optimizer"}
    content = {"lr_scheduler": {"choices": {"a": scheduler, "b": {"_target_": "WarmupCosineSchedule"}}}}
    assert read_space(*space_of(tmp_path, content)).parameters


def calibration() -> dict:
    grades = np.tile([0, 1, 2, 0, 0], (8, 5))
    rows = np.broadcast_to(uniform_rows(), (8, 25, 3))
    return json.loads(Calibration.fit(grades, rows, [str(n) for n in range(8)], method="vector").to_json())


@pytest.mark.parametrize(("key", "value"), [("scale", [-1, 1, 1]), ("scale", [1, 0, 1]), ("tilt", [1, 0, 4])])
def test_a_calibration_that_turns_grades_round_is_refused(tmp_path: Path, key: str, value: list) -> None:
    content = calibration()
    (content if key == "tilt" else content["groups"]["spinal"])[key] = value
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match=f"expected .*{key}.* above 0"):
        Calibration.read(tmp_path / "calibration.json")


@pytest.mark.parametrize("weights", [[0.0, 0.0], [2.0, -1.0]])
def test_an_ensemble_of_weights_that_are_none_is_refused(tmp_path: Path, weights: list[float]) -> None:
    content = {"schema": FittedEnsemble.schema, "method": "weighted", "submissions": ["a", "b"], "stack": {}}
    content["weights"] = {group.value: weights for group in Group}
    (tmp_path / "ensemble.json").write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match="expected weights of 0 or more, not all 0"):
        FittedEnsemble.read(tmp_path / "ensemble.json")


def test_a_column_that_a_table_has_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(",".join(["study_id", *TARGETS, TARGETS[3]]) + "\n" + ",".join(["1", *["Severe"] * 26]) + "\n")
    with pytest.raises(InvalidTableError, match=f"expected each column once, but found {TARGETS[3]}"):
        read_table(path)


@pytest.mark.parametrize("text", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\t=1", '=HYPERLINK("x")', "=", "-"])
def test_a_text_that_a_spreadsheet_would_run_is_neutral_in_tables_and_comes_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_text([("study", "value"), (text, 1)]))
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["study"][0] == "'"
    assert plain(row["study"]) == text
    assert list(read_text_table(path)["study"]) == [text]


@pytest.mark.parametrize("number", ["-30.50", "+1", "-1e-3", "-inf", -4.5, -1, None, True])
def test_numbers_stay_numbers(number: object) -> None:
    assert neutral(number) == number


def test_predictions_of_a_study_with_the_name_of_a_formula_can_be_read_again(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", ["=1+1"], np.broadcast_to(uniform_rows(), (1, 25, 3)))
    assert set(pd.read_csv(tmp_path / "p.csv")["row_id"].str[:5]) == {"'=1+1"}
    assert set(read_table(tmp_path / "p.csv")["row_id"].str[:5]) == {"=1+1_"}


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple:
        return exec, (self.code,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_no_file_of_weights_runs_code(tmp_path: Path, form: str) -> None:
    path, hit = tmp_path / "model.pt", tmp_path / "hit"
    bomb = {"weight": Bomb(SHOT.format(str(hit)))}
    if form == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(InvalidTableError):
        load_safely(path)
    with pytest.raises(InvalidTableError):
        load_safely(path, verify=False)
    assert not hit.exists()


def test_a_byte_of_zero_is_written_as_something_that_every_python_can_read() -> None:
    assert csv_text([["a\0b"]]) == "a\N{REPLACEMENT CHARACTER}b\n"
