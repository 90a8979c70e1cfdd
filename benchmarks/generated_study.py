"""A DICOM study for timing converters: three series of smooth shapes with Rician noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def make_study(folder: Path, seed: int = 0) -> None:
    """Sagittal T1 and T2 of 17 x 384 x 384 and axial T2 of 40 x 512 x 512: smooth shapes with Rician noise."""
    from tests.data_prep import dicom_factory as factory

    plans = (
        ("T1 sag", factory.SAGITTAL, 17, 384, 4.4),
        ("T2 sag", factory.SAGITTAL, 17, 384, 4.4),
        ("T2 ax", factory.AXIAL, 40, 512, 4.0),
    )
    for number, (description, orientation, slices, side, step) in enumerate(plans, start=1):
        images = factory.series(
            slices,
            orientation=orientation,
            step=step,
            rows=side,
            columns=side,
            StudyInstanceUID=f"1.2.3.{seed}.1",
            SeriesInstanceUID=f"1.2.3.{seed}.1.{number}",
            SeriesNumber=number,
            SeriesDescription=description,
        )
        for k, image in enumerate(images):
            factory.set_pixels(image, _anatomy(side, k / slices, np.random.default_rng((seed, number, k))))
        factory.write(folder / str(number), images)


def _anatomy(side: int, depth: float, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 1 / (1 + np.exp(40 * (x**2 * 1.4 + y**2 - 0.8)))
    tissue = body * (500 + 250 * np.sin(9 * x + 3 * depth) * np.cos(11 * y) + 150 * np.sin(31 * x * y))
    noise = rng.normal(0, 18, (2, side, side))
    return np.clip(np.hypot(tissue + noise[0], noise[1]), 0, 4095)
