import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monai_spine.commands.main import app
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.measures.reference import SHARES, Reference, read_reference, reference_of
from monai_spine.spine import Level

EVEN = tuple(10 + 10 * share for share in SHARES)  # from 10.1 to 19.9
REFERENCE = Reference("hundred persons", {"canal_diameter_mm": {"l4_l5": EVEN}}, {"canal_diameter_mm": 1.5}, (0.7, 0.5))


def study(value: float) -> dict:
    return {
        "measures": {
            "levels": {"l4_l5": {"canal_diameter_mm": {"value": value}, "canal_grade": "moderate"}},
            "whole": {"lordosis_deg": {"value": 3 * value}},
        }
    }


@pytest.mark.parametrize(("value", "percentile"), [(2.0, 1), (10.1, 1), (15.0, 50), (17.5, 75), (40.0, 99)])
def test_a_value_has_its_percentile_and_the_usual_error(value: float, percentile: int) -> None:
    entry = REFERENCE.entry("canal_diameter_mm", value, Level.L4_L5)
    assert entry == {"value": value, "uncertainty": 1.5, "percentile": percentile}


def test_what_the_cohort_does_not_hold_has_no_percentile() -> None:
    assert REFERENCE.entry("canal_diameter_mm", 15.0, Level.L1_L2)["percentile"] is None
    assert REFERENCE.entry("disc_wedge_deg", 1.234, Level.L4_L5) == {
        "value": 1.23,
        "uncertainty": None,
        "percentile": None,
    }


@pytest.mark.parametrize(
    ("share", "grade"),
    [(0.9, "normal_mild"), (0.7, "normal_mild"), (0.69, "moderate"), (0.5, "moderate"), (0.4, "severe")],
)
def test_the_canal_has_a_grade_by_its_share_alone(share: float, grade: str) -> None:
    assert REFERENCE.canal_grade({"canal_share": share}) == grade
    assert REFERENCE.canal_grade({}) is None


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    REFERENCE.write(tmp_path / "r.json")
    again = read_reference(tmp_path / "r.json")
    assert again.entry("canal_diameter_mm", 15.0, Level.L4_L5) == REFERENCE.entry(
        "canal_diameter_mm", 15.0, Level.L4_L5
    )
    assert (again.name, again.errors, again.canal_limits) == (REFERENCE.name, REFERENCE.errors, REFERENCE.canal_limits)


@pytest.mark.parametrize(
    "change", [{"schema": "other"}, {"shares": [0.5]}, {"canal_limits": [1]}, {"quantiles": {"a": {"b": [1, 2]}}}]
)
def test_another_file_is_refused_with_its_name(tmp_path: Path, change: dict) -> None:
    REFERENCE.write(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps(content | change))
    with pytest.raises(InvalidTableError, match=r"r\.json: expected a reference for measures"):
        read_reference(tmp_path / "r.json")
    with pytest.raises(MissingInputError, match=r"none\.json"):
        read_reference(tmp_path / "none.json")


def test_a_cohort_gives_percentiles_and_keeps_errors_and_limits() -> None:
    made = reference_of([study(10 + n / 10) for n in range(101)], "volunteers", REFERENCE)
    assert made.name == "volunteers (101 studies)"
    assert made.entry("canal_diameter_mm", 15.0, Level.L4_L5) == {"value": 15.0, "uncertainty": 1.5, "percentile": 50}
    assert made.entry("lordosis_deg", 45.0)["percentile"] == 50
    assert made.canal_limits == REFERENCE.canal_limits


def test_the_command_makes_a_file_that_predict_reads(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"graded/{n}").mkdir(parents=True)
        (tmp_path / f"graded/{n}/findings.json").write_text(json.dumps(study(10 + n)))
    command = ["measures-reference", str(tmp_path / "graded"), "-o", str(tmp_path / "own.json"), "--name", "ours"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    own = read_reference(tmp_path / "own.json")
    assert own.name == "ours (20 studies)"
    assert own.offsets == read_reference().offsets
    (tmp_path / "graded/0/findings.json").write_text(json.dumps([1]))
    assert isinstance(CliRunner().invoke(app, command).exception, InvalidTableError)


def test_too_small_a_cohort_is_refused() -> None:
    with pytest.raises(InvalidTableError, match="expected 20 studies with measures or more, but found 19"):
        reference_of([*[study(12.0)] * 19, {}, {"measures": {"reason": "none"}}], "few", REFERENCE)


def test_the_reference_of_the_package_knows_every_level() -> None:
    shipped = read_reference()
    moderate, severe = shipped.canal_limits
    assert 0 < severe < moderate < 1
    for level in Level:
        entry = shipped.entry("canal_diameter_mm", 13.0, level)
        assert entry["percentile"] is not None
        assert entry["uncertainty"] is not None
