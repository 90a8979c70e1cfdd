"""LevelCropsd on studies whose voxels say where they lie."""

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import list_data_collate
from monai.transforms import SelectItemsd

from monai_spine.crops.augmentation import Augmentation
from monai_spine.crops.pose import crop_grid
from monai_spine.crops.view import ABSENT, Interpolation, View
from monai_spine.errors import InvalidOptionError, InvalidVolumeError
from monai_spine.geometry import Array, grid_affine, to_world
from monai_spine.spine import FINDINGS, FLIPPED, TARGETS, Condition, Level, SeriesType
from monai_spine.transforms.level_crops import LevelCropsd, LevelStackd
from tests.monai_spine.crops.worlds import AXIAL_STEP, SAGITTAL_STEP, moved, spine_points
from tests.monai_spine.test_geometry import AXIS_ORDERS

STEPS = {
    SeriesType.SAGITTAL_T1: (SAGITTAL_STEP, (15, 90, 150)),
    SeriesType.SAGITTAL_T2: (SAGITTAL_STEP, (15, 90, 150)),
    SeriesType.AXIAL_T2: (AXIAL_STEP, (80, 80, 40)),
}
VIEWS = (
    View(name="canal", plane="sagittal", series=("sagittal_t2",), size_mm=(40, 32), pixels=(20, 16), slices=5),
    View(
        name="foramina",
        plane="sagittal",
        series=("sagittal_t1", "sagittal_t2"),
        anchor="foraminal",
        size_mm=(32, 32),
        pixels=(16, 16),
        slices=11,
    ),
    View(
        name="disc",
        plane="axial",
        series=("axial_t2",),
        anchor="subarticular",
        size_mm=(40, 50),
        pixels=(20, 26),
        slices=3,
        gap_mm=4.5,
    ),
)


def pattern(world: Array) -> Array:
    """Grey values that tell right from left, front from back, up from down."""
    x, y, z = np.moveaxis(world, -1, 0)
    return 500 + 4.0 * x + 2.0 * y + z + 60 * np.sin(x / 9.0) * np.cos(z / 11.0) + 40 * np.sin(y / 7.0 + x / 20.0)


def write_study(folder: Path, kinds=tuple(SeriesType), turn: Array | None = None, suffix: str = ".nii") -> dict:
    """A record whose volumes show the pattern; ``turn`` also mirrors what is shown, if its determinant is -1."""
    turn = np.eye(3) if turn is None else turn
    folder.mkdir(parents=True, exist_ok=True)
    record = {"study_id": "17", **{kind.value: [] for kind in SeriesType}}
    for kind in kinds:
        step, size = STEPS[kind]
        affine = grid_affine(np.zeros(3), size, step)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
        voxels = np.round(pattern(to_world(affine, index)) * 10).astype(np.int16)
        affine[:3] = turn @ affine[:3]
        path = folder / f"{kind.value}{suffix}"
        nib.save(nib.Nifti1Image(voxels, affine), path)
        record[kind.value] = [str(path)]
    record["label"] = np.arange(25) % 4 - 1
    record["points"] = {name: tuple(turn @ point) for name, point in spine_points().items()}
    return record


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_study(tmp_path_factory.mktemp("study"))


def crops_of(record: dict, **options) -> dict:
    return LevelCropsd(views=VIEWS, **options)(record)


def test_every_view_gives_crops_mask_series_and_reason_of_the_five_levels(study: dict) -> None:
    given = crops_of(study)
    for view in VIEWS:
        assert given[view.name].shape == (5, *view.shape)
        assert given[view.name].dtype == torch.float32
        assert given[f"{view.name}_mask"].shape == (5, view.slices)
        assert given[f"{view.name}_mask"].all()
        assert given[f"{view.name}_reason"] == [""] * 5
    assert [given[f"{view.name}_series"].tolist()[0] for view in VIEWS] == [1, 0, 2]


def test_labels_and_points_stand_by_level_and_condition(study: dict) -> None:
    given = crops_of(study)
    for n, finding in enumerate(FINDINGS):
        row, column = list(Level).index(finding.level), list(Condition).index(finding.condition)
        assert given["label"][row, column] == study["label"][n]
        assert np.allclose(given["points"][row, column], study["points"][finding.name])
    assert given["label"].dtype == torch.int64


