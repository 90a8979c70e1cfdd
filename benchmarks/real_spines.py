"""The level localizer and the grader on real volumes whose canal is marked.

    python benchmarks/real_spines.py DATA -o OUT [--no-grader]

``DATA`` is a folder as `real_data.py` describes it, or a datalist with canal points. Writes
``OUT/real_spines.md`` (the tables, which it also prints), ``OUT/volumes.csv`` (a row for each volume and change) and
``OUT/worst_0.png`` … of the volumes with the greatest errors.

**Localizer**, on each volume as it is and changed: rates of no spine, wrong levels, wrong ones without a flag, and
uncertain ones; the error across and along the canal; false finds on volumes that are flipped or upside down.
**Grader**, with located points: the rank correlation of its canal score with the canal's diameter and area and with the
crop's brightness, within levels; AUC for a diameter below 8 mm; the change of the score under gamma and zoom.

95 % intervals are bootstraps over patients.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from real_data import Patient, read_patients
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from monai_spine.crops.view import ABSENT
from monai_spine.data.datalist import Record
from monai_spine.data.volume import read_volume
from monai_spine.geometry import Array, to_voxel
from monai_spine.grading.canal_opinion import CANAL_MM
from monai_spine.grading.grader import Grader
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.located_records import points_of_findings
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.picture import level_picture
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.points import SpinePoints, Structure
from monai_spine.measures.canal import canal_diameters
from monai_spine.measures.study import canal_points
from monai_spine.spine import FINDINGS, Group, Level, SeriesType

WRONG_MM = 15.0
NARROW_MM = 8.0
REPLICATES = 1000
SAGITTAL = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)


# Changes of an image (x to the right, y forwards, z up) on the localizer's grid.


def cut_below(level: str, above_mm: float) -> Callable[[Array, Array, Mapping[str, Array]], Array]:
    """The field of view ends so far above a level's canal; negative: below it."""

    def change(image: Array, affine: Array, canal: Mapping[str, Array]) -> Array:
        end = int(to_voxel(affine, canal[level] + np.array([0.0, 0.0, above_mm]))[2])
        cut = image.copy()
        cut[:, :, : max(0, end)] = 0
        return cut

    return change


