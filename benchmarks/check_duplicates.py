"""How well ``data_prep check`` tells copies of an image from images of other patients.

``python benchmarks/check_duplicates.py DATALIST``: every volume of a data set without duplicates is altered as copies
are, and hashed again. Printed: the share of bits that a copy differs in, and that two patients' images differ in.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom

from data_prep.check.entries import read_studies
from data_prep.check.volume_facts import BITS, THRESHOLD, perceptual_hash
from data_prep.check.volumes import read
from monai_spine.data.volume import Volume
from monai_spine.spine import SeriesType

Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def noise(share: float) -> Alteration:
    """Normal noise whose standard deviation is a share of the 99th percentile."""
    return lambda voxels, rng: voxels + rng.normal(0.0, share * np.percentile(voxels, 99), voxels.shape)


ALTERATIONS: dict[str, Alteration] = {
    "scaled, offset": lambda voxels, rng: voxels * rng.uniform(0.1, 10.0) + rng.uniform(-100.0, 500.0),
    "8 bits": lambda voxels, _: np.round(np.clip(voxels / np.percentile(voxels, 99.5), 0, 1) * 255),
    "gamma 1.3": lambda voxels, _: np.clip(voxels, 0, None) ** 1.3,
    "noise 3 %": noise(0.03),
    "noise 10 %": noise(0.10),
    "half the pixels": lambda voxels, _: zoom(voxels, (0.5, 0.5, 1.0), order=1, grid_mode=True, mode="nearest"),
}


def bits_of(volume: Volume) -> np.ndarray:
    """The hash as zeros and ones."""
    return np.unpackbits(np.frombuffer(perceptual_hash(volume), dtype=np.uint8))[:BITS]


def main() -> None:
    """Print a table for each series type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    path = parser.parse_args().datalist
    studies, _ = read_studies(path)
    rng = np.random.default_rng(0)
    hashes: list[np.ndarray] = []
    owners: list[tuple[str, SeriesType]] = []
    copies: dict[str, list[float]] = {name: [] for name in ALTERATIONS}
    for study in studies:
        for kind, name in study.paths:
            volume = read(path.parent, name)
            own = bits_of(volume)
            hashes.append(own)
            owners.append((study.patient_id, kind))
            for alteration, alter in ALTERATIONS.items():
                altered = Volume(np.asarray(alter(volume.voxels, rng), dtype=np.float32), volume.affine)
                copies[alteration].append(float(np.mean(bits_of(altered) != own)))
    print(f"{len(studies)} studies, {len(hashes)} volumes, threshold {THRESHOLD:.0%} of {BITS} bits\n")
    for alteration, distances in copies.items():
        missed = sum(distance >= THRESHOLD for distance in distances)
        print(f"{alteration:<18} median {np.median(distances):6.1%}  most {max(distances):6.1%}  missed {missed}")
    signs = np.stack(hashes) * 2.0 - 1.0
    apart = (1 - signs @ signs.T / BITS) / 2
    patients = np.array([owner for owner, _ in owners])
    upper = np.triu(patients[:, None] != patients[None, :])
    for kind in (None, *SeriesType):
        of_kind = np.array([kind in {None, other} for _, other in owners])
        chosen = upper & of_kind[:, None] & of_kind[None, :]
        label = kind.title if kind else "all"
        distances = apart[chosen]
        false = int((distances < THRESHOLD).sum())
        print(
            f"{label:<18} {len(distances)} pairs of two patients: least {distances.min():.1%}, "
            f"1 in 1000 {np.quantile(distances, 0.001):.1%}, median {np.median(distances):.1%}, "
            f"taken for copies {false}"
        )


if __name__ == "__main__":
    main()
