import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_spine.bundle.on_demand import OnDemand
from monai_spine.data.volume import Volume, read_volume
from monai_spine.errors import InvalidOptionError, InvalidTableError, InvalidVolumeError, MissingInputError
from monai_spine.geometry import grid_affine, slice_normal
from monai_spine.levels.files import COLUMNS, is_edited
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.locate import LocateTask, find_inputs, locate
from monai_spine.levels.sagittal.chain import Disc, expected_foramen
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import REGIONS, gaussians, map_affine, map_size
from monai_spine.levels.sagittal.peak_chain import directions
from monai_spine.levels.study_search import StudyInput
from monai_spine.prediction.study_processes import study_processes
from monai_spine.runtime.device import usable_device
from monai_spine.spine import Level, Side
from tests.cohorts import write_cohort
from tests.monai_spine.levels.sagittal.test_chain import lordotic

SPINE = lordotic(6)
"""Canal points of T12/L1 to L5/S1."""
DEVIATION = np.array([5.0, 4.5, 4.5])


class Oracle(LevelLocator):
    """Draws the maps of a spine whose points are known, for the grid that it is about to see."""

    def __init__(self, canal: np.ndarray = SPINE, sacrum: bool = True) -> None:
        super().__init__(torch.nn.Identity())
        self.canal, self.sacrum = canal, sacrum
        self.grids: dict[tuple, np.ndarray] = {}

    def maps(self, image: np.ndarray) -> np.ndarray:
        affine = map_affine(self.grids[tuple(image.shape)])
        size = map_size(image.shape)
        sacral = self.canal[-1:] if self.sacrum and len(self.canal) else np.zeros((0, 3))
        groups = (self.canal, foramina(self.canal), sacral)
        drawn = [gaussians(points, affine, size, DEVIATION) for points in groups]
        return np.concatenate([drawn, regions(self.canal, affine, size, self.sacrum)])

    def know(self, *paths: Path) -> "Oracle":
        for path in paths:
            image, affine = sagittal_grid(read_volume(path), "x")
            self.grids[tuple(image.shape)] = affine
        return self


def regions(canal: np.ndarray, affine: np.ndarray, size: tuple[int, ...], sacrum: bool) -> np.ndarray:
    """The region map of a spine: the canal, discs and bodies in front of it, and the sacrum below the lowest disc."""
    maps = np.zeros((len(REGIONS), *size))
    if len(canal):
        up = np.array(directions(list(canal)))
        # The middle of each disc, 27 mm in front of the canal and 6 mm below the place where it crosses the canal.
        discs = canal + 27 * np.stack([0 * up[:, 0], up[:, 2], -up[:, 1]], axis=1) - 6 * up
        bodies = np.vstack([discs[0] + 17 * up[0], (discs[:-1] + discs[1:]) / 2])
        sacral = discs[-1] - np.outer([17.0, 40.0], up[-1])
        groups = {"body": (bodies, 11.0), "sacrum": (sacral if sacrum else sacral[:0], 17.0), "disc": (discs, 4.0)}
        for name, (places, high) in groups.items():
            deviation = np.array([20.0, 10.0, high]) / np.sqrt(2 * np.log(2))  # half at these distances
            maps[REGIONS.index(name)] = gaussians(places, affine, size, deviation)
        # The depth of the canal is the integral of its map from front to back: 9 mm.
        along = np.vstack([(1 - t) * canal[:-1] + t * canal[1:] for t in np.arange(0, 1, 0.1)] + [canal[-1:]])
        deviation = np.array([20.0, *2 * [9.0 / np.sqrt(2 * np.pi)]])
        maps[REGIONS.index("canal")] = gaussians(along, affine, size, deviation)
        maps /= np.maximum(maps.sum(axis=0), 1.0)
    maps[0] = 1 - maps[1:].sum(axis=0)
    return maps


def foramina(canal: np.ndarray) -> np.ndarray:
    points = []
    for n, point in enumerate(canal):
        up = canal[max(n - 1, 0)] - canal[min(n + 1, len(canal) - 1)]
        disc = Disc(point, 1.0, up / np.linalg.norm(up))
        points += [expected_foramen(disc, side) for side in Side]
    return np.array(points).reshape(-1, 3)