CHANGES: dict[str, Callable[[Array, Array, Mapping[str, Array]], Array]] = {
    "as it is": lambda image, *_: image,
    "gamma 1.6": lambda image, *_: image**1.6,
    "inverted": lambda image, *_: np.where(image > 0, 1 - image, image),
    "six slices": lambda image, *_: image[max(0, len(image) // 2 - 3) : len(image) // 2 + 3],
    "ends in S1": cut_below("L5/S1", -24.0),
    "ends above L5/S1": cut_below("L5/S1", 12.0),
    "ends above L4/L5": cut_below("L4/L5", 12.0),
    "flipped front to back": lambda image, *_: image[:, ::-1],
    "upside down": lambda image, *_: image[:, :, ::-1],
    "turned by 180°": lambda image, *_: image[:, ::-1, ::-1],
}
NO_SPINE = ("flipped front to back", "upside down", "turned by 180°")
SACRUM_IN_VIEW = ("as it is", "gamma 1.6", "inverted", "six slices", "ends in S1")


@dataclass(frozen=True)
class Case:
    """What the localizer found in one volume with one change."""

    study: str
    series: str
    change: str
    found: bool
    certain: bool
    doubts: tuple[str, ...]
    wrong: bool
    errors: tuple[tuple[Level, float, float, float, bool], ...]
    """Level, mm across the canal, mm along it (upwards), confidence, and whether the point is flagged."""

    @property
    def mean(self) -> float:
        """Mean error in the sagittal plane, mm."""
        return float(np.mean([np.hypot(across, along) for _, across, along, _, _ in self.errors] or [0.0]))


def assess(spine: SpinePoints, canal: Mapping[str, Array], about: tuple[str, str, str]) -> Case:
    """The comparison of a volume's points with the marked canal, in the sagittal plane."""
    if spine.chain is None:
        return Case(*about, False, False, (), False, ())
    wrong, errors = False, []
    for point in spine.points:
        if point.structure is not Structure.CANAL:
            continue
        distance = {title: float(np.linalg.norm((point.world - place)[1:])) for title, place in canal.items()}
        nearest = min(distance, key=distance.__getitem__)
        own = point.level.title
        # A level that is not marked is wrong if another one lies there.
        wrong |= nearest != own and (distance[own] > WRONG_MM if own in distance else distance[nearest] < 10.0)
        if nearest == own:
            errors.append(
                (point.level, *_components(point.world - canal[own], canal, own), point.confidence, bool(point.flags))
            )
    doubts = tuple(doubt.name for doubt in spine.chain.doubts)
    return Case(*about, True, spine.chain.certain, doubts, wrong, tuple(errors))


def _components(error: Array, canal: Mapping[str, Array], title: str) -> tuple[float, float]:
    """An error in mm across the canal and along it; the canal's direction is that of the neighbouring marks."""
    titles = sorted(canal, key=lambda one: -canal[one][2])
    n = titles.index(title)
    up = (canal[titles[max(n - 1, 0)]] - canal[titles[min(n + 1, len(titles) - 1)]])[1:]
    up = up / np.linalg.norm(up)
    return float(error[1:] @ np.array([up[1], -up[0]])), float(error[1:] @ up)


def localized(patients: Sequence[Patient], locator: LevelLocator, out: Path) -> list[Case]:
    """All cases, and pictures of the worst volumes."""
    cases, shown = [], []
    for patient in patients:
        for path in [path for one in SAGITTAL for path in patient.record[one.value]]:
            image, affine = sagittal_grid(read_volume(path), path)
            for name, change in CHANGES.items():
                needed = {"ends in S1": "L5/S1", "ends above L5/S1": "L5/S1", "ends above L4/L5": "L4/L5"}.get(name)
                if needed is not None and needed not in patient.canal:
                    continue
                spine = locator.points(change(image, affine, patient.canal), affine)
                case = assess(spine, patient.canal, (patient.study, Path(path).name, name))
                cases.append(case)
                if name == "as it is":
                    cost = 100.0 * (not case.found or case.wrong) + case.mean
                    shown.append((cost, patient, Path(path), image, affine, spine))
    shown.sort(key=lambda one: -one[0])
    for n, (_, patient, path, image, affine, spine) in enumerate(shown[:6]):
        located = LocatedStudy(patient.study, spine.points, spine.absent, {path.name: "found"}, {})
        Image.fromarray(np.asarray(level_picture(image, affine, located, {}))).save(out / f"worst_{n}.png")
    return cases


def interval(values: Sequence[float], groups: Sequence[str], figure: Callable[[Array], float] = np.nanmean) -> str:
    """A figure with its 95 % interval over patients."""
    table = np.asarray(values, dtype=np.float64)
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(numbers == n) for n in range(len(names))]
    rng = np.random.default_rng(0)
    drawn = [
        figure(table[np.concatenate([rows[n] for n in rng.integers(0, len(rows), len(rows))])])
        for _ in range(REPLICATES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{figure(table):.2f} ({low:.2f} to {high:.2f})"


def localizer_tables(cases: Sequence[Case]) -> list[str]:
    """Markdown tables of rates and errors."""
    lines = ["| volumes | n | no spine | wrong level | of these no flag | uncertain |", "|---|--:|--:|--:|--:|--:|"]
    for name in CHANGES:
        rows = [case for case in cases if case.change == name]
        found = [case for case in rows if case.found]
        wrong = [case for case in found if case.wrong] if name not in NO_SPINE else found
        lines.append(
            f"| {name} | {len(rows)} | {len(rows) - len(found)} | {len(wrong)} | "
            f"{sum(case.certain for case in wrong)} | {sum(not case.certain for case in found)} |"
        )
    real = [case for case in cases if case.change not in NO_SPINE and case.found]
    flagged, sure = ([case for case in real if case.certain is certain] for certain in (False, True))
    lines += ["", f"A wrong level: {_share(flagged)} with `uncertain_level`, {_share(sure)} without.", ""]
    lines += [
        "| level | n | across the canal, mm | along it, mm | in the plane, mm | within 5 mm |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    errors = [(case.study, *error) for case in cases if case.change == "as it is" for error in case.errors]
    for level in (*Level, None):
        rows_ = [error for error in errors if level is None or error[1] is level]
        if rows_:
            names = [row[0] for row in rows_]
            across, along = np.array([row[2:4] for row in rows_]).T
            plane = np.hypot(across, along)
            lines.append(
                f"| {level.title if level else 'all'} | {len(rows_)} | {interval(across, names)} | "
                f"{interval(along, names)} | {interval(plane, names)} | {np.mean(plane <= 5):.2f} |"
            )
    points = [
        (np.hypot(e[1], e[2]), e[3], e[4]) for case in cases if case.change in SACRUM_IN_VIEW for e in case.errors
    ]
    lines += ["", "| confidence of a canal point | n | mean error, mm | more than 5 mm off |", "|---|--:|--:|--:|"]
    for low, high in ((0.0, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 1.01)):
        some = np.array([point[0] for point in points if low <= point[1] < high])
        if len(some):
            lines.append(f"| {low:g} to {min(high, 1):g} | {len(some)} | {some.mean():.1f} | {np.mean(some > 5):.2f} |")
    return lines


def _share(cases: Sequence[Case]) -> str:
    return f"{sum(case.wrong for case in cases)} of {len(cases)}"


# Grader.

CANAL = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is Group.SPINAL]
GRADER_CHANGES = {
    "as it is": (1.0, 1.0),
    "gamma .8": (0.8, 1.0),
    "gamma 1.2": (1.2, 1.0),
    "zoom .85": (1.0, 0.85),
    "zoom 1.15": (1.0, 1.15),
}
"""Exponent of the grey values, and factor of all lengths."""
SAME_MEAN = 0.35
"""Mean grey value that the crops of all patients are brought to."""


def graded(patients: Sequence[Patient], locator: LevelLocator, grader: Grader) -> list[dict[str, Any]]:
    """A row for each level: the expected grade of the canal (0 to 2) under each change, brightness, what is marked."""
    rows = []
    for patient in patients:
        record: Record = {**patient.record, "points": patient.points}
        for path in record[SeriesType.SAGITTAL_T2.value][:1]:
            spine = locator(read_volume(path), path)
            # Foramina as they are located; which level is which, and where its canal is, the marks say.
            record["points"] = {**points_of_findings(spine.points), **patient.points}
        scores = {}
        with TemporaryDirectory() as folder:
            for name, (gamma, zoom) in GRADER_CHANGES.items():
                changed_record = changed(record, Path(folder), gamma, zoom)
                scores[name] = grader(with_diameters(changed_record, locator)).natural[CANAL] @ np.arange(3)
                if name == "as it is":
                    scores["images alone"] = grader(changed_record).natural[CANAL] @ np.arange(3)
            same = with_diameters(of_mean(SAME_MEAN, record, Path(folder), grader), locator)
            scores["same brightness"] = grader(same).natural[CANAL] @ np.arange(3)
        image = canal_crops(grader, record)
        for n, level in enumerate(Level):
            if level in patient.graded:
                seen = image[n][image[n] != ABSENT]
                rows.append(
                    {
                        "study": patient.study,
                        "level": level,
                        "brightness": float(seen.mean()) if len(seen) else np.nan,
                        "diameter": patient.diameter.get(level, np.nan),
                        "area": patient.area.get(level, np.nan),
                        "share": patient.share.get(level, np.nan),
                        **{name: float(values[n]) for name, values in scores.items()},
                    }
                )
    return rows


def with_diameters(record: Record, locator: LevelLocator) -> Record:
    """The record with the canal's diameters, which have a share in its grades, as `predict` takes them."""
    path = record[SeriesType.SAGITTAL_T2.value][0]
    maps = locator.regions(*sagittal_grid(read_volume(path), path))
    return {**record, CANAL_MM: canal_diameters(maps, canal_points(record))}


def canal_crops(grader: Grader, record: Record) -> Array:
    """The canal's crops of all levels, ``(5, slices, rows, columns)``."""
    crops: Array = grader.image(record)[:, : grader.networks[0].views[0]]
    return crops


def of_mean(mean: float, record: Record, folder: Path, grader: Grader) -> Record:
    """The record with its grey values raised to the power, from .3 to 3, that brings its canal's crops to a mean."""
    low, high = 0.3, 3.0
    for _ in range(7):
        power = np.sqrt(low * high)
        made = changed(record, folder, power, 1.0)
        crops = canal_crops(grader, made)
        low, high = (power, high) if crops[crops != ABSENT].mean() > mean else (low, power)
    return made


def changed(record: Record, folder: Path, gamma: float, zoom: float) -> Record:
    """The record with volumes of other grey values, and with all lengths and places times a factor."""
    scale = np.diag([zoom, zoom, zoom, 1.0])
    copy: Record = {
        **record,
        "points": {name: tuple(zoom * np.array(place)) for name, place in record["points"].items()},
    }
    for one in SeriesType:
        files = []
        for path in record[one.value]:
            volume = read_volume(path)
            low, high = float(volume.voxels.min()), float(volume.voxels.max())
            voxels = ((volume.voxels - low) / max(high - low, 1e-6)) ** gamma * 1000
            files.append(str(folder / f"{gamma}_{zoom}_{Path(path).name}"))
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), scale @ volume.affine), files[-1])
        copy[one.value] = files
    return copy


