"""Measures of the spine: against masks of real patients, and what phantoms make of them.

    python benchmarks/measures.py real DATA                       # errors in mm and degrees, Markdown
    python benchmarks/measures.py phantoms GRADED --truth truth.csv   # the canal against what was drawn
    python benchmarks/measures.py reference GRADED --solution train.csv --real DATA -o measures.json

``DATA`` is a folder as `real_data.py` describes it, with ``<study>/mask.nii.gz`` (1 vertebra, 2 disc, 3 canal). The
same geometry measures the masks and the network's regions, at the points of ``truth.csv`` and at those of the level
localizer. The slip at L5/S1 is left out, since the masks do not hold the sacrum.

``reference`` writes what values are compared with: percentiles of phantoms that ``predict`` has graded, the errors on
real patients that nine in ten values stay below, and the shares of the canal's own diameter that tell the grades of the
solution best.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from real_data import Patient, read_patients
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from monai_spine.console import track
from monai_spine.data.volume import Volume, read_volume
from monai_spine.files import read_json
from monai_spine.geometry import Array
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.grid import canonical
from monai_spine.levels.sagittal.landmark_maps import REGIONS
from monai_spine.levels.sagittal.points import PointKind
from monai_spine.measures.patch import RegionMaps
from monai_spine.measures.reference import Reference, reference_of
from monai_spine.measures.regions import RegionFinder
from monai_spine.measures.study import LORDOSIS, NAMES, SpineMeasures, measured
from monai_spine.scoring.submission import read_labels
from monai_spine.spine import FINDINGS, Grade, Group, Level

_IN_MASK = {1: "body", 2: "disc", 3: "canal"}
_WIDTH_MM = 22.0
"""Width of a slab from which on it holds the canal, so that its area can be measured."""


def mask_maps(volume: Volume) -> RegionMaps:
    """The regions of a mask, as probabilities."""
    voxels, affine = canonical(volume, "mask")
    values = np.zeros((len(REGIONS), *voxels.shape), dtype=np.float32)
    for number, name in _IN_MASK.items():
        values[REGIONS.index(name)] = np.rint(voxels) == number
    return RegionMaps(values, affine)


def pairs_of(folder: Path, quiet: bool = False) -> Iterator[tuple[Patient, SpineMeasures, Mapping[str, SpineMeasures]]]:
    """Each patient, the measures of its mask, and those of the network at both kinds of points."""
    finder, locator = RegionFinder.from_bundle(device="cpu"), LevelLocator.from_bundle(device="cpu")
    patients = read_patients(folder)
    for patient in track(patients, "measure", len(patients), quiet):
        volume = read_volume(folder / patient.study / "sagittal_t2.nii.gz")
        truth = measured(mask_maps(read_volume(folder / patient.study / "mask.nii.gz")), patient.graded)
        found = {
            point.level: point.world for point in locator(volume, patient.study).points if point.kind is PointKind.CANAL
        }
        yield (
            patient,
            truth,
            {
                "given": measured(_regions(finder, volume, patient, patient.graded), patient.graded),
                "found": measured(_regions(finder, volume, patient, found), found),
            },
        )


def _regions(finder: RegionFinder, volume: Volume, patient: Patient, canal: Mapping[Level, Array]) -> RegionMaps:
    return finder(volume, patient.study, np.array(list(canal.values())))


def errors_of(folder: Path) -> dict[str, dict[str, list[tuple[Level | None, float, float]]]]:
    """By kind of points and measure: level, true value, value of the network."""
    rows: dict[str, dict[str, list[tuple[Level | None, float, float]]]] = {"given": {}, "found": {}}
    for patient, truth, own in pairs_of(folder):
        wide = _width(read_volume(folder / patient.study / "mask.nii.gz")) >= _WIDTH_MM
        for points, measures in own.items():
            for level, values in truth.levels.items():
                for name, value in values.items():
                    left_out = (name == "canal_area_mm2" and not wide) or (name == "slip_mm" and level is Level.L5_S1)
                    if not left_out and name in measures.levels.get(level, {}):
                        rows[points].setdefault(name, []).append((level, value, measures.levels[level][name]))
            if LORDOSIS in truth.whole and LORDOSIS in measures.whole:
                rows[points].setdefault(LORDOSIS, []).append((None, truth.whole[LORDOSIS], measures.whole[LORDOSIS]))
    return rows


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


def print_errors(folder: Path) -> None:
    """Print the table of errors."""
    print("| points | measure | n | mean absolute error | bias | 90 % below | ICC | Spearman within levels |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for points, measures in errors_of(folder).items():
        for name in (*NAMES, LORDOSIS):
            rows = measures.get(name, [])
            if len(rows) < 5:
                continue
            truth, found = (np.array([row[n] for row in rows]) for n in (1, 2))
            levels = {row[0] for row in rows}
            ranks = [spearmanr(*zip(*[row[1:] for row in rows if row[0] is level], strict=True))[0] for level in levels]
            error = np.abs(found - truth)
            print(
                f"| {points} | {name} | {len(rows)} | {error.mean():.2f} | {(found - truth).mean():+.2f} | "
                f"{np.quantile(error, 0.9):.2f} | {agreement(truth, found):.2f} | {np.nanmean(ranks):.2f} |"
            )


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


def write_reference(graded: Path, solution: Path, real: Path, out: Path) -> None:
    """Write the reference of the package."""
    errors = {
        name: round(float(np.quantile([abs(row[2] - row[1]) for row in rows], 0.9)), 2)
        for name, rows in errors_of(real)["found"].items()
    }
    studies = _studies(graded)
    labels = read_labels(solution)
    grades = dict(zip(labels.study_ids, labels.grades, strict=True))
    share, grade = [], []
    for study in studies:
        for n, finding in enumerate(FINDINGS):
            entry = study["measures"].get("levels", {}).get(finding.level.value, {}).get("canal_share")
            if finding.condition.group is Group.SPINAL and entry and grades[study["study_id"]][n] >= 0:
                share.append(entry["value"])
                grade.append(int(grades[study["study_id"]][n]))
    limits = _best_limits(np.array(share), np.array(grade))
    plain = Reference("", {}, errors, limits)
    made = reference_of(studies, "phantoms", plain)
    made.write(out)
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
    told = (share < moderate).astype(int) + (share < severe)
    return float(cohen_kappa_score(grade, told, labels=[int(one) for one in Grade], weights="quadratic"))


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("real").add_argument("data", type=Path)
    phantoms = parts.add_parser("phantoms")
    phantoms.add_argument("graded", type=Path)
    phantoms.add_argument("--truth", type=Path, required=True)
    reference = parts.add_parser("reference")
    reference.add_argument("graded", type=Path)
    reference.add_argument("--solution", type=Path, required=True)
    reference.add_argument("--real", type=Path, required=True)
    reference.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    if options.part == "real":
        print_errors(options.data)
    elif options.part == "phantoms":
        print_phantoms(options.graded, options.truth)
    else:
        write_reference(options.graded, options.solution, options.real, options.out)


if __name__ == "__main__":
    main()
