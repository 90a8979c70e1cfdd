import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.datalist import read_datalist, split_folds, volumes
from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.experiments import pseudo_labels
from monai_spine.experiments.cross_validation import Plan, cross_validate
from monai_spine.experiments.pseudo_labels import new_studies, write_pseudo_labels
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.scoring.submission import read_labels, write_predictions
from monai_spine.spine import FINDINGS, TARGETS
from tests.bundles.in_process import replace_steps
from tests.bundles.runs import ROOT
from tests.cohorts import write_cohort, write_study
from tests.monai_spine.tables.files import write_labels

BUNDLE = ROOT / "bundles" / "lumbar_25d_grader"
SMALL = {
    "pixels": "[32, 32]",
    "network_def#features": 16,
    "views#0#slices": 2,
    "views#1#slices": 3,
    "views#2#slices": 1,
}


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Plan, Path, Path, np.ndarray]:
    """A cross-validation of four studies as its files are, and a folder of two new studies."""
    datalist = write_cohort(tmp_path / "data", studies=4)
    records = read_datalist(datalist)
    ids, rows = tuple(r["study_id"] for r in records), np.random.default_rng(0).dirichlet([4, 2, 1], (4, 25))
    out = tmp_path / "cv"
    write_labels_of(out, ids, records)
    write_predictions(out / "out_of_fold.csv", ids, rows)
    (out / "models").mkdir()
    for fold in (0, 1):
        (out / "models" / f"fold_{fold}.pt").write_bytes(bytes([fold]))
    for name in ("new_1", "new_2"):
        write_study(tmp_path / "new" / name, np.random.default_rng(1))
    return Plan(BUNDLE, datalist), out, tmp_path / "new", rows


