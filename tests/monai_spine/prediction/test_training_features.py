import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from monai_spine.errors import InvalidTableError
from monai_spine.grading.evidence import NOT_COVERED
from monai_spine.grading.findings import UNLIKE_TRAINING
from monai_spine.grading.grader import Grader
from monai_spine.grading.training_features import CONDITION_OF_FINDING, TrainingFeatures, features_path
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.prediction.familiarity import learn_features
from monai_spine.prediction.run import predict
from monai_spine.spine import FINDINGS, TARGETS, Condition
from tests.monai_spine.prediction.parts import inputs, models, oracle, points_of_spine, write_bundle, write_study

STUDIES, SIZE = 40, 6


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Features of studies, with a distribution of its own for each condition."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(len(Condition), SIZE, SIZE))[CONDITION_OF_FINDING]
    return np.einsum("kfg,nkg->nkf", mixing, rng.normal(size=(STUDIES, len(FINDINGS), SIZE))) + rng.normal(size=SIZE)


def test_the_distance_is_that_of_mahalanobis_under_the_covariance_of_the_condition(features: np.ndarray) -> None:
    """Oracle: SciPy's distance with scikit-learn's covariance."""
    found = TrainingFeatures.fit(features).distances(features)
    for number in (0, 7, 24):
        own = features[:, CONDITION_OF_FINDING[number] == CONDITION_OF_FINDING].reshape(-1, SIZE)
        fitted = LedoitWolf().fit(own)
        expected = [mahalanobis(one, fitted.location_, fitted.precision_) for one in features[:, number]]
        np.testing.assert_allclose(found[:, number], expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_the_limit_leaves_the_stated_share_of_each_condition_beyond(features: np.ndarray, share: float) -> None:
    limited = TrainingFeatures.fit(features).limited(features, share)
    beyond = (limited.distances(features) > 1).reshape(STUDIES, len(Condition), -1).mean(axis=(0, 2))
    np.testing.assert_allclose(beyond, share, atol=1 / (STUDIES * 5))
    assert (limited.distances(features + 100) > 1).all()


def test_patients_who_all_lie_elsewhere_are_measured_from_their_own_mean(features: np.ndarray) -> None:
    """Oracle: for each place the least distance of SciPy from the line through both means."""
    patients = features[:12] + 50
    fitted = TrainingFeatures.fit(features[12:])
    limited = fitted.of_patients(patients, 0.05)
    assert 0 < (limited.distances(patients) > 1).mean() <= 0.05
    for number in (0, 24):
        condition = CONDITION_OF_FINDING[number]
        own = condition == CONDITION_OF_FINDING
        inverse = fitted.whitening[condition].T @ fitted.whitening[condition]
        away = []
        for n, patient in enumerate(patients):
            mean = np.delete(patients, n, axis=0)[:, own].mean(axis=(0, 1))
            line = mean - fitted.mean[condition]
            for one in patient[own]:
                along = (one - mean) @ inverse @ line / (line @ inverse @ line)
                away.append(mahalanobis(one, mean + along * line, inverse))
        assert limited.limit[condition] == pytest.approx(np.quantile(away, 0.95))


def test_what_patients_have_in_common_neither_counts_nor_hides_another_change(features: np.ndarray) -> None:
    patients, fitted = features[:12] + 50, TrainingFeatures.fit(features[12:])
    limited, former = fitted.of_patients(patients, 0.05), fitted.limited(patients, 0.05)
    assert limited.patients is not None
    common = (limited.patients - fitted.mean)[CONDITION_OF_FINDING]
    np.testing.assert_allclose(limited.distances(patients + common), limited.distances(patients), atol=1e-6)
    changed = patients.copy()
    changed[..., 0] -= 4
    assert (limited.distances(changed) > 1).mean() > 2 * (former.distances(changed) > 1).mean()


def test_patients_whose_mean_is_that_of_the_training_have_no_direction_in_common(features: np.ndarray) -> None:
    fitted = TrainingFeatures.fit(features)
    alike = replace(fitted, patients=fitted.mean)
    np.testing.assert_allclose(alike.distances(features), fitted.distances(features))


def test_one_patient_alone_is_measured_from_the_training(features: np.ndarray) -> None:
    fitted = TrainingFeatures.fit(features[1:])
    limited = fitted.of_patients(features[:1] + 50, 0.05)
    assert limited.patients is None
    assert 0 < (limited.distances(features[:1] + 50) > 1).mean() <= 0.2


def test_a_file_gives_the_same_distances_and_belongs_to_its_weights(features: np.ndarray, tmp_path: Path) -> None:
    made = replace(TrainingFeatures.fit(features), about={"weights": "abc"})
    path = tmp_path / "a.safetensors"
    of_patients = replace(made.of_patients(features[:9] + 5, 0.05), about={"weights": "abc"})
    for one in (of_patients, made):
        one.write(path)
        read = TrainingFeatures.read(path, "abc")
        np.testing.assert_allclose(read.distances(features), one.distances(features), rtol=1e-3)
    with pytest.raises(InvalidTableError, match="those of others"):
        TrainingFeatures.read(path, "abd")
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[:-8], content[:9] + b"x" + content[10:]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidTableError, match="expected a file of monai-spine training-features"):
            TrainingFeatures.read(path, "abc")


