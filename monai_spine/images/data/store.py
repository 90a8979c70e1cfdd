"""Images decoded once: an array on disk that is mapped into memory, so that later epochs only copy bytes."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt

from monai_spine.console import track
from monai_spine.errors import InvalidImageError, MissingInputError, SpineError, listed
from monai_spine.images.data.datalist import Record
from monai_spine.images.data.form import Held, ImageForm

logger = logging.getLogger(__name__)

_AHEAD = 64
"""Images that are decoded before the first of them is written."""


class ImageStore:
    """All images that a run may ask for, in one form, read by their place.

    They are decoded once, into a file that is mapped into memory. A file that changes makes another store: its name
    holds what the images are called, their sizes and times, and the form. Of several processes on a machine, the first
    one makes it.

    Parameters
    ----------
    records
        Of a datalist. Training and validation share a store, so that another fold need not decode anew.
    form
        What images become.
    folder
        Where the file goes; None decodes images whenever they are asked for.
    limit_gb
        How large the file may become; a larger one is not made, and images are decoded each time.
    skip_unreadable
        Whether an image that cannot be read is black instead of an error, and `refused` says why; only without a
        folder, and in the process that asks.
    quiet
        Whether to say nothing of the progress.

    Attributes
    ----------
    refused
        Why an image could not be read, by its files.
    """

    def __init__(
        self,
        records: Sequence[Record],
        form: ImageForm,
        *,
        folder: str | Path | None = None,
        limit_gb: float = 16.0,
        skip_unreadable: bool = False,
        quiet: bool = True,
    ) -> None:
        self.records, self.form, self.quiet = list(records), form, quiet
        size = len(self.records) * form.pixels[0] * form.pixels[1] * form.channels
        if folder is not None and size > limit_gb * 1e9:
            logger.info("images would take %.1f GB decoded: they are read anew each time", size / 1e9)
            folder = None
        self.skip_unreadable, self.refused = skip_unreadable, dict[tuple[str, ...], SpineError]()
        self._folder = None if folder is None else Path(folder)
        self._held: Held | None = None
        self._places = {tuple(record["image"]): n for n, record in enumerate(self.records)}

    def places(self, records: Sequence[Record]) -> npt.NDArray[np.int64]:
        """Where the images of some records are."""
        return np.array([self._places[tuple(record["image"])] for record in records], dtype=np.int64)

    def take(self, places: npt.NDArray[np.int64]) -> Held:
        """Images ``(batch, rows, columns, channels)``.

        Raises
        ------
        InvalidImageError, MissingInputError
            If images cannot be read: those of the whole store are counted where it is made, the first few named.
        """
        self.open()
        if self._held is not None:
            return self._held[places]
        records = [self.records[n] for n in places]
        read = read_all(records, self.form)
        images = [self._given(record, image) for record, image in zip(records, read, strict=True)]
        return np.stack(images).astype(np.result_type(*images), copy=False)

    def open(self) -> None:
        """Decode the images if that is wanted and nobody did; processes that share the store call it together."""
        if self._folder is None or self._held is not None:
            return
        path = self._folder / f"images-{_key(self.records)}-{self.form.key}.npy"
        if idist.get_local_rank() == 0 and not path.is_file():
            _make(path, self.records, self.form, self.quiet)
        idist.barrier()
        self._held = np.load(path, mmap_mode="c")

    def _given(self, record: Record, image: Held | SpineError) -> Held:
        if not isinstance(image, SpineError):
            return image
        if not self.skip_unreadable:
            raise image
        self.refused[tuple(record["image"])] = image
        return np.zeros((*self.form.pixels, self.form.channels), dtype=np.uint8)


def read_all(records: Sequence[Record], form: ImageForm) -> Iterator[Held | SpineError]:
    """Each image in the form, or why it cannot be read, in order and a few ahead."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        left = iter(records)
        waiting = [pool.submit(_read, record, form) for record in islice(left, _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(_read, record, form) for record in islice(left, 1)]


def _make(path: Path, records: Sequence[Record], form: ImageForm, quiet: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if not _written(partial, records, form, np.uint8, quiet):
            _written(partial, records, form, np.float16, quiet)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    logger.info("%d images decoded once: %s, %.2f GB", len(records), path, path.stat().st_size / 1e9)


def _written(path: Path, records: Sequence[Record], form: ImageForm, dtype: npt.DTypeLike, quiet: bool) -> bool:
    """Fill the file; False, half-way, if an image has more bits than the file."""
    shape = (len(records), *form.pixels, form.channels)
    held = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    faults = []
    read = read_all(records, form)
    for n, image in enumerate(track(read, "decoding images", total=len(records), quiet=quiet)):
        if isinstance(image, SpineError):
            faults.append(image)
            continue
        if image.dtype != np.uint8 and held.dtype == np.uint8:
            return False
        held[n] = image
    if faults:
        kind = MissingInputError if all(isinstance(one, MissingInputError) for one in faults) else InvalidImageError
        raise kind(
            f"{len(faults)} of {len(records)} images cannot be read: {listed([str(one) for one in faults], '; ')}; "
            "mend them, or make the datalist anew, which leaves them out"
        )
    held.flush()
    return True


def _read(record: Record, form: ImageForm) -> Held | SpineError:
    try:
        return form.read(record["image"])
    except (InvalidImageError, MissingInputError) as err:
        return err


def _key(records: Sequence[Record]) -> str:
    """A word that changes with whatever changes of the files."""
    seen = hashlib.sha256()
    for record in records:
        for file in record["image"]:
            status = os.stat(file)  # noqa: PTH116 - a path object per file doubles the time
            seen.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return seen.hexdigest()[:16]
