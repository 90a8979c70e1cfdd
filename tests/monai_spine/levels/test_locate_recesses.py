"""What `monai-spine locate` makes of the recesses in axial slices."""

import csv
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_spine.commands.main import main
from monai_spine.data.volume import Opener, open_volume
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.geometry import slice_normal
from monai_spine.levels.localizers import RecessLocator
from monai_spine.levels.locate import locate
from monai_spine.levels.recesses.planes import Detection, RecessPlane
from monai_spine.spine import Side
from tests.monai_spine.levels.test_locate import SPINE, Oracle, axial, sagittal

SHIFT = np.array([1.5, -2.0, 0.0])


class Beside(RecessLocator):
    """Sees every recess a little beside its projected point, once it has read the slice."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Conv3d(3, 2, 1))

    def __call__(self, plane: RecessPlane, path: str | Path, opened: Opener = open_volume) -> dict[Side, Detection]:
        super().__call__(plane, path, opened)
        return {side: Detection(place + SHIFT, 0.9) for side, place in plane.projected.items()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "nifti/s1"
    sagittal(folder / "sagittal_t2.nii.gz")
    axial(folder / "axial_t2.nii.gz", SPINE[-2:].mean(axis=0), slices=14)
    return folder


def recesses(study: Path, out: Path, looking: RecessLocator | None) -> dict[tuple[str, str], dict]:
    oracle = Oracle().know(study / "sagittal_t2.nii.gz")
    locate([study.parent], out, oracle, looking, quiet=True)
    points = json.loads((out / "s1/points.json").read_text())["points"]
    return {(point["level"], point["side"]): point for point in points if point["point"] == "recess"}


def test_recesses_that_are_seen_replace_projected_ones_on_the_same_plane(study: Path, tmp_path: Path) -> None:
    seen, projected = recesses(study, tmp_path / "a", Beside()), recesses(study, tmp_path / "b", None)
    assert set(seen) == set(projected) == {(level, side) for level in ("l4_l5", "l5_s1") for side in ("left", "right")}
    affine = nib.load(study / "axial_t2.nii.gz").affine
    for key, point in seen.items():
        moved = np.array(point["position"]) - np.array(projected[key]["position"])
        assert moved == pytest.approx(SHIFT, abs=2e-3)
        assert (np.array(point["position"]) - affine[:3, 3]) @ slice_normal(affine) / 4.0 % 1 == pytest.approx(
            0, abs=1e-3
        )
        assert (point["flags"], point["confidence"]) == ([], 0.9)
        assert projected[key]["flags"] == ["projected"]


def test_a_network_that_sees_nothing_leaves_the_projected_points(study: Path, tmp_path: Path) -> None:
    blind = torch.nn.Conv3d(3, 2, 1)
    torch.nn.init.zeros_(blind.weight)
    told = recesses(study, tmp_path / "a", RecessLocator(blind))
    assert told == recesses(study, tmp_path / "b", None)


def test_an_axial_series_that_cannot_be_read_is_said_so(study: Path, tmp_path: Path) -> None:
    whole = nib.load(study / "axial_t2.nii.gz")
    voxels = np.asarray(whole.dataobj).copy()
    voxels[10, 10] = np.nan
    nib.save(nib.Nifti1Image(voxels, whole.affine), study / "axial_t2.nii.gz")
    told = recesses(study, tmp_path / "a", Beside())
    assert all(point["flags"] == ["projected"] for point in told.values())
    with (tmp_path / "a/volumes.csv").open(newline="") as table:
        status = {row["volume"]: row["status"] for row in csv.DictReader(table)}
    assert status["sagittal_t2.nii.gz"] == "found"
    assert status["axial_t2.nii.gz"].startswith("expected finite voxel values")


def test_a_bundle_without_weights_is_an_error_of_one_line_unless_nothing_is_refined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bundle/configs/inference.json"
    config.parent.mkdir(parents=True)
    network = {
        "_target_": "monai_spine.levels.sagittal.slice_unet.SliceUNet",
        "in_channels": 3,
        "out_channels": 2,
        "channels": [8, 8],
    }
    config.write_text(json.dumps({"network_def": network}))
    with pytest.raises(MissingInputError, match=r"model\.pt"):
        RecessLocator.from_bundle(config.parents[1])
    config.write_text("{}")
    with pytest.raises(InvalidTableError, match="network_def"):
        RecessLocator.from_bundle(config.parents[1])
    for more, word in ((["--recess-model", "nowhere"], "--recess-model"), (["--no-refine"], "x.nii.gz")):
        monkeypatch.setattr(sys, "argv", ["monai-spine", "locate", str(tmp_path / "x.nii.gz"), "-o", "out", *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert word in told
