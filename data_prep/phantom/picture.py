"""The picture of the documentation: a study per row, its three series beside each other.

``python -m data_prep.phantom.picture docs/phantom.png``
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_prep.phantom.acquisition import acquire
from data_prep.phantom.plan import Series
from data_prep.phantom.points import position
from data_prep.phantom.scan import Scan
from data_prep.phantom.size import Size
from data_prep.phantom.study import Stream, Study, draw, stream
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Finding, Group, Level, Side

SEED = 6
STUDIES = 6
TILE = 260
MARGIN = 0.1
"""Share of an image that is left out on every side."""
Grey = npt.NDArray[np.uint8]


def picture(seed: int = SEED, studies: int = STUDIES) -> Image.Image:
    """Studies from the healthiest to the sickest of the seed's first 40, at their worst level."""
    pool = [draw(seed, index, Size.FULL) for index in range(40)]
    ranked = sorted(pool, key=lambda study: float(study.findings.disease.severity.max()))
    chosen = [ranked[n] for n in np.linspace(0, len(ranked) - 1, studies).astype(int)]
    return Image.fromarray(np.vstack([np.hstack(_row(study)) for study in chosen]))


def _row(study: Study) -> list[Grey]:
    """Sagittal T1 through a foramen, sagittal T2 through the canal, axial T2 through the recesses."""
    rng = stream(study.seed, study.index, Stream.NOISE)
    level = _worst_level(study)
    return [_slice(study, series, level, rng) for series in study.series]


def _worst_level(study: Study) -> Level:
    severity = study.findings.disease.severity.reshape(-1, len(Level))
    return list(Level)[int(severity.mean(axis=0).argmax())]


def _slice(study: Study, series: Series, level: Level, rng: np.random.Generator) -> Grey:
    """The slice on which a finding of a level is marked, windowed to 8 bits."""
    scan = series.stacks[0].scan
    finding = next(f for f in FINDINGS if f.level is level and _is_shown(f, series))
    voxel = to_voxel(scan.affine, position(study.anatomy, finding) + scan.motion)
    image = acquire(study.anatomy, _one_slice(scan, int(np.clip(np.rint(voxel[2]), 0, scan.size[2] - 1))), rng)[0]
    edge = round(image.shape[0] * MARGIN)
    image = image[edge:-edge, edge:-edge]
    grey = np.clip(image * (255.0 / np.percentile(image, 99.3)), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((TILE, TILE), Image.Resampling.LANCZOS))


def _one_slice(scan: Scan, k: int) -> Scan:
    """The scan of slice ``k`` alone."""
    affine = np.array(scan.affine)
    affine[:3, 3] += k * affine[:3, 2]
    return replace(scan, affine=affine, size=(*scan.size[:2], 1))


def _is_shown(finding: Finding, series: Series) -> bool:
    condition = finding.condition
    return condition.series_type is series.kind and (condition.group is Group.SPINAL or condition.side is Side.LEFT)


if __name__ == "__main__":
    picture().save(Path(sys.argv[1]), optimize=True)
