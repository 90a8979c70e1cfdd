"""Measures of the spine: against masks of real patients, and what phantoms make of them.

    python benchmarks/measures.py real DATA                       # errors in mm and degrees, Markdown
    python benchmarks/measures.py real DATA --weights RUN0/models/model.pt RUN1/models/model.pt …
    python benchmarks/measures.py phantoms GRADED --truth truth.csv   # the canal against what was drawn
    python benchmarks/measures.py reference GRADED --solution train.csv --real DATA -o measures.json

``DATA`` is a folder as `real_data.py` describes it, with ``<study>/mask.nii.gz`` (1 vertebra, 2 disc, 3 canal). The
same geometry measures the masks and the network's regions, at the points of ``truth.csv`` and at those of the level
localizer.

With several ``--weights``, those of fold k measure the patients of fold k, which they did not see: see
`monai_spine.measures.masks.masked_volumes`. ``--without-offsets`` measures as the regions are.

``reference`` writes what values are compared with: percentiles of phantoms that ``predict`` has graded, the errors on
real patients that nine in ten values stay below, the offsets that take the bias from them, and the shares of the
canal's own diameter that tell the grades of the solution best. Weights that saw phantoms alone measure phantoms
rightly: grade these without offsets. Others measure them as they measure patients: grade them with the same offsets.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_data import read_patients
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from monai_spine.console import track
from monai_spine.data.volume import Volume, read_volume
from monai_spine.files import read_json
from monai_spine.geometry import Array
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.grid import canonical
from monai_spine.levels.sagittal.maps import REGIONS
from monai_spine.levels.sagittal.points import Structure
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.measures.reference import NO_OFFSETS, Offsets, Reference, reference_of
from monai_spine.measures.regions import RegionFinder
from monai_spine.measures.study import LORDOSIS, NAMES, SpineMeasures, measured
from monai_spine.scoring.submission import read_labels
from monai_spine.spine import FINDINGS, Grade, Group, Level

_IN_MASK = {1: "body", 2: "disc", 3: "canal"}
SHIPPED = RegionFinder.SHIPPED / RegionFinder.WEIGHTS
_LEAST_PAIRS = 5
_WIDTH_MM = 22.0
"""Width of a slab from which on it holds the canal, so that its area can be measured."""


def mask_maps(volume: Volume) -> RegionMaps:
    """The regions of a mask, as probabilities."""
    voxels, affine = canonical(volume, "mask")
    values = np.zeros((len(REGIONS), *voxels.shape), dtype=np.float32)
    for number, name in _IN_MASK.items():
        values[REGIONS.index(name)] = np.rint(voxels) == number
    return RegionMaps(values, affine)


@dataclass(frozen=True)
class Case:
    """A patient: the true measures, whether the slab holds the canal, and the regions at each kind of points."""

    truth: SpineMeasures
    is_wide: bool
    regions: Mapping[str, tuple[RegionMaps, Mapping[Level, Array]]]

    def own(self, points: str, offsets: Offsets = NO_OFFSETS) -> SpineMeasures:
        """The measures of the network's regions."""
        return measured(*self.regions[points], offsets)


def cases_of(folder: Path, weights: Sequence[Path]) -> list[Case]:
    """The patients of a folder, with the network's regions at the true points and at those of the level localizer."""
    finders = [RegionFinder.from_bundle(device="cpu", weights=file.resolve()) for file in weights]
    locator = LevelLocator.from_bundle(device="cpu")
    patients, cases = read_patients(folder), []
    for n, patient in enumerate(track(patients, "segment", len(patients))):
        finder = finders[n % len(finders)]
        volume = read_volume(folder / patient.study / "sagittal_t2.nii.gz")
        mask = read_volume(folder / patient.study / "mask.nii.gz")
        found = {at.level: at.world for at in locator(volume, patient.study).points if at.structure is Structure.CANAL}
        regions = {
            name: (finder(volume, patient.study, np.array(list(canal.values()))), canal)
            for name, canal in (("given", patient.graded), ("found", found))
        }
        cases.append(Case(measured(mask_maps(mask), patient.graded), _width(mask) >= _WIDTH_MM, regions))
    return cases


