"""Pictures of slices: the right voxels in the right place, with the right letters at their edges."""

import io
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_spine.geometry import grid_affine, to_voxel, to_world
from monai_spine.review.pictures import ShownVolume, SlicePictures, letter, shown_volumes
from monai_spine.spine import SeriesType
from tests.cohorts import affine_of, write_volume
from tests.monai_spine.review.outputs import Site

SHAPE = (9, 20, 24)
MADE = grid_affine([0, 0, 0], SHAPE, (4, 5, 5))


def volume(folder: Path, series_type: SeriesType, affine: np.ndarray, shape: tuple = (20, 24, 9)) -> ShownVolume:
    voxels = np.random.default_rng(1).permutation(np.prod(shape)).reshape(shape).astype(np.int16)
    file = write_volume(folder / f"{series_type.value}.nii.gz", voxels, affine)
    record = {kind.value: [str(file)] if kind is series_type else [] for kind in SeriesType}
    (shown,) = shown_volumes(record)
    return shown


def as_scanners_store_it(series_type: SeriesType) -> np.ndarray:
    return affine_of(series_type, (3.0, -5.0, 7.0))


def as_another_program_stores_it(series_type: SeriesType) -> np.ndarray:
    """Slices the other way round, columns and rows too."""
    flip = np.diag([-1.0, -1.0, -1.0, 1.0])
    flip[:3, 3] = [19, 23, 8]
    return affine_of(series_type, (3.0, -5.0, 7.0)) @ flip


@pytest.mark.parametrize("affine", [as_scanners_store_it, as_another_program_stores_it])
@pytest.mark.parametrize("series_type", list(SeriesType))
def test_a_pixel_shows_the_voxel_at_its_place_in_the_patient(
    tmp_path: Path, series_type: SeriesType, affine: object
) -> None:
    shown = volume(tmp_path, series_type, affine(series_type))
    image = nib.load(shown.file)
    voxels, pictures = np.asarray(image.dataobj), SlicePictures(1 << 20)
    dark, bright = np.percentile(voxels, (1, 99.8))  # every value is there once, so that samples hardly differ
    for k in (0, 4, shown.shape[2] - 1):
        picture = np.asarray(Image.open(io.BytesIO(pictures.png(shown, k))))
        assert picture.shape == (shown.shape[1], shown.shape[0])
        for column, row in [(0, 0), (3, 5), (shown.shape[0] - 1, 2), (7, shown.shape[1] - 1)]:
            world = to_world(shown.affine, [column, row, k])
            i, j, n = np.rint(to_voxel(image.affine, world)).astype(int)
            share = np.clip((voxels[i, j, n] - dark) / (bright - dark), 0, 1) ** 0.8 * 255
            assert abs(int(picture[row, column]) - share) < 4


@pytest.mark.parametrize("affine", [as_scanners_store_it, as_another_program_stores_it])
def test_the_letters_are_those_of_the_geometry_however_a_file_is_stored(tmp_path: Path, affine: object) -> None:
    sagittal = volume(tmp_path, SeriesType.SAGITTAL_T2, affine(SeriesType.SAGITTAL_T2)).letters()
    assert sagittal == {"left": "A", "right": "P", "top": "S", "bottom": "I", "first": "L", "last": "R"}
    axial = volume(tmp_path, SeriesType.AXIAL_T2, affine(SeriesType.AXIAL_T2)).letters()
    assert axial == {"left": "R", "right": "L", "top": "A", "bottom": "P", "first": "I", "last": "S"}


def test_letters_are_of_the_nearest_axis() -> None:
    assert [letter(np.array(d)) for d in ([1, 0.2, 0], [-1, 0, 0.9], [0.1, -2, 1], [0, 0, -1])] == ["R", "L", "P", "I"]


def test_an_oblique_axial_volume_keeps_left_and_right(tmp_path: Path) -> None:
    angle = np.radians(35)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    letters = volume(tmp_path, SeriesType.AXIAL_T2, turn @ affine_of(SeriesType.AXIAL_T2)).letters()
    assert (letters["left"], letters["right"], letters["top"]) == ("R", "L", "A")


def test_open_volumes_stay_within_the_memory_and_the_newest_stays(tmp_path: Path) -> None:
    volumes = [volume(tmp_path / str(n), SeriesType.SAGITTAL_T2, MADE, SHAPE) for n in range(5)]
    one = 9 * 20 * 24 * 2
    pictures = SlicePictures(2 * one)
    for shown in volumes:
        pictures.png(shown, 0)
        assert pictures.used_bytes <= 2 * one
    small = SlicePictures(1)
    small.png(volumes[0], 0)
    assert small.used_bytes == one


def test_a_changed_file_is_shown_as_it_is_now(tmp_path: Path) -> None:
    shown = volume(tmp_path, SeriesType.SAGITTAL_T2, affine_of(SeriesType.SAGITTAL_T2))
    pictures = SlicePictures(1 << 20)
    before = pictures.png(shown, 3)
    voxels = np.asarray(nib.load(shown.file).dataobj)[::-1]
    write_volume(shown.file, np.ascontiguousarray(voxels), affine_of(SeriesType.SAGITTAL_T2))
    assert pictures.png(shown, 3) != before


def test_many_threads_get_the_same_slice(tmp_path: Path) -> None:
    shown = volume(tmp_path, SeriesType.AXIAL_T2, affine_of(SeriesType.AXIAL_T2))
    pictures, answers = SlicePictures(1 << 20), []
    threads = [threading.Thread(target=lambda: answers.append(pictures.png(shown, 2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(answers) == 8


def test_every_slice_of_every_volume_is_served(site: Site) -> None:
    for number in range(2):
        state = site.client.get(f"/api/studies/{number}")
        assert [one["title"] for one in state["volumes"]] == ["Sagittal T2/STIR", "Sagittal T1", "Axial T2"]
        for n, one in enumerate(state["volumes"]):
            for k in range(one["slices"]):
                answer = site.client.ask("GET", f"/slices/{number}/{n}/{k}.png")
                assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
                assert Image.open(io.BytesIO(answer.content)).size == (one["columns"], one["rows"])
            back = np.vstack([np.array(one["to_picture"]), [0, 0, 0, 1]]) @ np.vstack([one["to_world"], [0, 0, 0, 1]])
            assert back == pytest.approx(np.eye(4), abs=1e-5)


def test_points_beyond_a_volume_and_its_margin_are_outside(tmp_path: Path) -> None:
    shown = volume(tmp_path, SeriesType.SAGITTAL_T2, MADE, SHAPE)
    assert shown.holds([0, 0, 0], 5)
    assert shown.holds([18 + 4.9, 0, 0], 5)  # the volume ends at 18 mm
    assert not shown.holds([18 + 5.1, 0, 0], 5)