def test_without_labels_all_are_missing(study: dict) -> None:
    record = {key: value for key, value in study.items() if key != "label"}
    assert (crops_of(record)["label"] == -1).all()


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_pictures_stand_as_a_radiologist_sees_them(study: dict, interpolation: Interpolation) -> None:
    sagittal = crops_of(study)["canal"][2]
    axial = crops_of(study)["disc"][2]
    assert (sagittal[:-1].mean(dim=(1, 2)) < sagittal[1:].mean(dim=(1, 2))).all()  # slices from left to right
    assert sagittal[2, :, 0].mean() > sagittal[2, :, -1].mean()  # anterior on the left
    assert axial[1, :, 0].mean() > axial[1, :, -1].mean()  # the patient's right on the left
    assert axial[1, 0].mean() > axial[1, -1].mean()  # anterior on top


def test_flipping_exchanges_crops_labels_and_points_at_once_and_twice_is_nothing(study: dict) -> None:
    plain, flipped = crops_of(study), crops_of(study, augmentation=only(mirror=1.0))
    for view in VIEWS:
        back = flipped[view.name].flip(1 + view.flipped_axis)
        assert torch.allclose(back, plain[view.name], atol=1e-4)
    assert torch.equal(flipped["label"].T.flatten(), torch.as_tensor(study["label"])[list(FLIPPED)])
    again = {**study, "label": flipped["label"].T.flatten(), "points": named(flipped["points"])}
    twice = crops_of(again, augmentation=only(mirror=1.0))
    assert torch.equal(twice["label"], plain["label"])
    assert torch.allclose(twice["points"], plain["points"])


def test_flipping_exchanges_soft_labels_as_it_does_labels(study: dict) -> None:
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], size=25)
    named = {**study, "label": soft.argmax(axis=1), "soft_label": soft}
    stack = LevelStackd(views=VIEWS[:1])
    for mirror, order in ((0.0, list(range(25))), (1.0, list(FLIPPED))):
        crops = crops_of(named, augmentation=only(mirror=mirror))
        found = stack(crops)
        assert torch.allclose(found["soft_label"], torch.as_tensor(soft, dtype=torch.float32)[order])
        assert torch.equal(found["soft_label"].argmax(dim=1), found["label"])


def test_slices_near_the_point_of_a_finding_are_marked_in_the_view_that_it_is_read_in(study: dict) -> None:
    transform = LevelCropsd(views=VIEWS, augmentation=Augmentation(rotation=0, tilt=0, mirror=0))
    for seed in range(3):
        record = transform.set_random_state(seed)(study)
        for view in VIEWS:
            marked = record[f"{view.name}_marked"]
            assert marked.shape == (5, 5, view.slices)
            for n, finding in enumerate(FINDINGS):
                own = marked[n % 5, list(Condition).index(finding.condition)]
                if finding.condition.group is not view.anchor:
                    assert not own.any()
                    continue
                # Planes are not turned here, so that distances are those along the level's axis of an upright plane.
                frame = transform.study(study).frames[finding.level]
                pose = transform.poses[view.name][finding.level]
                centres = crop_grid(view, frame, pose).centres
                normal = (frame.basis @ view.directions)[:, 2]
                away = np.abs((np.asarray(study["points"][finding.name]) - centres) @ normal)
                assert own.numpy().tolist() == (away <= view.gap_mm).tolist()
                assert 1 <= own.sum() <= 3


def test_no_slice_is_marked_that_is_not_there_or_whose_point_is_unknown(study: dict) -> None:
    name = "left_neural_foraminal_narrowing_l3_l4"
    record = crops_of({**study, "points": {k: v for k, v in study["points"].items() if k != name}})
    foramina = record["foramina_marked"]
    assert not foramina[2, list(Condition).index(Condition(name[:-6]))].any()
    assert foramina[2].any()
    assert not crops_of({**study, "axial_t2": []})["disc_marked"].any()
    stacked = LevelStackd(views=[VIEWS[1]], conditions=["right_neural_foraminal_narrowing"])(record)
    assert stacked["marked"].shape == (5, 5, 11)
    assert stacked["marked"].any(dim=2).any(dim=0).sum() == 1


def test_flipping_is_cutting_the_flipped_patient_with_the_sides_renamed(study: dict, tmp_path: Path) -> None:
    mirror = np.diag([-1.0, 1.0, 1.0])
    other = write_study(tmp_path, turn=mirror)
    points = {TARGETS[FLIPPED[n]]: other["points"][name] for n, name in enumerate(TARGETS)}
    other = {**other, "points": points, "label": study["label"][list(FLIPPED)]}
    flipped, expected = crops_of(study, augmentation=only(mirror=1.0)), crops_of(other)
    for key in (*(view.name for view in VIEWS), "points"):
        assert torch.allclose(flipped[key], expected[key], atol=1e-4)
    for view in VIEWS:
        assert torch.equal(flipped[f"{view.name}_marked"], expected[f"{view.name}_marked"])
        assert flipped[f"{view.name}_marked"].any()
    assert torch.equal(flipped["label"], expected["label"])