def within_level(rows: Sequence[Mapping[str, Any]], first: str, second: str) -> Callable[[Array], float]:
    """The mean over levels of Spearman's rank correlation of two columns, of the rows with the given indices."""

    def figure(indices: Array) -> float:
        values = []
        for level in Level:
            pairs = np.array(
                [(rows[int(n)][first], rows[int(n)][second]) for n in indices if rows[int(n)]["level"] is level]
            )
            pairs = pairs[np.isfinite(pairs).all(axis=1)] if len(pairs) else pairs
            if len(pairs) > 2 and (np.ptp(pairs, axis=0) > 0).all():
                values.append(spearmanr(*pairs.T).statistic)
        return float(np.mean(values)) if values else float("nan")

    return figure


def narrow_auc(rows: Sequence[Mapping[str, Any]], score: str = "as it is") -> Callable[[Array], float]:
    """The area under the ROC curve of the canal score for a diameter below `NARROW_MM`."""

    def figure(indices: Array) -> float:
        some = [rows[int(n)] for n in indices if np.isfinite(rows[int(n)]["diameter"])]
        truth = [row["diameter"] < NARROW_MM for row in some]
        return (
            float(roc_auc_score(truth, [row[score] for row in some])) if 0 < sum(truth) < len(truth) else float("nan")
        )

    return figure


