"""Ghosts of a patient who breathes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.canvas import Field


@dataclass(frozen=True)
class Ghost:
    """Breathing while the lines of k-space are acquired, one by one along the rows.

    Attributes
    ----------
    amplitude
        How far the patient moves along the direction of phase encoding, in acquired pixels.
    breaths
        Breaths per image.
    phase
        Of the first breath, in rad.
    """

    amplitude: float
    breaths: float
    phase: float


def ghosted(image: Field, ghost: Ghost) -> Field:
    """Images ``(slices, rows, columns)`` of a breathing patient, the phase encoded along the rows.

    Displaced by ``d`` pixels, the image's line of spatial frequency ``f`` (cycles per pixel) turns by ``2 pi f d``.
    """
    rows = image.shape[1]
    frequency = np.fft.fftfreq(rows)
    line = np.argsort(np.argsort(frequency)) / rows  # when, from 0 to 1, a line is acquired
    moved = ghost.amplitude * np.sin(2 * np.pi * ghost.breaths * line + ghost.phase)
    turn = np.exp(-2j * np.pi * frequency * moved)
    return np.abs(np.fft.ifft(np.fft.fft(image, axis=1) * turn[:, None], axis=1)).astype(np.float32)
