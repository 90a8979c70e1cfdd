"""How far the grader's crops of real spines are from those of phantoms.

    python benchmarks/domain_gap.py REAL PHANTOM -o OUT

``REAL`` and ``PHANTOM`` are folders as `real_data.py` describes them, or datalists with canal points. For each view it
prints, and writes to ``OUT/domain_gap.md``:

- the Fréchet distance of the grader's features (Dowson and Landau 1982), on the features' first 16 principal
  components of the phantoms, of real to phantom and of two halves of the phantoms to each other;
- the rank correlation of the canal score with the crop's brightness, within levels;
- the share of attention on the slices 13.5 and 18 mm beside the midline, for foraminal findings;
- the share of the spectrum's energy above 10 cycles per crop.

``OUT/<view>.png`` has real crops in the upper rows beside phantom crops in the lower ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from real_data import Patient, read_patients
from scipy.linalg import sqrtm
from scipy.stats import spearmanr
from sklearn.decomposition import PCA

from monai_spine.crops.view import ABSENT
from monai_spine.data.volume import read_volume
from monai_spine.geometry import Array
from monai_spine.grading.grader import Grader
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.located_records import points_of_findings
from monai_spine.spine import FINDINGS, Condition, Group, Level, SeriesType

COMPONENTS = 16
HIGH_CYCLES = 10.0
SHEET = (8, 3)
"""Columns and rows of real crops, and as many of phantoms, on a contact sheet."""
VIEWS = ("canal", "foramina", "disc")
CANAL = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is Group.SPINAL]
FORAMINAL = [n for n, one in enumerate(Condition) if one.group is Group.FORAMINAL]


@dataclass(frozen=True)
class Crops:
    """The crops of a set of studies, a row for each study and level.

    ``images``: for each view ``(n, slices, rows, columns)``. ``features``: for each view ``(n, features)``.
    ``attention``: for each view the weights ``(n, 5 conditions, slices)``. ``scores``: expected canal grades, 0 to 2.
    """

    images: dict[str, Array]
    features: dict[str, Array]
    attention: dict[str, Array]
    scores: Array
    levels: Array


@torch.no_grad()
def crops_of(patients: Sequence[Patient], locator: LevelLocator, grader: Grader) -> Crops:
    """The grader's crops, features and weights of all studies."""
    network = grader.networks[0]
    sizes = list(network.views)  # type: ignore[arg-type]
    images, features, attention, scores = [], [], [], []
    for patient in patients:
        record = {**patient.record, "points": patient.points}
        paths = [*patient.record[SeriesType.SAGITTAL_T2.value], *patient.record[SeriesType.SAGITTAL_T1.value]]
        spine = locator(read_volume(paths[0]), paths[0])
        record["points"] = {**points_of_findings(spine.points), **patient.points}
        image = torch.from_numpy(grader.image(record))[None]
        stacks = image[0].split(sizes, dim=1)
        seen = [(stack != ABSENT).any(dim=3).any(dim=2) for stack in stacks]
        tokens = network._features(list(stacks), seen)  # type: ignore[operator] # the bench looks inside
        means = [
            (t * s[..., None]).sum(1) / s.sum(1, keepdim=True).clamp(min=1) for t, s in zip(tokens, seen, strict=True)
        ]
        images.append([stack.numpy() for stack in stacks])
        features.append([mean.numpy() for mean in means])
        attention.append([part.numpy() for part in network.attention(image)[0].split(sizes, dim=2)])  # type: ignore[operator]
        scores.append(grader(record).natural[CANAL] @ np.arange(3))
    by_view = [
        {view: np.concatenate([study[n] for study in table]) for n, view in enumerate(VIEWS)}
        for table in (images, features, attention)
    ]
    return Crops(*by_view, np.concatenate(scores), np.tile(np.arange(len(Level)), len(patients)))


def shown(images: Array) -> Array:
    """Which rows have any slice of a view."""
    return np.asarray((images != ABSENT).any(axis=(1, 2, 3)))


def frechet(first: Array, second: Array) -> float:
    """Squared Fréchet distance of two sets of features ``(n, f)``, taken for normal distributions."""
    one, two = (np.cov(table, rowvar=False) + 1e-6 * np.eye(table.shape[1]) for table in (first, second))
    root = np.real(sqrtm(one @ two))
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root))