def grader_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A Markdown table of the grader's figures."""
    names, indices = [row["study"] for row in rows], np.arange(len(rows))
    figures = {}
    for score, words in (("as it is", "canal score"), ("images alone", "score of the images alone")):
        for column in ("diameter", "area", "share", "brightness"):
            figures[f"Spearman of {words} and {column}, within levels"] = within_level(rows, score, column)
        figures[f"AUC of the {words} for a diameter below {NARROW_MM:g} mm"] = narrow_auc(rows, score)
    same = "all crops at the same mean brightness"
    figures[f"Spearman of the score with {same}, and the brightness before"] = within_level(
        rows, "same brightness", "brightness"
    )
    for change in [*list(GRADER_CHANGES)[1:], "same brightness"]:
        change_of = np.array([abs(row[change] - row["as it is"]) for row in rows])
        figures[f"mean change of the score (0 to 2), {change}"] = lambda some, values=change_of: float(
            values[some].mean()
        )
    lines = ["| grader, canal | figure (95 % over patients) |", "|---|--:|"]
    return [
        *lines,
        *(
            f"| {name} | {interval(indices, names, figure=lambda some, f=f: f(some.astype(int)))} |"
            for name, f in figures.items()
        ),
    ]


def main() -> None:
    """Read, locate, grade, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--no-grader", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    locator = LevelLocator.from_bundle(None, "cpu")
    patients = read_patients(options.data)
    cases = localized(patients, locator, options.out)
    lines = localizer_tables(cases)
    with (options.out / "volumes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["study", "volume", "change", "found", "certain", "doubts", "wrong", "mean_mm"])
        for one in cases:
            table.writerow(
                [
                    one.study,
                    one.series,
                    one.change,
                    one.found,
                    one.certain,
                    ";".join(one.doubts),
                    one.wrong,
                    f"{one.mean:.2f}",
                ]
            )
    if not options.no_grader:
        rows = graded(patients, locator, Grader.from_bundle())
        with (options.out / "canal_scores.csv").open("w", newline="", encoding="utf-8") as file:
            scores = csv.DictWriter(file, list(rows[0]))
            scores.writeheader()
            scores.writerows({**row, "level": row["level"].value} for row in rows)
        lines += ["", *grader_table(rows)]
    text = "\n".join(lines) + "\n"
    (options.out / "real_spines.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
