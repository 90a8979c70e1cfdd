"""Studies that another runtime than PyTorch grades."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_spine.bundle.shipped import GRADER, LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.errors import InvalidOptionError
from monai_spine.grading import parsed_grader
from monai_spine.grading.grader import Grader
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.sagittal.volume_form import VolumeForm
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.models import open_models
from monai_spine.prediction.run import predict
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from tests.monai_spine.prediction.parts import (
    inputs,
    models,
    oracle,
    points_of_spine,
    record_of,
    write_bundle,
    write_study,
)
from tests.phantoms import write_phantom

OPENVINO, ONNX = RuntimeChoice(Runtime.OPENVINO), RuntimeChoice(Runtime.ONNX)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("studies") / "s1")


@pytest.fixture(scope="module")
def record(study: Path) -> dict:
    return record_of(study, points_of_spine())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "one", "fold_0.pt", "fold_1.pt")


@pytest.mark.parametrize("runtime", [OPENVINO, ONNX])
@pytest.mark.parametrize("tta", [(), ("flip", "rotations")])
def test_every_runtime_grades_alike(bundle: Path, record: dict, runtime: RuntimeChoice, tta: tuple[str, ...]) -> None:
    expected = Grader.from_bundle(bundle, tta=tta)
    grader = Grader.from_bundle(bundle, tta=tta, runtime=runtime)
    assert grader(record).weighted == pytest.approx(expected(record).weighted, abs=1e-5)
    assert np.array_equal(grader.image(record), expected.image(record))
    assert grader.stacked_views == expected.stacked_views
    assert grader.about["runtime"]["name"] == runtime.runtime.value
    assert grader.digest == expected.digest  # so that studies that one of them graded are done for the other


def test_a_converted_grader_is_opened_without_its_configuration_and_explained_with_it(
    bundle: Path, record: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Grader.from_bundle(bundle, runtime=OPENVINO)(record).weighted
    with monkeypatch.context() as patch:
        patch.setattr(parsed_grader, "ParsedGrader", lambda *_, **__: pytest.fail("parsed"))
        grader = Grader.from_bundle(bundle, runtime=OPENVINO)
        assert grader(record).weighted == pytest.approx(expected, abs=1e-6)
    assert [type(network).__name__ for network in grader.networks] == ["LevelGrader"] * 2


@pytest.mark.slow
def test_a_converted_network_is_opened_and_used_without_pytorch(bundle: Path, record: dict) -> None:
    """So no network is built, no random weights are drawn, and a second or more of imports is saved."""
    Grader.from_bundle(bundle, runtime=OPENVINO), RecessLocator.from_bundle(device="cpu", runtime=OPENVINO)  # converted
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from monai_spine.levels.localizers import RecessLocator\n"
        "from monai_spine.grading.grader import Grader\n"
        "from monai_spine.runtime.choice import Runtime, RuntimeChoice\n"
        "openvino, record = RuntimeChoice(Runtime.OPENVINO), json.loads(sys.argv[1])\n"
        "RecessLocator.from_bundle(device='cpu', runtime=openvino)\n"
        "grader = Grader.from_bundle(Path(sys.argv[2]), runtime=openvino)\n"
        "print(grader(record).weighted.tolist())\n"
        "print(sorted({'torch', 'monai', 'scipy.optimize'} & set(sys.modules)))\n"
        "from monai_spine.dicom_out.outputs import study_outputs\n"
        "study_outputs(report=True, pdf=True, dicom_out=True), grader.image(record)\n"
        "print(sorted({'torch', 'monai'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, json.dumps(record, default=lambda one: one.tolist()), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    weighted, *imported = done.stdout.splitlines()
    assert json.loads(weighted) == pytest.approx(Grader.from_bundle(bundle)(record).weighted, abs=1e-5)
    assert imported == ["[]", "[]"]


def test_another_grader_is_left_to_pytorch_by_auto_and_refused_otherwise(tmp_path: Path, record: dict) -> None:
    unet = write_bundle(tmp_path / "unet", kind="lumbar_unet_classifier")
    automatic = Grader.from_bundle(unet, runtime=RuntimeChoice(Runtime.OPENVINO, chosen_for_user=True))
    assert automatic.about["runtime"]["name"] == "torch"
    assert automatic(record).weighted == pytest.approx(Grader.from_bundle(unet)(record).weighted)
    with pytest.raises(InvalidOptionError, match="--runtime torch or auto"):
        Grader.from_bundle(unet, runtime=OPENVINO)


def test_a_localizer_that_cannot_be_converted_is_left_to_pytorch_by_auto_and_refused_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shutil.copytree(LEVEL_LOCALIZER, tmp_path / "own", ignore=shutil.ignore_patterns("converted"))
    monkeypatch.setattr(VolumeForm, "forward", lambda _, image: torch.linalg.matrix_exp(image))
    automatic = LevelLocator.from_bundle(bundle, "cpu", runtime=replace(OPENVINO, chosen_for_user=True))
    assert automatic.runtime.is_torch
    with pytest.raises(InvalidOptionError, match=r"own: VolumeForm cannot be converted.*--runtime torch"):
        LevelLocator.from_bundle(bundle, "cpu", runtime=OPENVINO)


def test_bfloat16_without_a_comparison_is_refused(bundle: Path) -> None:
    with pytest.raises(InvalidOptionError, match="monai-spine runtime check"):
        Grader.from_bundle(bundle, runtime=RuntimeChoice(Runtime.OPENVINO, Precision.BFLOAT16))


def test_findings_and_the_table_of_studies_say_what_ran_the_networks(bundle: Path, study: Path, tmp_path: Path) -> None:
    graders = models(oracle(study), Grader.from_bundle(bundle, runtime=OPENVINO))
    predict(inputs(study), tmp_path, graders, quiet=True)
    content = json.loads((tmp_path / "s1/findings.json").read_text())
    assert content["models"][0]["runtime"] == OPENVINO.about()
    assert content["localizer_runtimes"] == {"levels": RuntimeChoice().about()}
    head, row = (line.split(",") for line in (tmp_path / "studies.csv").read_text().splitlines())
    cell = dict(zip(head, row, strict=True))["runtime"]
    assert "openvino" in cell
    assert "torch" in cell
    again = models(oracle(study), Grader.from_bundle(bundle))
    assert predict(inputs(study), tmp_path, again, quiet=True).kept == 1


@pytest.mark.slow
def test_a_phantom_gets_the_same_points_and_grades_with_openvino(tmp_path: Path) -> None:
    write_phantom(tmp_path / "in/p1", seed=5)
    copies = []
    for bundle in (GRADER, LEVEL_LOCALIZER, RECESS_LOCALIZER):
        copies.append(tmp_path / bundle.name)
        shutil.copytree(bundle, copies[-1], ignore=shutil.ignore_patterns("converted"))
    given = {"level_bundles": [copies[1]], "recess_bundle": copies[2], "device": "cpu"}
    answers = []
    for runtime in ("torch", "openvino"):
        out = tmp_path / runtime
        opened = open_models(copies[:1], runtime=runtime, **given)
        predict(find_inputs([tmp_path / "in"], out, Conversion(quiet=True)), out, opened, quiet=True)
        answers.append(json.loads((out / "p1/findings.json").read_text())["findings"])
    for one, other in zip(*answers, strict=True):
        assert list(one["weighted"].values()) == pytest.approx(list(other["weighted"].values()), abs=1e-4)
        assert one["flags"] == other["flags"]
        if one["point"]:
            assert np.array(one["point"]) == pytest.approx(np.array(other["point"]), abs=0.01)
