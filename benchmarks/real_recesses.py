"""Recesses on axial slices that are cut from real volumes of thin slices.

    python benchmarks/real_recesses.py VOLUME.nii.gz … -o OUT

Real axial series with marks are not free to use. A volume whose voxels are small along all axes, and that is wide
enough, holds axial slices, too. At every disc that the level localizer finds, five slices of 4 mm are cut across the
canal. ``monai-spine locate`` then reads them as any axial series. Prints how many recesses were found in the slices,
and how many are only projected from the canal's points. ``OUT/<volume>.png`` shows where; look at it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from monai_spine.data.volume import Volume, read_volume
from monai_spine.geometry import Array, to_voxel, to_world
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.sagittal.peak_chain import directions
from monai_spine.levels.sagittal.points import Structure

SIDE, PIXEL_MM, SLICES, GAP_MM = 256, 0.6, 5, 4.0
BEHIND_MM = 12.0
"""How far the middle of a slice lies behind the canal."""
WITHIN_MM = (-1.5, -0.5, 0.5, 1.5)
"""Places within the thickness of a slice that are averaged."""
SHOWN = slice(64, 192)


def axial_affine(point: Array, upwards: Array) -> Array:
    """The affine of a stack across the canal at a point, RAS mm."""
    right = np.array([1.0, 0.0, 0.0]) - upwards[0] * upwards
    right /= np.linalg.norm(right)
    front = np.cross(upwards, right)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([right * PIXEL_MM, front * PIXEL_MM, upwards * GAP_MM], axis=1)
    middle = np.array([SIDE - 1, SIDE - 1, SLICES - 1]) / 2
    affine[:3, 3] = point - BEHIND_MM * front - affine[:3, :3] @ middle
    return affine


def axial_slices(volume: Volume, affine: Array) -> Array:
    """The slices of a stack, from the volume; 0 outside of it."""
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), np.arange(SLICES), indexing="ij"), axis=-1)
    places = to_world(affine, grid.reshape(-1, 3))
    normal = affine[:3, 2] / GAP_MM
    values = [
        map_coordinates(volume.voxels.astype(np.float32), to_voxel(volume.affine, places + normal * away).T, order=1)
        for away in WITHIN_MM
    ]
    return np.asarray(np.mean(values, axis=0).reshape(grid.shape[:3]))


def write_study(path: Path, folder: Path, locator: LevelLocator) -> int:
    """The volume and an axial stack at each disc, as a study; how many discs there are."""
    volume = read_volume(path)
    canal = sorted(
        (one.world for one in locator(volume, path.name).points if one.structure is Structure.CANAL),
        key=lambda world: -float(world[2]),
    )
    folder.mkdir(parents=True)
    nibabel.save(nibabel.load(path), folder / "sagittal_t2.nii.gz")
    for number, (point, upwards) in enumerate(zip(canal, directions(canal) if len(canal) > 1 else [], strict=True), 1):
        affine = axial_affine(point, upwards)
        image = nibabel.Nifti1Image(axial_slices(volume, affine).astype(np.float32), affine)
        nibabel.save(image, folder / f"axial_t2_{number}.nii.gz")
    return len(canal)


def draw(folder: Path, recesses: pd.DataFrame, out: Path) -> None:
    """The middle slices of a study's stacks, with the recesses that lie on them: green if found, red if projected."""
    tiles = []
    for path in sorted(folder.glob("axial_t2_*.nii.gz")):
        stored = nibabel.load(path)
        voxels, rows = np.asarray(stored.dataobj), recesses[["x", "y", "z"]].to_numpy(dtype=float)
        places = to_voxel(stored.affine, rows)
        for k in range(1, SLICES - 1):
            plane = voxels[SHOWN, SHOWN, k].T
            grey = np.clip(plane / max(1e-6, np.percentile(plane, 99.5)), 0, 1) * 255
            picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
            pen = ImageDraw.Draw(picture)
            for (x, y, z), flag in zip(places, recesses["flag"].astype(str), strict=True):
                if abs(z - k) < 0.6:
                    left, low = x - SHOWN.start - 2, y - SHOWN.start - 2
                    colour = "red" if "projected" in flag else "lime"
                    pen.ellipse((left, low, left + 4, low + 4), outline=colour)
            tiles.append(np.asarray(picture)[::-1])
    if tiles:
        rows = [np.concatenate(tiles[n : n + SLICES - 2], axis=1) for n in range(0, len(tiles), SLICES - 2)]
        Image.fromarray(np.concatenate(rows)).save(out)


def main() -> None:
    """Cut, locate, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    studies, located = options.out / "studies", options.out / "located"
    locator = LevelLocator.from_bundle(device="cpu")
    names = {}
    for path in options.volumes:
        name = f"{path.parent.name}_{path.name.split('.')[0]}"
        names[name] = write_study(path, studies / name, locator)
    command = [Path(sys.executable).with_name("monai-spine"), "locate", studies, "-o", located]
    subprocess.run([str(word) for word in command], check=False)
    points = pd.read_csv(located / "points.csv", dtype={"study": str}, keep_default_na=False)
    recesses = points[points["point"] == "recess"]
    print("| volume | discs | recesses found | projected |\n|---|--:|--:|--:|")
    for name, discs in names.items():
        own = recesses[recesses["study"] == name]
        projected = own["flag"].astype(str).str.contains("projected").sum()
        print(f"| {name} | {discs} | {len(own) - projected} | {projected} |")
        draw(studies / name, own, options.out / f"{name}.png")


if __name__ == "__main__":
    main()