def write(path: Path, size: tuple[int, int, int], step: tuple[float, float, float], middle: np.ndarray) -> Path:
    affine = grid_affine(middle, size, step)
    voxels = np.random.default_rng(0).random(size, dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def sagittal(path: Path, slices: int = 15) -> Path:
    return write(path, (slices, 110, 125), (4.4, 2.0, 2.0), SPINE.mean(axis=0))


def axial(path: Path, middle: np.ndarray, slices: int = 30) -> Path:
    return write(path, (90, 90, slices), (2.0, 2.0, 4.0), middle)


def rows(out: Path, name: str = "points.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as table:
        return list(csv.DictReader(table))


def test_one_volume_gives_its_levels(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "patient.nii.gz")
    summary = locate([volume], tmp_path / "out", Oracle().know(volume), quiet=True)
    assert (summary.located, summary.none, int(summary.exit_code)) == (["patient"], [], 0)
    table = rows(tmp_path / "out")
    assert tuple(table[0]) == COLUMNS
    canal = {row["level"]: np.array([float(row[axis]) for axis in "xyz"]) for row in table if row["point"] == "canal"}
    assert list(canal) == [level.value for level in Level]
    assert np.array(list(canal.values())) == pytest.approx(SPINE[-5:], abs=0.6)
    left, right = ([row for row in table if row["point"] == "foramen" and row["side"] == side.value] for side in Side)
    assert len(left) == len(right) == 5
    assert all(float(a["x"]) < float(b["x"]) for a, b in zip(left, right, strict=True))
    assert all(row["flag"] == "" and float(row["confidence"]) > 0.5 for row in table)


def test_the_same_points_stand_in_every_file(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "patient.nii.gz")
    locate([volume], tmp_path / "out", Oracle().know(volume), quiet=True)
    table = rows(tmp_path / "out")
    content = json.loads((tmp_path / "out/patient/points.json").read_text())
    (markup,) = json.loads((tmp_path / "out/patient/points.mrk.json").read_text())["markups"]
    assert (markup["coordinateSystem"], markup["type"]) == ("RAS", "Fiducial")
    for row, point, control in zip(table, content["points"], markup["controlPoints"], strict=True):
        place = [float(row[axis]) for axis in "xyz"]
        assert point["position"] == pytest.approx(place, abs=0.01)
        assert control["position"] == pytest.approx(place, abs=0.01)
    assert {one["reason"] for one in content["absent"]} == {"no axial series"}
    picture = np.asarray(Image.open(tmp_path / "out/patient/levels.png"))
    assert (np.abs(picture.astype(int) - [90, 220, 120]).sum(axis=-1) < 20).sum() > 100


def test_recesses_lie_on_the_nearest_axial_plane_or_are_absent(tmp_path: Path) -> None:
    study = tmp_path / "nifti/s1"
    volume = sagittal(study / "sagittal_t2.nii.gz")
    stack = axial(study / "axial_t2.nii.gz", SPINE[-2:].mean(axis=0), slices=14)
    locate([tmp_path / "nifti"], tmp_path / "out", Oracle().know(volume), quiet=True)
    content = json.loads((tmp_path / "out/s1/points.json").read_text())
    recesses = [point for point in content["points"] if point["point"] == "recess"]
    assert {point["level"] for point in recesses} == {"l4_l5", "l5_s1"}
    affine = nib.load(stack).affine
    for point in recesses:
        along = (np.array(point["position"]) - affine[:3, 3]) @ slice_normal(affine) / 4.0
        assert along == pytest.approx(round(along), abs=1e-3)
        assert "projected" in point["flags"]
    reasons = {one["reason"] for one in content["absent"]}
    assert reasons == {f"no axial plane within 5 mm of {level.title}" for level in list(Level)[:3]}
    assert set(content["axial_planes"]) == {"l4_l5", "l5_s1"}


def test_without_the_sacrum_every_point_says_that_its_level_is_uncertain(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "cut.nii.gz")
    summary = locate([volume], tmp_path / "out", Oracle(sacrum=False).know(volume), quiet=True)
    assert summary.uncertain == ["cut"]
    assert all("uncertain_level" in row["flag"] for row in rows(tmp_path / "out"))


def test_no_spine_and_no_sagittal_slices_are_said_so(tmp_path: Path) -> None:
    empty = sagittal(tmp_path / "head.nii.gz", slices=13)
    across = axial(tmp_path / "across.nii.gz", SPINE.mean(axis=0))
    summary = locate([empty, across], tmp_path / "out", Oracle(np.zeros((0, 3))).know(empty), quiet=True)
    assert (summary.none, int(summary.exit_code)) == (["across", "head"], 3)
    assert rows(tmp_path / "out") == []
    status = {row["study"]: row["status"] for row in rows(tmp_path / "out", "volumes.csv")}
    assert status["head"] == "no lumbar spine found"
    assert status["across"].startswith("expected sagittal slices")
    assert not (tmp_path / "out/head/points.mrk.json").exists()


class Contradiction(Oracle):
    """Sees one disc fewer in volumes with 9 slices, and takes it for the lumbosacral one."""

    def maps(self, image: np.ndarray) -> np.ndarray:
        self.canal = SPINE[:-1] if len(image) == 9 else SPINE
        return super().maps(image)


def test_series_that_contradict_each_other_make_the_levels_uncertain(tmp_path: Path) -> None:
    study = tmp_path / "nifti/s1"
    volumes = sagittal(study / "sagittal_t2.nii.gz"), sagittal(study / "sagittal_t1.nii.gz", slices=9)
    locate([tmp_path / "nifti"], tmp_path / "out", Contradiction().know(*volumes), quiet=True)
    table = rows(tmp_path / "out")
    assert len(table) > 5
    assert all("uncertain_level" in row["flag"] for row in table)


def test_a_broken_volume_does_not_stop_the_others(tmp_path: Path) -> None:
    study = tmp_path / "nifti/s1"
    volume = sagittal(study / "sagittal_t2.nii.gz")
    broken = sagittal(study / "sagittal_t1.nii", slices=9)
    broken.write_bytes(broken.read_bytes()[:-1000])
    locate([tmp_path / "nifti"], tmp_path / "out", Oracle().know(volume), quiet=True)
    status = {row["volume"]: row["status"] for row in rows(tmp_path / "out", "volumes.csv")}
    assert status["sagittal_t2.nii.gz"] == "found"
    assert "damaged or cut short" in status["sagittal_t1.nii"]


def test_volumes_that_cannot_be_used_have_a_row_with_the_reason_and_end_with_3(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "all/good/sagittal_t2.nii.gz")
    image = nib.load(volume)
    colours = np.zeros(image.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    bad = {
        "colour": nib.Nifti1Image(colours, image.affine),
        "over_time": nib.Nifti1Image(np.zeros((*image.shape, 2), dtype=np.int16), image.affine),
        "nowhere": nib.Nifti1Image(np.asarray(image.dataobj), None),
    }
    bad["nowhere"].set_sform(None, 0)
    bad["nowhere"].set_qform(None, 0)
    for name, content in bad.items():
        (tmp_path / "all" / name).mkdir()
        nib.save(content, tmp_path / "all" / name / "sagittal_t2.nii.gz")
        nib.save(content, tmp_path / "all/good" / f"sagittal_t1_{name}.nii.gz")
    summary = locate([tmp_path / "all"], tmp_path / "out", Oracle().know(volume), quiet=True)
    assert (summary.located, summary.none, summary.refused) == (["good"], sorted(bad), 6)
    assert int(summary.exit_code) == 3
    status = {(row["study"], row["volume"]): row["status"] for row in rows(tmp_path / "out", "volumes.csv")}
    assert len(status) == 7
    assert status["good", "sagittal_t2.nii.gz"] == "found"
    assert "3-D" in status["over_time", "sagittal_t2.nii.gz"]
    assert all(str(tmp_path) not in text for text in status.values())
    with pytest.raises(InvalidVolumeError, match="no volume can be used"):
        locate([tmp_path / "all/nowhere"], tmp_path / "none", Oracle(), quiet=True)


@pytest.mark.parametrize("sections", [("training",), ("test",), ("training", "test")])
def test_a_datalists_studies_are_located_whatever_their_section(tmp_path: Path, sections: tuple[str, ...]) -> None:
    path = write_cohort(tmp_path, studies=2)
    content = json.loads(path.read_text())
    first, second = content["training"]
    parts = {"training": [first], "test": [second]} if len(sections) == 2 else {sections[0]: [first, second]}
    path.write_text(json.dumps({**content, "training": [], "test": [], **parts}))
    found = [one.study for one in find_inputs([path])]
    assert found == [first["study_id"], second["study_id"]]


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = sagittal(tmp_path / "a/x.nii.gz"), sagittal(tmp_path / "b/x.nii.gz")
    with pytest.raises(InvalidOptionError, match="both be written as x"):
        locate([first, second], tmp_path / "out", Oracle(), quiet=True)


def test_a_volume_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="there is no"):
        locate([tmp_path / "x.nii.gz"], tmp_path / "out", Oracle(), quiet=True)


def test_many_slices_go_through_in_parts_that_fit_together() -> None:
    class Depth(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, :, :, ::2, ::2].expand(-1, 8, -1, -1, -1)

    image = torch.rand(103, 8, 8)
    maps = LevelLocator(Depth()).maps(image.numpy())
    assert maps[0] == pytest.approx(torch.sigmoid(image[:, ::2, ::2]).double().numpy(), abs=1e-6)
    assert maps[3:].sum(axis=0) == pytest.approx(1.0)


@pytest.mark.slow
def test_a_bundle_without_weights_is_an_error_of_one_line(tmp_path: Path) -> None:
    config = tmp_path / "bundle/configs/inference.json"
    config.parent.mkdir(parents=True)
    network = {"_target_": "monai_spine.levels.sagittal.slice_unet.SliceUNet", "out_channels": 8, "channels": [8, 8]}
    config.write_text(json.dumps({"network_def": network}))
    with pytest.raises(MissingInputError, match=r"model\.pt"):
        LevelLocator.from_bundle(config.parents[1])
    config.write_text("[]")
    with pytest.raises(InvalidTableError, match="network_def"):
        LevelLocator.from_bundle(config.parents[1])
    command = [
        sys.executable,
        "-c",
        "from monai_spine.commands.main import main; main()",
        "locate",
        "x.nii.gz",
        "-o",
        "out",
    ]
    done = subprocess.run([*command, "--model", "nowhere"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "nowhere/configs/inference.json" in done.stderr


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "mps:0", "a b"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match="device"):
        usable_device(name)
    assert usable_device("cpu") == "cpu"


def test_the_gpu_of_apples_processors_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert usable_device("mps") == "mps"


def test_the_volume_itself_decides_whatever_its_storage(tmp_path: Path) -> None:
    volume = sagittal(tmp_path / "a.nii.gz")
    turned = nib.as_closest_canonical(nib.load(volume))
    flipped = nib.Nifti1Image(np.asarray(turned.dataobj)[::-1], turned.affine @ _flip(turned.shape[0]))
    nib.save(flipped, tmp_path / "b.nii.gz")
    one, other = (
        sagittal_grid(Volume(read_volume(path).voxels, read_volume(path).affine), "x")
        for path in (volume, tmp_path / "b.nii.gz")
    )
    assert np.array_equal(one[0], other[0])
    assert one[1] == pytest.approx(other[1])


def _flip(size: int) -> np.ndarray:
    matrix = np.diag([-1.0, 1, 1, 1])
    matrix[0, 3] = size - 1
    return matrix


def with_oracle(volumes: Sequence[Path]) -> tuple[Oracle, None]:
    return Oracle().know(*volumes), None


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "nifti").mkdir()
    volumes = [sagittal(tmp_path / "nifti" / name / "sagittal_t2.nii.gz") for name in ("b", "a", "10")]
    oracle = Oracle().know(*volumes)
    one = locate([tmp_path / "nifti"], tmp_path / "one", oracle, quiet=True)
    models = OnDemand.of("tests.monai_spine.levels.test_locate.with_oracle", {"volumes": volumes})
    with study_processes(models, workers=2) as place:
        two = locate([tmp_path / "nifti"], tmp_path / "two", oracle, quiet=True, processes=place.run)
    assert two == one
    for name in ("points.csv", "volumes.csv", "a/points.json"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()


def test_a_study_is_located_again_only_if_its_volumes_the_models_or_its_files_changed(tmp_path: Path) -> None:
    (tmp_path / "nifti").mkdir()
    volumes = [sagittal(tmp_path / "nifti" / name / "sagittal_t2.nii.gz") for name in ("a", "b")]

    def run(settings: dict | None, known: Sequence[Path], *, force: bool = False) -> int:
        """The number of studies that were kept. Volumes that the oracle does not know are no spines."""
        about = {"quiet": True, "settings": settings, "force": force}
        summary = locate([tmp_path / "nifti"], tmp_path / "out", Oracle().know(*known), **about)
        assert summary.located == ["a", "b"]
        return summary.kept

    assert run({"levels": "1"}, volumes) == 0
    tables = {name: (tmp_path / "out" / name).read_bytes() for name in ("points.csv", "volumes.csv")}
    assert run({"levels": "1"}, []) == 2
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tables} == tables
    assert run({"levels": "2"}, volumes) == 0  # another model
    (tmp_path / "out/b/points.json").write_text("{}")
    assert run({"levels": "2"}, volumes[1:]) == 1
    (tmp_path / "out/b/located.json").write_text("damaged")
    assert run({"levels": "2"}, volumes[1:]) == 1
    for name in ("levels.png", "points.mrk.json"):  # deleted, to be made anew
        (tmp_path / "out/a" / name).unlink()
        assert run({"levels": "2"}, volumes[:1]) == 1
        assert (tmp_path / "out/a" / name).is_file()
    sagittal(volumes[0], slices=13)
    assert run({"levels": "2"}, volumes[:1]) == 1
    assert run(None, volumes) == 0  # and no marks
    assert run({"levels": "2"}, volumes) == 0
    assert run({"levels": "2"}, volumes, force=True) == 0
    assert run({"levels": "2"}, []) == 2


def test_markups_of_another_run_neither_stay_nor_pass_for_edited_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume, out = sagittal(tmp_path / "nifti/a/sagittal_t2.nii.gz"), tmp_path / "out"
    locate([tmp_path / "nifti"], out, Oracle().know(volume), quiet=True)
    locate([tmp_path / "nifti"], out, Oracle(np.zeros((0, 3))).know(volume), quiet=True)
    assert not (out / "a/points.mrk.json").exists()
    locate([tmp_path / "nifti"], out, Oracle(SPINE + 8).know(volume), quiet=True)
    assert not is_edited(out / "a")
    markups = json.loads((out / "a/points.mrk.json").read_text())
    markups["markups"][0]["controlPoints"][0]["position"][0] += 5
    (out / "a/points.mrk.json").write_text(json.dumps(markups))
    assert "edited" not in caplog.text
    locate([tmp_path / "nifti"], out, Oracle().know(volume), quiet=True)
    assert json.loads((out / "a/points.mrk.json").read_text()) == markups
    assert "edited, and is kept" in caplog.text


@pytest.mark.parametrize("series", ["sagittal", "axial"])
def test_a_volume_that_is_gone_costs_no_earlier_result(series: str, tmp_path: Path) -> None:
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/points.json").write_text("good")
    task = LocateTask(tmp_path / "out", lambda: pytest.fail("opened"))
    (tmp_path / "T2.nii.gz").touch()
    files = {"sagittal": (tmp_path / "T2.nii.gz",), "axial": (), series: (tmp_path / "gone.nii.gz",)}
    located = task(StudyInput("a", **files)).located
    assert not located.has_points
    assert "no such file" in located.volumes["gone.nii.gz"]
    assert (tmp_path / "out/a/points.json").read_text() == "good"
