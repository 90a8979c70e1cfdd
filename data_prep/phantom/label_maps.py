"""Label maps: the tissues of every series as NIfTI, on the grid of the volume that the converter makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.dicom import nifti
from data_prep.dicom.stacks.regularity import MIN_SLICES
from data_prep.phantom.acquire import label_map
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.plan import Series, Stack
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.study import Study
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL
from monai_spine.spine import Level, SeriesType

FOLDER = "label_maps"
NAMES = "names.csv"
SHORT_SLICES = 2
"""With the quirk `MIXED_SHAPE`, this many slices lack their lowest rows."""
DISCS = FIRST_SACRAL + 3
"""Discs of a person: one below every vertebra."""


def short_rows(rows: int) -> int:
    """Rows of these short slices, in a series whose other slices have ``rows``."""
    return rows - -(-rows // 8)


def write_label_maps(out: Path, study: Study, series: Series) -> None:
    """Write ``out/label_maps/<study>/<series>[_<n>].nii.gz``, a file per volume, uint8.

    A voxel has the label of the tissue at its centre. The stacks of a series are numbered by their lowest instance
    number, as by the converter. A stack of too few slices has a number and no volume.
    """
    stacks = [part for stack in series.stacks for part in _parts(study, series, stack)]
    folder = out / FOLDER / study.id
    for n, stack in enumerate(sorted(stacks, key=lambda stack: min(stack.instances))):
        scan = stack.scan
        if scan.size[2] < MIN_SLICES:
            continue
        affine = np.array(scan.affine)
        affine[:3, 3] -= scan.motion
        voxels = label_map(study.anatomy, affine, scan.size)
        head = nifti.header(scan.size, voxels.dtype, scan.affine, 1.0, 0.0)
        name = f"{series.id}_{n}.nii.gz" if n else f"{series.id}.nii.gz"
        nifti.write(folder / name, nifti.encode(head, voxels, compress=True))


def _parts(study: Study, series: Series, stack: Stack) -> Iterator[Stack]:
    """The stack, or with the quirk `MIXED_SHAPE` its whole slices and its short ones, which make two volumes."""
    if Quirk.MIXED_SHAPE not in study.quirks or series.series_type is not SeriesType.AXIAL_T2:
        yield stack
        return
    scan = stack.scan
    columns, rows, slices = scan.size
    whole = slices - SHORT_SLICES
    yield Stack(replace(scan, size=(columns, rows, whole)), stack.instances[:whole])
    higher = np.array(scan.affine)
    higher[:3, 3] += whole * scan.affine[:3, 2]
    short = replace(scan, affine=higher, size=(columns, short_rows(rows), SHORT_SLICES))
    yield Stack(short, stack.instances[whole:])


def write_label_names(out: Path) -> None:
    """Write ``out/label_maps/names.csv``: the name of each label."""
    rows = [(int(tissue), tissue.name.lower()) for tissue in Tissue if tissue is not Tissue.NUCLEUS]
    rows += [(Tissue.NUCLEUS + i, _nucleus(i)) for i in range(DISCS)]
    pd.DataFrame(rows, columns=["label", "name"]).to_csv(out / FOLDER / NAMES, index=False)


def _nucleus(disc: int) -> str:
    """The name of a disc's nucleus, counted from the graded levels."""
    levels = list(Level)
    place = disc - FIRST_LUMBAR
    if place < 0:
        return f"nucleus_{-place}_above_{levels[0].value}"
    if place >= len(levels):
        return f"nucleus_{place - len(levels) + 1}_below_{levels[-1].value}"
    return f"nucleus_{levels[place].value}"
