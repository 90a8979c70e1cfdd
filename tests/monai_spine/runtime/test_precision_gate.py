"""The gate of bfloat16."""

from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from monai_spine.runtime.converted_model import ConvertedModel
from monai_spine.runtime.precision_gate import GateRow, allowed, passed, table, write_gate

BOTH = (Precision.FLOAT32, Precision.BFLOAT16)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConvertedModel:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "models/model.pt"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    return ConvertedModel(weights, [weights], RuntimeChoice(Runtime.OPENVINO), {})


def row(difference: float) -> GateRow:
    return GateRow("score", 0.5, 0.5 + difference, difference, 0.002)


def test_without_a_comparison_bfloat16_is_refused_with_the_command_that_makes_it(model: ConvertedModel) -> None:
    assert allowed(model, Precision.FLOAT32, Path("mine")) is Precision.FLOAT32
    with pytest.raises(InvalidOptionError, match="monai-spine runtime check mine"):
        allowed(model, Precision.BFLOAT16, Path("mine"))


@pytest.mark.parametrize(("difference", "used"), [(0.0019, Precision.BFLOAT16), (0.002, Precision.FLOAT32)])
def test_a_model_that_did_not_pass_runs_in_float32(model: ConvertedModel, difference: float, used: Precision) -> None:
    write_gate(model, Precision.BFLOAT16, [row(0.0), row(difference)])
    assert allowed(model, Precision.BFLOAT16, Path("mine")) is used


def test_other_weights_need_a_comparison_of_their_own(model: ConvertedModel) -> None:
    write_gate(model, Precision.BFLOAT16, [row(0.0)])
    model.weights.write_bytes(b"new weights")
    other = ConvertedModel(model.weights, model.sources, model.runtime, {})
    with pytest.raises(InvalidOptionError, match="runtime check"):
        allowed(other, Precision.BFLOAT16, Path("mine"))


def test_a_damaged_comparison_counts_as_none(model: ConvertedModel) -> None:
    path = write_gate(model, Precision.BFLOAT16, [row(0.0)])
    assert path is not None
    for text in ("", "{}", path.read_text().replace('"passed": true', '"passed": 1'), path.read_text()[:-9]):
        path.write_text(text)
        if '"passed": 1' in text:
            assert allowed(model, Precision.BFLOAT16, Path("mine")) is Precision.FLOAT32
            continue
        with pytest.raises(InvalidOptionError):
            allowed(model, Precision.BFLOAT16, Path("mine"))


def test_a_figure_that_is_no_number_does_not_pass() -> None:
    assert not passed([row(float("nan"))])
    assert passed([GateRow("for people", None, None, 9.0)])


def test_the_table_says_of_every_figure_with_a_limit_whether_it_passed() -> None:
    lines = table([row(0.001), row(0.003), GateRow("for people", None, None, 9.0)]).splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["yes", "no", ""]