def offsets_of(cases: Sequence[Case]) -> Offsets:
    """The median differences of canal and discs."""
    away: dict[str, list[float]] = {"canal_diameter_mm": [], "disc_height_middle_mm": []}
    for case in cases:
        own = case.own("found")
        for name, values in away.items():
            values += [
                level[name] - own.levels[number][name]
                for number, level in case.truth.levels.items()
                if name in level and name in own.levels.get(number, {})
            ]
    return Offsets(*(round(float(np.median(values)), 2) for values in away.values()))


Pairs = dict[str, list[tuple[Level | None, float, float]]]
"""By measure: level, true value, value of the network."""


def pairs_of(cases: Sequence[Case], points: str, *, with_offsets: bool = True) -> Pairs:
    """The values of all patients, each with the offsets of the others, or as the regions are."""
    pairs: Pairs = {}
    for n, case in enumerate(cases):
        own = case.own(points, offsets_of([*cases[:n], *cases[n + 1 :]]) if with_offsets else NO_OFFSETS)
        for level, values in case.truth.levels.items():
            for name, value in values.items():
                left_out = name == "canal_area_mm2" and not case.is_wide
                if not left_out and name in own.levels.get(level, {}):
                    pairs.setdefault(name, []).append((level, value, own.levels[level][name]))
        if LORDOSIS in case.truth.whole and LORDOSIS in own.whole:
            pairs.setdefault(LORDOSIS, []).append((None, case.truth.whole[LORDOSIS], own.whole[LORDOSIS]))
    return pairs


def _width(mask: Volume) -> float:
    voxels, affine = canonical(mask, "mask")
    return float(voxels.shape[0] * np.linalg.norm(affine[:3, 0]))


def agreement(one: Array, other: Array) -> float:
    """The intraclass correlation ICC(2,1) of two raters: absolute agreement, both random (Shrout and Fleiss 1979)."""
    both = np.stack([one, other], axis=1)
    count, grand = len(both), both.mean()
    rows, columns = both.mean(axis=1), both.mean(axis=0)
    between_rows = 2 * ((rows - grand) ** 2).sum() / (count - 1)
    between_columns = count * ((columns - grand) ** 2).sum()
    rest = ((both - rows[:, None] - columns + grand) ** 2).sum() / (count - 1)
    return float((between_rows - rest) / (between_rows + rest + 2 * (between_columns - rest) / count))


