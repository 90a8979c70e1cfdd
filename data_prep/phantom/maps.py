"""Label maps: the tissues of every series as NIfTI, on the grid of the volume that the converter makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.dicom import nifti
from data_prep.dicom.stacks.regularity import MIN_SLICES
from data_prep.phantom.acquisition import label_map
from data_prep.phantom.anatomy import FIRST_LUMBAR, FIRST_SACRAL
from data_prep.phantom.plan import Series, Stack
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.study import Study
from data_prep.phantom.tissue import Tissue
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType

FOLDER = "label_maps"
NAMES = "names.csv"
SHORT_SLICES = 2
"""Slices of a series of mixed shapes that lack their lowest rows."""
DISCS = FIRST_SACRAL + 3


@dataclass(frozen=True)
class Grid:
    """Slices of one shape.

    Attributes
    ----------
    affine
        From ``(column, row, slice)`` to RAS mm.
    size
        Columns, rows, slices.
    motion
        How far the patient has moved, RAS mm.
    number
        The lowest instance number.
    """

    affine: Array
    size: tuple[int, int, int]
    motion: Array
    number: int


def shown_rows(rows: int) -> int:
    """Rows of the short slices in a series of mixed shapes."""
    return rows - -(-rows // 8)


def write(out: Path, study: Study, series: Series) -> None:
    """Write ``out/label_maps/<study>/<series>[_<n>].nii.gz``, a file per volume, uint8.

    A voxel has the label of the tissue at its centre. The stacks of a series are numbered as the converter does it, by
    their lowest instance number; those of too few slices have a number and no volume.
    """
    grids = sorted((grid for stack in series.stacks for grid in _grids(study, series, stack)), key=lambda g: g.number)
    folder = out / FOLDER / study.id
    for n, grid in enumerate(grids):
        if grid.size[2] < MIN_SLICES:
            continue
        affine = np.array(grid.affine)
        affine[:3, 3] -= grid.motion
        voxels = label_map(study.anatomy, affine, grid.size)
        head = nifti.header(grid.size, voxels.dtype, grid.affine, 1.0, 0.0)
        name = f"{series.id}_{n}.nii.gz" if n else f"{series.id}.nii.gz"
        nifti.write(folder / name, nifti.encode(head, voxels, compress=True))


def _grids(study: Study, series: Series, stack: Stack) -> Iterator[Grid]:
    """A stack as it is, or where shapes are mixed its whole slices and its short ones."""
    scan = stack.scan
    columns, rows, slices = scan.size
    if Quirk.MIXED_SHAPE not in study.quirks or series.kind is not SeriesType.AXIAL_T2:
        yield Grid(scan.affine, scan.size, scan.motion, min(stack.instances))
        return
    whole = slices - SHORT_SLICES
    yield Grid(scan.affine, (columns, rows, whole), scan.motion, min(stack.instances[:whole]))
    higher = np.array(scan.affine)
    higher[:3, 3] += whole * scan.affine[:3, 2]
    short = (columns, shown_rows(rows), SHORT_SLICES)
    yield Grid(higher, short, scan.motion, min(stack.instances[whole:]))


def write_names(out: Path) -> None:
    """Write ``out/label_maps/names.csv``: what each label stands for."""
    rows = [(int(tissue), tissue.name.lower()) for tissue in Tissue if tissue is not Tissue.NUCLEUS]
    rows += [(Tissue.NUCLEUS + i, _nucleus(i)) for i in range(DISCS)]
    pd.DataFrame(rows, columns=["label", "name"]).to_csv(out / FOLDER / NAMES, index=False)


def _nucleus(disc: int) -> str:
    """The name of a disc's nucleus, by the graded levels."""
    levels = list(Level)
    place = disc - FIRST_LUMBAR
    if place < 0:
        return f"nucleus_{-place}_above_{levels[0].value}"
    if place >= len(levels):
        return f"nucleus_{place - len(levels) + 1}_below_{levels[-1].value}"
    return f"nucleus_{levels[place].value}"