def distances(real: Array, phantom: Array) -> tuple[float, float]:
    """Fréchet distances of real to phantom, and of two halves of the phantoms."""
    parts = min(COMPONENTS, len(real) - 1, len(phantom) // 2 - 1)
    basis = PCA(parts).fit(phantom)
    real, phantom = basis.transform(real), basis.transform(phantom)
    return frechet(real, phantom), frechet(phantom[::2], phantom[1::2])


def brightness_correlation(crops: Crops) -> float:
    """Mean over levels of Spearman's correlation of canal score and brightness of the canal's crops."""
    images = crops.images["canal"]
    bright = np.array([image[image != ABSENT].mean() if (image != ABSENT).any() else np.nan for image in images])
    values = []
    for level in range(len(Level)):
        rows = (crops.levels == level) & np.isfinite(bright)
        if rows.sum() > 2:
            values.append(spearmanr(crops.scores[rows], bright[rows]).statistic)
    return float(np.nanmean(values)) if values else float("nan")


def foraminal_attention(crops: Crops) -> float:
    """Share of the attention of each foraminal condition on the slices of its side that show foramina.

    NaN if no slab is wide enough to show them.
    """
    images, weights = crops.images["foramina"], crops.attention["foramina"]
    shares = []
    for image, weight in zip(images, weights, strict=True):
        seen = (image != ABSENT).any(axis=(1, 2))
        # Slices run from the patient's left to the right, 4.5 mm apart: these lie 13.5 and 18 mm from the midline.
        for condition in FORAMINAL:
            left = list(Condition)[condition].side.value == "left"  # type: ignore[union-attr]
            side = np.array([1, 2] if left else [-3, -2])
            if seen[side].all():
                shares.append(weight[condition, side].sum())
    return float(np.mean(shares)) if shares else float("nan")


def high_energy(images: Array) -> float:
    """Mean share of the spectrum's energy above `HIGH_CYCLES` cycles per crop."""
    shares = []
    for picture in images.reshape(-1, *images.shape[-2:]):
        if (picture == ABSENT).any():
            continue
        window = np.outer(*(np.hanning(size) for size in picture.shape))
        energy = np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
        rows, columns = (np.fft.fftfreq(size) * size for size in picture.shape)
        cycles = np.hypot(*np.meshgrid(rows, columns, indexing="ij"))
        shares.append(energy[cycles > HIGH_CYCLES].sum() / energy.sum())
    return float(np.mean(shares)) if shares else float("nan")


def contact_sheet(real: Array, phantom: Array) -> Image.Image:
    """Middle slices of real crops above those of phantoms."""
    columns, rows = SHEET
    rng = np.random.default_rng(0)
    lines = []
    for images in (real, phantom):
        chosen = images[rng.permutation(len(images))[: columns * rows]]
        middle = np.clip(chosen[:, chosen.shape[1] // 2], 0, 1)
        blank = np.zeros((columns * rows - len(middle), *middle.shape[1:]))
        tiles = np.concatenate([middle, blank]).reshape(rows, columns, *middle.shape[1:])
        lines += [np.concatenate(list(row), axis=1) for row in tiles]
        lines.append(np.ones((4, lines[0].shape[1])))
    sheet = Image.fromarray((np.concatenate(lines[:-1]) * 255).astype(np.uint8))
    return sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.BICUBIC)


def main() -> None:
    """Read, cut, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("phantom", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    locator, grader = LevelLocator.from_bundle(None, "cpu"), Grader.from_bundle()
    real, phantom = (crops_of(read_patients(path), locator, grader) for path in (options.real, options.phantom))
    lines = [
        "| view | crops, real | Fréchet to phantom | of two halves | high energy, real | phantom |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for view in VIEWS:
        there, of_phantoms = shown(real.images[view]), shown(phantom.images[view])
        if there.sum() < 4:
            lines.append(f"| {view} | {there.sum()} | – | – | – | {high_energy(phantom.images[view]):.4f} |")
            continue
        far, halves = distances(real.features[view][there], phantom.features[view][of_phantoms])
        energies = [high_energy(crops.images[view]) for crops in (real, phantom)]
        lines.append(f"| {view} | {there.sum()} | {far:.2f} | {halves:.2f} | {energies[0]:.4f} | {energies[1]:.4f} |")
        contact_sheet(real.images[view][there], phantom.images[view][of_phantoms]).save(options.out / f"{view}.png")
    lines += ["", "| | real | phantom |", "|---|--:|--:|"]
    for name, figure in (
        ("canal score and brightness, Spearman within levels", brightness_correlation),
        ("attention on foraminal slices", foraminal_attention),
    ):
        lines.append(f"| {name} | {figure(real):.2f} | {figure(phantom):.2f} |")
    text = "\n".join(lines) + "\n"
    (options.out / "domain_gap.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
