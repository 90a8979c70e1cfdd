"""What is to be known of an image: whether it can be read, a digest of its pixels, and thumbnails."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_prep.images.sample import Sample
from data_prep.images.thumbnail import Thumbnails, views
from data_prep.workers import run
from monai_spine.errors import SpineError
from monai_spine.images.data.pixels import Mode, Pixels, read_image

REDUCED = 4096
"""A JPEG of more than twice this shorter side is looked at reduced."""
_CHUNK = 16
"""Images a task."""


def _no_thumbnail() -> Thumbnails:
    return np.zeros((0, 0), dtype=np.uint8)


@dataclass(frozen=True)
class Look:
    """What was seen of the sample of a number.

    Attributes
    ----------
    fault
        Why it could not be read; then nothing else is known.
    rows, columns
        Its size in pixels, of a large JPEG reduced.
    constant
        Whether all its pixels have one value.
    brightest
        Its highest value, of 255.
    digest
        Equal for equal decoded pixels, whatever the files' format; grey is the same as colour without colours.
    whole, trimmed
        Thumbnails, with and without an even border.
    """

    number: int
    fault: str = ""
    rows: int = 0
    columns: int = 0
    colour: bool = False
    constant: bool = False
    brightest: float = 255.0
    digest: bytes = b""
    whole: Thumbnails = field(default_factory=_no_thumbnail)
    trimmed: Thumbnails = field(default_factory=_no_thumbnail)


def look_at(samples: Sequence[Sample], workers: int) -> Iterator[Look]:
    """Look at all samples, in any order."""
    chunks = [
        [(n, samples[n]) for n in range(start, min(start + _CHUNK, len(samples)))]
        for start in range(0, len(samples), _CHUNK)
    ]
    for looks in run(_look_at_some, chunks, workers):
        yield from looks


def _look_at_some(chunk: Sequence[tuple[int, Sample]]) -> list[Look]:
    return [_look(number, sample) for number, sample in chunk]


def _look(number: int, sample: Sample) -> Look:
    try:
        pixels = read_image(sample.files, Mode.COLOUR, REDUCED)
    except SpineError as error:
        return Look(number, fault=_without_path(str(error)))
    grey_only = len(sample.files) == 1 and bool((pixels == pixels[:1]).all())
    told = pixels[:1] if grey_only else pixels
    grey = told.mean(axis=0, dtype=np.float32) if len(told) > 1 else told[0]
    whole, inner = views(grey)
    return Look(
        number,
        rows=grey.shape[0],
        columns=grey.shape[1],
        colour=len(sample.files) == 1 and not grey_only,
        constant=bool((told == told[:, :1, :1]).all()),
        brightest=float(told.max()),
        digest=_digest(told),
        whole=whole,
        trimmed=inner,
    )


def _digest(pixels: Pixels) -> bytes:
    """Of the values, not of how they are stored: whole numbers have the same as 8 bits and as floating point."""
    if pixels.dtype != np.uint8:
        plain = pixels.astype(np.uint8)
        pixels = plain if np.array_equal(plain, pixels) else pixels
    return hashlib.blake2b(
        np.ascontiguousarray(pixels).data, digest_size=16, person=repr(pixels.shape)[-16:].encode()
    ).digest()


def _without_path(message: str) -> str:
    """What is wrong, without the absolute path that the message begins with."""
    return message.partition(": ")[2] or message
