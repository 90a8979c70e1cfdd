"""The pictures of docs/explanation/phantom.md.

A study per row, its three series side by side; or, with the folder of real slices, patients of the SPIDER data set
(top) and phantoms (bottom), sagittal T2 and T1 near the midline.

    python benchmarks/phantom_picture.py docs/explanation/phantom.png
    python benchmarks/phantom_picture.py docs/explanation/phantom_beside_patients.png ../shared/data/spider/slices
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from data_prep.choices import PhantomSize
from data_prep.phantom.acquire import acquire
from data_prep.phantom.study import Stream, draw_study, stream
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Group, Level, SeriesType, Side

SEED = 6
STUDIES = 6
TILE = 260
WINDOW = 210.0
"""Height of a tile of the second picture in mm."""
PATIENTS = ("47_t2", "213_t2", "17_t2", "165_t2", "213_t1", "95_t1", "215_t1")
MARGIN = 0.1
"""Share of an image that is cut off on every side."""


def picture():
    """Studies from the healthiest to the sickest of the seed's first 40, at their worst level."""
    pool = [draw_study(SEED, index, PhantomSize.FULL) for index in range(40)]
    ranked = sorted(pool, key=lambda study: float(study.findings.disease.severity.max()))
    chosen = [ranked[n] for n in np.linspace(0, len(ranked) - 1, STUDIES).astype(int)]
    return Image.fromarray(np.vstack([np.hstack(row(study)) for study in chosen]))


def row(study):
    """Sagittal T1 through a foramen, sagittal T2 through the canal, axial T2 through the recesses."""
    rng = stream(study.seed, study.index, Stream.NOISE)
    severity = study.findings.disease.severity.reshape(-1, len(Level))
    worst = list(Level)[int(severity.mean(axis=0).argmax())]
    return [tile(study, series, worst, rng) for series in study.series]


def tile(study, series, level, rng):
    """The slice on which a finding of a level is marked, windowed to 8 bits."""
    scan = series.stacks[0].scan
    finding = next(f for f in FINDINGS if f.level is level and is_shown(f, series))
    voxel = to_voxel(scan.affine, study.anatomy.position(finding) + scan.motion)
    image = acquire(study.anatomy, one_slice(scan, int(np.clip(np.rint(voxel[2]), 0, scan.size[2] - 1))), rng)[0]
    edge = round(image.shape[0] * MARGIN)
    image = image[edge:-edge, edge:-edge]
    grey = np.clip(image * (255.0 / np.percentile(image, 99.3)), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((TILE, TILE), Image.Resampling.LANCZOS))


def one_slice(scan, k):
    """The scan of slice ``k`` alone."""
    affine = np.array(scan.affine)
    affine[:3, 3] += k * affine[:3, 2]
    return replace(scan, affine=affine, size=(*scan.size[:2], 1))


def is_shown(finding, series):
    condition = finding.condition
    on_series = condition.series_type is series.series_type
    return on_series and (condition.group is Group.SPINAL or condition.side is Side.LEFT)


def beside_patients(slices):
    """Four T2 and three T1 slices of patients, above those of phantoms, each 210 mm high around L3/L4."""
    boxes = {row["image"]: row for row in csv.DictReader((slices / "boxes.csv").open()) if row["level"] == "L3/L4"}
    top = [_of_patient(slices, boxes[name]) for name in PATIENTS]
    wanted = [SeriesType.SAGITTAL_T2 if name.endswith("t2") else SeriesType.SAGITTAL_T1 for name in PATIENTS]
    bottom = [_of_phantom(index, series_type) for index, series_type in enumerate(wanted)]
    return Image.fromarray(np.vstack([np.hstack(top), np.hstack(bottom)]))


def _of_patient(slices, box):
    image = np.asarray(Image.open(slices / f"{box['image']}.png").convert("L"), dtype=float)
    return _window(image, (float(box["disc_x"]), float(box["disc_y"])), float(box["pixel_spacing_mm"]))


def _of_phantom(index, series_type):
    study = draw_study(SEED, index, PhantomSize.FULL)
    scan = next(series for series in study.series if series.series_type is series_type).stacks[0].scan
    middle = study.anatomy.canal_point(Level.L3_L4) + np.array([0.0, 22.0, 0.0])
    voxel = to_voxel(scan.affine, study.anatomy.curve.to_world(middle) + scan.motion)
    rng = stream(study.seed, study.index, Stream.NOISE)
    image = acquire(study.anatomy, one_slice(scan, round(voxel[2])), rng)[0].astype(float)
    return _window(image, voxel[:2], float(np.linalg.norm(scan.affine[:3, 0])))


def _window(image, middle, pixel):
    """``WINDOW`` mm of an image around a place, as a tile of 8 bits."""
    places = (np.arange(TILE) - (TILE - 1) / 2) * WINDOW / TILE / pixel
    rows, columns = np.meshgrid(middle[1] + places, middle[0] + places[: TILE * 2 // 3] + places[-1] / 3, indexing="ij")
    values = map_coordinates(image, [rows, columns], order=1, mode="constant")
    return np.clip(values * (255.0 / np.percentile(values, 99.3)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    made = beside_patients(Path(sys.argv[2])) if len(sys.argv) > 2 else picture()
    made.save(Path(sys.argv[1]), optimize=True)
