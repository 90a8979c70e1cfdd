"""Conversions for tests: a series written, converted and compared with its headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from data_prep.dicom.convert import ConversionSummary, convert
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle


def run(tmp_path: Path, images: list[Dataset], **options: object) -> tuple[Path, ConversionSummary]:
    """Write a series, convert it with every value verified, and check it against the headers."""
    source, out = tmp_path / "in", tmp_path / "out"
    factory.write(source, images)
    summary = convert(source, out, verify="full", quiet=True, **options)
    counts = oracle.check(source, out)
    assert sum(counts.values()) >= len(images)
    return out, summary


def rotated(orientation: tuple[float, ...], degrees: float, axis: int) -> tuple[float, ...]:
    """An orientation turned about a patient axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.roll([[c, -s, 0], [s, c, 0], [0, 0, 1]], (axis + 1, axis + 1), (0, 1))
    return tuple(np.concatenate([turn @ orientation[:3], turn @ orientation[3:]]).round(10))
