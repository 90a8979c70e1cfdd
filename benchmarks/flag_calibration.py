"""What the flag `uncertain_level` is worth: wrong levels among flagged and among unflagged volumes.

    python benchmarks/flag_calibration.py DATA... -o OUT [--changes "as it is" "ends above L5/S1"]

Each ``DATA`` is a datalist with canal points, such as one of a phantom cohort with quirks; a folder as `real_data.py`
describes it; or a folder of middle slices as PNG with ``boxes.csv`` (anterior left; columns ``image,level``,
``pixel_spacing_mm,canal_x_est,canal_y_est`` in pixels), each of which becomes a volume of one slice.
``--changes`` are those of `real_spines.py`. Writes ``OUT/flag_calibration.md``, which it also prints, and
``OUT/flag_calibration.csv`` with a row for each volume.

A level is wrong as in `real_spines.py`. Intervals are 95 % ones of Clopper and Pearson.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from real_data import read_patients
from real_spines import CHANGES, NO_SPINE, SACRUM_IN_VIEW, SAGITTAL, Case, assess
from scipy.stats import binomtest

from monai_spine.data.volume import Volume, read_volume
from monai_spine.geometry import Array
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.grid import sagittal_grid

Shown = tuple[str, str, Volume, Mapping[str, Array]]
"""Study, series, volume, and the canal by the names of levels in RAS mm."""
SLICE_MM = 4.0


def volumes_of(data: Path) -> Iterator[Shown]:
    """The sagittal volumes of a data set, one after the other."""
    if (data / "boxes.csv").is_file():
        yield from _slices(data)
        return
    for patient in read_patients(data):
        for series in SAGITTAL:
            for path in patient.record[series.value]:
                yield patient.study, Path(path).name, read_volume(path), patient.canal


def _slices(folder: Path) -> Iterator[Shown]:
    marks: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader((folder / "boxes.csv").open(newline="", encoding="utf-8")):
        marks.setdefault(row["image"], []).append(row)
    for name, rows in marks.items():
        picture = np.asarray(Image.open(folder / f"{name}.png").convert("L"), dtype=np.float32)
        step, (height, width) = float(rows[0]["pixel_spacing_mm"]), picture.shape
        # Columns lead from the front backwards, rows downwards; RAS has both the other way.
        volume = Volume(picture[::-1, ::-1].T[None].copy(), np.diag([SLICE_MM, step, step, 1.0]))
        canal = {
            row["level"]: step
            * np.array([0.0, width - 1 - float(row["canal_x_est"]), height - 1 - float(row["canal_y_est"])])
            for row in rows
        }
        yield name, "slice", volume, canal


def cases_of(data: Path, changes: list[str], locator: LevelLocator) -> Iterator[Case]:
    """What the localizer finds in each volume with each change."""
    for study, series, volume, canal in volumes_of(data):
        image, affine = sagittal_grid(volume, study)
        for name in changes:
            level = name.removeprefix("ends above ").replace("ends in S1", "L5/S1")
            if level in ("L5/S1", "L4/L5") and level not in canal:
                continue
            spine = locator.points(CHANGES[name](image, affine, canal), affine)
            yield assess(spine, canal, (study, series, name))


def table(sets: Mapping[str, list[Case]], changes: list[str]) -> list[str]:
    """Lines of Markdown: a row for each data set and change."""
    lines = [
        "| data | volumes | n | no spine | uncertain | wrong, of flagged | wrong, of not flagged | 95 % | doubts |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, cases in sets.items():
        for change in changes:
            rows = [case for case in cases if case.change == change]
            found = [case for case in rows if case.found]
            flagged, sure = ([case for case in found if case.certain is one] for one in (False, True))
            wrong = sum(case.wrong for case in sure)
            most = f"{100 * binomtest(wrong, len(sure)).proportion_ci().high:.0f} %" if sure else "–"
            doubts = Counter(doubt for case in flagged for doubt in case.doubts)
            lines.append(
                f"| {name} | {change} | {len(rows)} | {len(rows) - len(found)} | "
                f"{len(flagged)} ({100 * len(flagged) / max(1, len(found)):.0f} %) | "
                f"{sum(case.wrong for case in flagged)} of {len(flagged)} | {wrong} of {len(sure)} | up to {most} | "
                f"{', '.join(f'{doubt} {n}' for doubt, n in doubts.most_common())} |"
            )
    return lines


def main() -> None:
    """Locate, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    usual = [name for name in CHANGES if name in SACRUM_IN_VIEW or name not in NO_SPINE]
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=usual)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    locator = LevelLocator.from_bundle(None, "cpu")
    sets = {
        (data.parent if data.is_file() else data).name: list(cases_of(data, options.changes, locator))
        for data in options.data
    }
    with (options.out / "flag_calibration.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["data", "study", "series", "change", "found", "certain", "wrong", "doubts"])
        for name, cases in sets.items():
            for case in cases:
                about = (case.study, case.series, case.change, case.found, case.certain, case.wrong)
                out.writerow([name, *about, ";".join(case.doubts)])
    text = "\n".join(table(sets, options.changes)) + "\n"
    (options.out / "flag_calibration.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
