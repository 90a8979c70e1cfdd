"""The picture of docs/explanation/phantom.md: a study per row, its three series side by side.

python benchmarks/phantom_picture.py docs/explanation/phantom.png
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.choices import PhantomSize
from data_prep.phantom.acquire import acquire
from data_prep.phantom.study import Stream, draw_study, stream
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Group, Level, Side

SEED = 6
STUDIES = 6
TILE = 260
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


if __name__ == "__main__":
    picture().save(Path(sys.argv[1]), optimize=True)