def test_logits_are_made_of_the_features() -> None:
    torch.manual_seed(0)
    network = LevelGrader(views=[3], pixels=[32, 32], backbones=["test_resnet"], features=16).eval()
    image = torch.rand(2, 5, 3, 32, 32)
    with torch.no_grad():
        both = network.logits_and_features(image)
        logits, features = both[..., :3], both[..., 3:].unflatten(1, (5, 5))
        torch.testing.assert_close(logits, network(image))
        again = torch.einsum("bclf,cfg->bclg", features, network.weight) + network.bias.transpose(0, 1)
        torch.testing.assert_close(again.flatten(1, 2), logits)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("familiar") / "bundle")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A datalist of twenty entries of three studies, with points."""
    for name in ("a", "b", "c"):
        write_study(tmp_path / "in" / name)
    series = ("sagittal_t1", "sagittal_t2", "axial_t2")
    entries = [
        {
            "study_id": f"{name}{number}",
            "points": points_of_spine(),
            **{one: [f"{name}/{one}.nii.gz"] for one in series},
        }
        for name in ("a", "b", "c")
        for number in range(7)
    ]
    content = {"schema": "monai_spine/datalist/1", "targets": TARGETS, "test": entries}
    (tmp_path / "in/datalist.json").write_text(json.dumps(content))
    return tmp_path / "in/datalist.json"


@pytest.mark.slow
def test_findings_beyond_the_limit_are_flagged_and_others_are_not(bundle: Path, data: Path, tmp_path: Path) -> None:
    learnt = learn_features(bundle, None, data, data, quiet=True)
    assert learnt.path == features_path(bundle / "models/model.pt")
    assert learnt.path.is_file()
    study = data.parent / "a"
    for scale, expected in ((1e-6, True), (1e6, False)):
        grader = Grader.from_bundle(bundle)
        assert grader.familiar is not None
        grader.familiar = replace(grader.familiar, limit=grader.familiar.limit * scale)
        predict(inputs(study), tmp_path / "out", models(oracle(study), grader), quiet=True, force=True)
        for finding in json.loads((tmp_path / "out/a/findings.json").read_text())["findings"]:
            assert finding["training_distance"] is not None
            flagged = UNLIKE_TRAINING in finding["flags"]
            assert flagged is (expected and NOT_COVERED not in finding["flags"])
    learnt.path.unlink()
    predict(inputs(study), tmp_path / "plain", models(oracle(study), Grader.from_bundle(bundle)), quiet=True)
    for finding in json.loads((tmp_path / "plain/a/findings.json").read_text())["findings"]:
        assert finding["training_distance"] is None
        assert UNLIKE_TRAINING not in finding["flags"]


@pytest.mark.slow
def test_openvino_gives_the_features_of_pytorch(bundle: Path, data: Path) -> None:
    pytest.importorskip("openvino")
    from monai_spine.prediction.inputs import find_inputs
    from monai_spine.runtime.choice import choose_runtime

    record = find_inputs([data], data, lambda *_: pytest.fail("no DICOM")).studies[0].record
    converted = Grader.from_bundle(bundle, runtime=choose_runtime("openvino", "float32", "cpu"))
    np.testing.assert_allclose(converted.features(record), Grader.from_bundle(bundle).features(record), atol=1e-4)