def print_errors(folder: Path, weights: Sequence[Path], *, with_offsets: bool) -> None:
    """Print the table of errors."""
    print("| points | measure | n | mean absolute error | bias | 90 % below | ICC | Spearman within levels |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    cases = cases_of(folder, weights)
    for points in ("given", "found"):
        pairs = pairs_of(cases, points, with_offsets=with_offsets)
        for name in (*NAMES, LORDOSIS):
            rows = pairs.get(name, [])
            if len(rows) < _LEAST_PAIRS:
                continue
            truth, found = (np.array([row[n] for row in rows]) for n in (1, 2))
            levels = {row[0] for row in rows}
            ranks = [spearmanr(*zip(*[row[1:] for row in rows if row[0] is level], strict=True))[0] for level in levels]
            error = np.abs(found - truth)
            print(
                f"| {points} | {name} | {len(rows)} | {error.mean():.2f} | {(found - truth).mean():+.2f} | "
                f"{np.quantile(error, 0.9):.2f} | {agreement(truth, found):.2f} | {np.nanmean(ranks):.2f} |"
            )
    used = "each patient was measured with the offsets of the others" if with_offsets else "not used here"
    print(f"\n{offsets_of(cases)}; {used}.")


def print_phantoms(graded: Path, truth: Path) -> None:
    """Print how far the canal's diameter is from that of the phantoms, which ``predict`` has graded."""
    drawn = {
        (row["study_id"], row["level"]): float(row["value"])
        for row in csv.DictReader(truth.open(newline="", encoding="utf-8"))
        if row["measure"] == "sac_ap"
    }
    pairs = [
        (drawn[study["study_id"], level], values["canal_diameter_mm"]["value"])
        for study in _studies(graded)
        for level, values in study["measures"].get("levels", {}).items()
        if "canal_diameter_mm" in values
    ]
    own, found = np.array(pairs).T
    error = np.abs(found - own)
    print(
        f"{len(pairs)} levels: mean absolute error {error.mean():.2f} mm, bias {(found - own).mean():+.2f}, "
        f"90 % below {np.quantile(error, 0.9):.2f}, ICC {agreement(own, found):.2f}"
    )


def _studies(graded: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in sorted(graded.glob("*/findings.json"))]


def write_reference(options: argparse.Namespace) -> None:
    """Write a reference of the package, for the weights ``name`` of its bundle."""
    with_offsets = not options.without_offsets
    cases = cases_of(options.real, options.weights)
    errors = {
        name: round(float(np.quantile([abs(row[2] - row[1]) for row in rows], 0.9)), 2)
        for name, rows in pairs_of(cases, "found", with_offsets=with_offsets).items()
    }
    studies = _studies(options.graded)
    labels = read_labels(options.solution)
    grades = dict(zip(labels.study_ids, labels.grades, strict=True))
    share, grade = [], []
    for study in studies:
        for n, finding in enumerate(FINDINGS):
            entry = study["measures"].get("levels", {}).get(finding.level.value, {}).get("canal_share")
            if finding.condition.group is Group.SPINAL and entry and grades[study["study_id"]][n] >= 0:
                share.append(entry["value"])
                grade.append(int(grades[study["study_id"]][n]))
    limits = _best_limits(np.array(share), np.array(grade))
    plain = Reference("", {}, errors, limits, offsets_of(cases) if with_offsets else NO_OFFSETS, options.name)
    made = reference_of(studies, "phantoms", plain)
    made.write(options.out)
    print(
        f"{made.name}; limits {limits}; errors {errors}; kappa {_kappa(np.array(share), np.array(grade), limits):.2f}"
    )


def _best_limits(share: Array, grade: Array) -> tuple[float, float]:
    """The limits of moderate and severe with the largest quadratic kappa."""
    places = np.round(np.arange(0.2, 1.2, 0.02), 2).tolist()
    choices = [(moderate, severe) for moderate in places for severe in places if severe < moderate]
    return max(choices, key=lambda limits: _kappa(share, grade, limits))


def _kappa(share: Array, grade: Array, limits: tuple[float, float]) -> float:
    moderate, severe = limits
    graded = (share < moderate).astype(int) + (share < severe)
    return float(cohen_kappa_score(grade, graded, labels=[int(one) for one in Grade], weights="quadratic"))


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    real = parts.add_parser("real")
    real.add_argument("data", type=Path)
    phantoms = parts.add_parser("phantoms")
    phantoms.add_argument("graded", type=Path)
    phantoms.add_argument("--truth", type=Path, required=True)
    reference = parts.add_parser("reference")
    reference.add_argument("graded", type=Path)
    reference.add_argument("--solution", type=Path, required=True)
    reference.add_argument("--real", type=Path, required=True)
    reference.add_argument("--name", default=SHIPPED.name, help="of the weights that the reference belongs to")
    reference.add_argument("-o", "--out", type=Path, required=True)
    for part in (real, reference):
        part.add_argument("--weights", type=Path, nargs="+", default=[SHIPPED])
        part.add_argument("--without-offsets", action="store_true")
    options = parser.parse_args()
    if options.part == "real":
        print_errors(options.data, options.weights, with_offsets=not options.without_offsets)
    elif options.part == "phantoms":
        print_phantoms(options.graded, options.truth)
    else:
        write_reference(options)


if __name__ == "__main__":
    main()
