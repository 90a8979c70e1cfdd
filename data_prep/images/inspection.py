"""The inspection of an image: whether it can be read, a digest of its pixels, and thumbnails."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_prep.images.near_duplicates import Thumbnails, views
from data_prep.images.sample import Sample
from data_prep.workers import run
from monai_spine.errors import reason_of
from monai_spine.images.data.pixels import Mode, Pixels, read_image

REDUCED = 4096
"""A JPEG of more than twice this shorter side is inspected reduced."""
_CHUNK = 16
"""Images of one task."""


def _no_thumbnail() -> Thumbnails:
    return np.zeros((0, 0), dtype=np.uint8)


@dataclass(frozen=True)
class Inspection:
    """What is known of the sample of a number."""

    number: int
    fault: str = ""
    """Why it could not be read; then nothing else is known."""
    rows: int = 0
    columns: int = 0
    """Rows and columns in pixels, of a large JPEG reduced."""
    colour: bool = False
    constant: bool = False
    """Whether all its pixels have one value."""
    brightest: float = 255.0
    """Its highest value, of 255."""
    digest: bytes = b""
    """Equal for equal decoded pixels in any file format. A grey image equals a colour image without colours."""
    whole: Thumbnails = field(default_factory=_no_thumbnail)
    trimmed: Thumbnails = field(default_factory=_no_thumbnail)
    """Thumbnails of the whole image, and of the image without an even border."""


def inspect(samples: Sequence[Sample], workers: int) -> Iterator[Inspection]:
    """Inspect all samples; the results come in any order."""
    chunks = [
        [(n, samples[n]) for n in range(start, min(start + _CHUNK, len(samples)))]
        for start in range(0, len(samples), _CHUNK)
    ]
    for inspections in run(_inspect_chunk, chunks, workers):
        yield from inspections


def _inspect_chunk(chunk: Sequence[tuple[int, Sample]]) -> list[Inspection]:
    return [_inspection(number, sample) for number, sample in chunk]


def _inspection(number: int, sample: Sample) -> Inspection:
    try:
        return _measured(number, sample)
    except Exception as error:  # one image of thousands must not end the run
        message = reason_of(error)
        # without the absolute path before it
        return Inspection(number, fault=message.partition(": ")[2] or message)


def _measured(number: int, sample: Sample) -> Inspection:
    pixels = read_image(sample.files, Mode.COLOUR, REDUCED)
    grey_only = len(sample.files) == 1 and bool((pixels == pixels[:1]).all())
    channels = pixels[:1] if grey_only else pixels
    grey = channels.mean(axis=0, dtype=np.float32) if len(channels) > 1 else channels[0]
    whole, inner = views(grey)
    return Inspection(
        number,
        rows=grey.shape[0],
        columns=grey.shape[1],
        colour=len(sample.files) == 1 and not grey_only,
        constant=bool((channels == channels[:, :1, :1]).all()),
        brightest=float(channels.max()),
        digest=_digest(channels),
        whole=whole,
        trimmed=inner,
    )


def _digest(pixels: Pixels) -> bytes:
    """A digest of the values: whole numbers give the same digest as 8 bits and as floating point."""
    if pixels.dtype != np.uint8:
        plain = pixels.astype(np.uint8)
        pixels = plain if np.array_equal(plain, pixels) else pixels
    return hashlib.blake2b(
        np.ascontiguousarray(pixels).data, digest_size=16, person=repr(pixels.shape)[-16:].encode()
    ).digest()
