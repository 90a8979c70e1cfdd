"""Fit what the canal's diameter says about its grade, for a grader (`monai_spine.grading.canal_opinion`).

    python benchmarks/canal_opinion.py DATA/truth.json [--weights FILE] [--share .25] [--studies 200]

``truth.json`` is a datalist of phantoms with soft labels and exact points (``data_prep phantom-truth``). The diameters
are those on the maps of the shipped level localizer. The opinion is written beside the weights, the shipped ones by
default. How large its share should be, `real_spines.py` tells on patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monai_spine.bundle.shipped import GRADER
from monai_spine.console import track
from monai_spine.data.datalist import read_datalist
from monai_spine.data.volume import read_volume
from monai_spine.files import digest_of
from monai_spine.grading.canal_opinion import CanalOpinion, opinion_path
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.measures.canal import canal_diameters
from monai_spine.measures.study import canal_points
from monai_spine.spine import FINDINGS, Group, SeriesType


def main() -> None:
    """Fit and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--weights", type=Path, default=GRADER / "models/model.pt")
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--studies", type=int, default=200, help="that are measured, the first ones")
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        parser.error(f"expected --share from 0 to 1, but given {options.share:g}")
    locator = LevelLocator.from_bundle(device="cpu")
    records = [one for one in read_datalist(options.datalist) if one[SeriesType.SAGITTAL_T2.value]]
    mm, grades = [], []
    for record in track(records[: options.studies], "measure", min(len(records), options.studies)):
        path = record[SeriesType.SAGITTAL_T2.value][0]
        maps = locator.regions(*sagittal_grid(read_volume(path), path))
        diameters = canal_diameters(maps, canal_points(record))
        for finding, soft in zip(FINDINGS, record["soft_label"], strict=True):
            if finding.condition.group is Group.SPINAL and finding.level in diameters and sum(soft) > 0:
                mm.append(diameters[finding.level])
                grades.append(soft)
    fitted = CanalOpinion.fit(np.array(mm), np.array(grades), options.share)
    localizer = digest_of([LevelLocator.SHIPPED / LevelLocator.WEIGHTS])
    opinion = CanalOpinion(fitted.share, fitted.intercepts, fitted.slopes, digest_of([options.weights]), localizer)
    opinion.write(opinion_path(options.weights))
    print(f"{len(mm)} discs; intercepts {opinion.intercepts.round(2)}, slopes {opinion.slopes.round(3)} a mm")


if __name__ == "__main__":
    main()