def write_labels_of(out: Path, ids: tuple[str, ...], records: list[dict]) -> None:
    out.mkdir()
    write_labels(out / "solution.csv", ids, np.stack([record["label"] for record in records]))


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The settings of each grading, whose findings are made up: the second fold is surer than the first."""
    calls: list[dict[str, str]] = []

    def step(name: str, configs: list[Path], settings, log: Path) -> None:
        assert name == "inference"
        calls.append(dict(settings))
        severe = 0.2 if "fold_0" in log.parts[-2] else 0.6
        for study in ("new_1", "new_2"):
            findings = [
                {
                    "finding": finding.name,
                    "weighted": {"normal_mild": 0.9 - severe, "moderate": 0.1, "severe": severe},
                    "point": [1.0, 2.0, 3.0] if study == "new_1" else None,
                    "flags": ["not_covered"] if n == 7 else [],
                }
                for n, finding in enumerate(FINDINGS)
            ]
            (log.parent / study).mkdir(parents=True)
            (log.parent / study / "findings.json").write_text(json.dumps({"findings": findings}))

    monkeypatch.setattr(pseudo_labels, "run_step", step)
    return calls


def written(finished) -> list[dict]:
    plan, out, new, _ = finished
    return read_datalist(write_pseudo_labels(plan, out, [0, 1], new, False, lambda _: None))


def test_studies_of_the_cross_validation_get_their_own_out_of_fold_rows(finished, graded) -> None:
    records = {record["study_id"]: record for record in written(finished)}
    natural = finished[3] / WEIGHTS
    natural /= natural.sum(axis=-1, keepdims=True)
    for record, expected in zip(read_datalist(finished[0].datalist), natural, strict=True):
        mine = records[record["study_id"]]
        assert mine["soft_label"] == pytest.approx(expected, abs=1e-4)
        assert np.array_equal(mine["label"], record["label"])
        assert mine["fold"] == record["fold"]
        assert [Path(v).resolve() for v in volumes(mine)] == [Path(v).resolve() for v in volumes(record)]


def test_a_new_study_gets_the_mean_of_all_folds_at_natural_prevalence(finished, graded) -> None:
    *_, new = written(finished)
    assert new["study_id"] == "new_1"  # the points of the other one were not found
    weighted = np.array([0.9 - 0.4, 0.1, 0.4])
    expected = weighted / WEIGHTS / (weighted / WEIGHTS).sum()
    assert new["soft_label"][0] == pytest.approx(expected, abs=1e-4)
    assert (new["soft_label"][7] == 0).all()  # no slice shows it
    assert new["points"][TARGETS[3]] == (1.0, 2.0, 3.0)
    assert (new["label"] == -1).all()
    assert new["fold"] is None


def test_new_studies_train_in_every_fold_and_validate_in_none(finished, graded) -> None:
    records = written(finished)
    for fold in (0, 1):
        training, validation = split_folds(records, fold)
        assert "new_1" in {record["study_id"] for record in training}
        assert {record["fold"] for record in validation} == {fold}


def test_a_new_study_of_a_patient_who_validates_is_not_trained_on(finished, graded) -> None:
    records = written(finished)
    records[-1]["patient_id"] = next(r["patient_id"] for r in records if r["fold"] == 0)
    assert "new_1" not in {record["study_id"] for record in split_folds(records, 0)[0]}
    assert "new_1" in {record["study_id"] for record in split_folds(records, 1)[0]}


def test_a_second_round_gives_new_soft_labels_to_the_studies_that_had_some(finished, graded, tmp_path: Path) -> None:
    plan, out, new, _ = finished
    first = write_pseudo_labels(plan, out, [0, 1], new, False, lambda _: None)
    (tmp_path / "second").mkdir()
    for name in ("solution.csv", "out_of_fold.csv", "models"):
        (tmp_path / "second" / name).symlink_to(out / name)
    content = json.loads(first.read_text())
    assert content["training"][-1]["study_id"] == "new_1"
    content["training"][-1]["soft_label"] = [[1.0, 0.0, 0.0]] * 25
    first.write_text(json.dumps(content))
    again = write_pseudo_labels(Plan(BUNDLE, first), tmp_path / "second", [1], new, False, lambda _: None)
    records = read_datalist(again)
    assert [record["study_id"] for record in records] == [record["study_id"] for record in read_datalist(first)]
    weighted = np.array([0.9 - 0.6, 0.1, 0.6])  # of the second fold's network alone
    assert records[-1]["soft_label"][0] == pytest.approx(weighted / WEIGHTS / (weighted / WEIGHTS).sum(), abs=1e-4)


def test_what_was_graded_is_not_graded_again_unless_the_weights_changed(finished, graded) -> None:
    written(finished)
    assert [Path(one["ckpt_path"]).name for one in graded] == ["fold_0.pt", "fold_1.pt"]
    written(finished)
    assert len(graded) == 2
    (finished[1] / "models" / "fold_1.pt").write_bytes(b"other")
    for study in ("new_1", "new_2"):
        (finished[1] / "pseudo/fold_1" / study / "findings.json").unlink()
        (finished[1] / "pseudo/fold_1" / study).rmdir()
    written(finished)
    assert [Path(one["ckpt_path"]).name for one in graded[2:]] == ["fold_1.pt"]


def test_new_studies_are_graded_where_the_networks_were_trained(finished, graded) -> None:
    plan, *rest = finished
    written((replace(plan, settings=(("device", "cpu"), ("amp", "False"), ("epochs", "3"))), *rest))
    for call in graded:
        assert (call["device"], call["amp"], "epochs" in call) == ("cpu", "False", False)


def test_a_damaged_datalist_is_named_before_new_studies_are_sought_in_it(finished, tmp_path: Path) -> None:
    plan, _, new, _ = finished
    content = json.loads(plan.datalist.read_text())
    for training in (None, [3], [{**content["training"][0], "label": 3}]):
        damaged = tmp_path / "damaged.json"
        damaged.write_text(json.dumps({**content, "training": training}))
        with pytest.raises(InvalidTableError, match=r"damaged\.json"):
            new_studies(damaged, new)


def test_a_study_that_is_labelled_already_is_not_new(finished, graded) -> None:
    plan, out, _, _ = finished
    with pytest.raises(InvalidOptionError, match="holds 4000000000"):
        write_pseudo_labels(plan, out, [0], plan.datalist.parent, False, lambda _: None)


@pytest.mark.parametrize(
    "rows", [[[0.5, 0.5, 0.0]] * 24, [[0.5, 0.2, 0.1]] * 25, [[1.5, -0.5, 0.0]] * 25, [[1.0, 0.0]] * 25, "x", [1] * 25]
)
def test_soft_labels_of_another_form_are_refused(rows: object, tmp_path: Path) -> None:
    path = write_cohort(tmp_path, studies=1)
    content = json.loads(path.read_text())
    content["training"][0]["soft_label"] = rows
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match="soft_label"):
        read_datalist(path)


@pytest.mark.slow
def test_networks_of_a_cross_validation_label_new_studies_and_are_trained_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = replace_steps(monkeypatch)
    data = write_cohort(tmp_path / "data", studies=4)
    content = json.loads(data.read_text())
    points = {finding.name: [0.0, 0.0, 20.0 - 10.0 * (n % 5)] for n, finding in enumerate(FINDINGS)}
    content["test"] = [{**content["training"][0], "study_id": "new", "patient_id": "new", "points": points}]
    data.write_text(json.dumps(content))
    settings = tuple((name, str(value)) for name, value in {**SMALL, "batch_size": 2, "epochs": 1}.items())
    plan = Plan(BUNDLE, data, (), settings)
    cross_validate(plan, tmp_path / "cv", [0], lambda _: None)
    path = write_pseudo_labels(plan, tmp_path / "cv", [0], data, False, lambda _: None)
    new = read_datalist(path)[-1]
    assert new["study_id"] == "new"
    assert set(np.round(new["soft_label"].sum(axis=1), 3)) <= {0.0, 1.0}
    assert new["soft_label"].any()
    second = Plan(BUNDLE, path, (), (*settings, ("pseudo_weight", "0.5")))
    cross_validate(second, tmp_path / "second", [0], lambda _: None)
    assert [step for step, _ in done] == ["training", "evaluation", "inference", "training", "evaluation"]
    assert len(read_labels(tmp_path / "second" / "solution.csv").study_ids) == 2