def only(**limits: float) -> Augmentation:
    none = {"rotation": 0, "tilt": 0, "scale": 0, "shift_mm": 0, "slice_shift_mm": 0, "jitter_mm": 0, "mirror": 0}
    return Augmentation(**{**none, **limits})


def named(points: torch.Tensor) -> dict:
    table = points.transpose(0, 1).reshape(25, 3)
    return {target: row.numpy() for target, row in zip(TARGETS, table, strict=True)}


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_crops_are_the_same_in_all_48_storage_orders(study: dict, matrix: np.ndarray, tmp_path: Path) -> None:
    record = {**study, "sagittal_t1": [], "axial_t2": []}
    image = nib.load(study["sagittal_t2"][0])
    order = nib.orientations.io_orientation(np.block([[matrix, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
    stored = tmp_path / "stored.nii"
    nib.save(image.as_reoriented(order), stored)
    given = crops_of({**record, "sagittal_t2": [str(stored)]})
    expected = crops_of(record)
    for name in ("canal", "foramina"):
        assert torch.allclose(given[name], expected[name], atol=1e-5)
        assert torch.equal(given[f"{name}_mask"], expected[f"{name}_mask"])


def test_a_missing_series_is_masked_or_stood_in_for_and_says_so(tmp_path: Path) -> None:
    given = crops_of(write_study(tmp_path, kinds=[SeriesType.SAGITTAL_T2]))
    assert given["canal_mask"].all()
    assert given["foramina_mask"].all()
    assert given["foramina_series"].tolist() == [1] * 5
    assert given["foramina_reason"] == ["no Sagittal T1"] * 5
    assert not given["disc_mask"].any()
    assert not given["disc"].any()
    assert given["disc_series"].tolist() == [-1] * 5


def test_a_level_outside_of_every_volume_is_masked_with_the_distance(study: dict) -> None:
    lifted = moved(spine_points(), np.eye(3), np.array([0.0, 0.0, 60.0]))
    given = crops_of({**study, "points": lifted})
    assert not given["disc_mask"][0].any()
    assert given["disc_mask"][2].all()
    assert given["disc_reason"][0].startswith("Axial T2: nearest plane 3")
    assert given["canal_reason"][0].startswith("Sagittal T2/STIR: ")
    assert given["canal_reason"][0].endswith("mm outside of the image")


def test_a_level_without_points_is_masked_and_not_guessed(study: dict) -> None:
    low = {name: point for name, point in study["points"].items() if name.endswith(("l4_l5", "l5_s1"))}
    given = crops_of({**study, "points": low})
    assert given["canal_mask"].any(dim=1).tolist() == [False, False, True, True, True]
    assert given["canal_reason"][0] == "no point says where L1/L2 is"
    assert not crops_of({**study, "points": {}})["canal_mask"].any()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nan_in_a_volume_is_an_error_that_names_it_or_a_reason(tmp_path: Path, suffix: str) -> None:
    record = write_study(tmp_path, suffix=suffix)
    path = record["sagittal_t1"][0]
    voxels = np.asarray(nib.load(path).dataobj, dtype=np.float32)
    voxels[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, nib.load(path).affine), path)
    with pytest.raises(InvalidVolumeError, match=r"sagittal_t1.*expected finite"):
        crops_of(record)
    given = crops_of(record, bad_volume="mask")
    assert given["foramina_series"].tolist() == [1] * 5
    assert "expected finite" in given["foramina_reason"][0]


def test_packed_and_plain_volumes_give_the_same(study: dict, tmp_path: Path) -> None:
    plain, packed = crops_of(study), crops_of(write_study(tmp_path, suffix=".nii.gz"))
    assert all(torch.equal(plain[view.name], packed[view.name]) for view in VIEWS)


@pytest.mark.parametrize("matrix", AXIS_ORDERS[::5], ids=str)
def test_each_plane_names_the_slice_of_the_file_that_it_shows(study: dict, matrix: np.ndarray, tmp_path: Path) -> None:
    order = nib.orientations.io_orientation(np.block([[matrix, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
    stored = nib.load(study["axial_t2"][0]).as_reoriented(order)
    nib.save(stored, tmp_path / "stored.nii")
    view = VIEWS[2]
    crops = LevelCropsd(views=VIEWS).study({**study, "axial_t2": [str(tmp_path / "stored.nii")]})
    for offset, shown in zip((-4.5, 0.0, 4.5), crops.slices(view, Level.L4_L5), strict=True):
        voxel = np.zeros(3)
        voxel[shown.axis] = shown.index
        assert abs(to_world(stored.affine, voxel)[2] - (offset - 34.0)) == pytest.approx(shown.distance)
        assert shown.distance <= 4.5 / 2
        assert shown.covered
        assert shown.volume.endswith("stored.nii")
    assert not LevelCropsd(views=VIEWS).study({**study, "axial_t2": []}).slices(view, Level.L4_L5)


def test_studies_can_be_put_into_batches_and_the_transform_sent_to_a_process(study: dict, tmp_path: Path) -> None:
    other = write_study(tmp_path, kinds=[SeriesType.SAGITTAL_T2])
    del other["points"]["spinal_canal_stenosis_l1_l2"]
    transform = LevelCropsd(views=VIEWS, augmentation=Augmentation())
    transform(study)
    again = pickle.loads(pickle.dumps(transform))
    names = [f"{view.name}{end}" for view in VIEWS for end in ("", "_mask", "_series", "_reason")]
    chosen = SelectItemsd([*names, "label", "points"])
    batch = list_data_collate([chosen(again(record)) for record in (study, other)])
    assert batch["disc"].shape == (2, 5, *VIEWS[2].shape)
    assert batch["label"].shape == (2, 5, 5)


def test_the_seed_decides_and_without_augmentation_nothing_is_random(study: dict) -> None:
    def drawn(seed: int, limits: Augmentation | None) -> torch.Tensor:
        return LevelCropsd(views=VIEWS, augmentation=limits).set_random_state(seed)(study)["canal"]

    limits = Augmentation()
    assert torch.equal(drawn(1, limits), drawn(1, limits))
    assert not torch.equal(drawn(1, limits), drawn(2, limits))
    assert torch.equal(drawn(1, None), drawn(2, None))


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="bad_volume"):
        LevelCropsd(bad_volume="ignore")
    with pytest.raises(InvalidOptionError, match="name of its own"):
        LevelCropsd(views=[VIEWS[0], VIEWS[0]])
    with pytest.raises(InvalidOptionError, match="view x: 'oblique'"):
        View(name="x", plane="oblique", series=("sagittal_t2",))
    with pytest.raises(InvalidOptionError, match="above 0"):
        View(name="x", plane="axial", series=("axial_t2",), slices=0)
    with pytest.raises(InvalidOptionError, match="rotation"):
        Augmentation(rotation=-1)


def view(name: str, pixels: int = 8, slices: int = 2) -> View:
    return View(name=name, plane="sagittal", series=["sagittal_t2"], pixels=(pixels, pixels), slices=slices)


def test_views_stand_one_behind_the_other_and_absent_slices_are_marked() -> None:
    record = {"study_id": "s", "a": torch.rand(5, 2, 8, 8), "b": torch.rand(5, 3, 8, 8)}
    record["a_mask"] = torch.ones(5, 2, dtype=torch.bool)
    record["b_mask"] = torch.ones(5, 3, dtype=torch.bool)
    record["b_mask"][4, 1] = False
    image = LevelStackd(views=[view("a"), view("b", slices=3)])(record)["image"]
    assert image.shape == (5, 5, 8, 8)
    assert torch.equal(image[:, :2], record["a"])
    assert (image[4, 3] == ABSENT).all()
    assert (image == ABSENT).sum() == 64


def test_labels_go_to_the_order_of_findings() -> None:
    table = torch.arange(25).view(5, 5)  # levels x conditions
    record = {"a": torch.rand(5, 2, 8, 8), "a_mask": torch.ones(5, 2, dtype=torch.bool), "label": table}
    label = LevelStackd(views=[view("a")])(record)["label"]
    for n, finding in enumerate(FINDINGS):
        assert label[n] == table[list(Level).index(finding.level), list(Condition).index(finding.condition)]


def test_labels_of_other_conditions_are_left_out() -> None:
    record = {"a": torch.rand(5, 2, 8, 8), "a_mask": torch.ones(5, 2, dtype=torch.bool), "label": torch.ones(5, 5)}
    names = ["left_subarticular_stenosis", "spinal_canal_stenosis"]
    label = LevelStackd(views=[view("a")], conditions=names)(record)["label"]
    kept = {FINDINGS[n].condition.value for n in torch.nonzero(label == 1)[:, 0].tolist()}
    assert kept == set(names)
    assert (record["label"] == 1).all()
    with pytest.raises(InvalidOptionError, match="spinal_canal_stenosis"):
        LevelStackd(views=[view("a")], conditions=["stenosis"])


def test_views_of_two_sizes_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="one size"):
        LevelStackd(views=[view("a"), view("b", pixels=16)])
