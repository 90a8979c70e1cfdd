"""Images decoded once, into an array on disk that is mapped into memory: later epochs only copy bytes."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import cast

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from monai_spine.console import track
from monai_spine.errors import InvalidImageError, MissingInputError, SpineError, counted, listed
from monai_spine.files import checksum, file_state, is_settled, whole_file
from monai_spine.images.data.datalist import Record
from monai_spine.images.data.input_format import ImageForm, StoredPixels

logger = logging.getLogger(__name__)

_FORMAT = 3
"""Of the file; part of its name."""
_CHECKSUM = np.dtype("<u4")
_FILE = np.dtype("<u8")
"""Of the five numbers of an image file, after the checksums: its state, and the CRC-32 of its bytes."""
_DECODED_AHEAD = 64
"""Images that threads may have decoded before they are asked for."""


class ImageStore:
    """All images of a run in one form, read by their positions.

    With a folder, they are decoded once, into a file that is mapped into memory, with a hash of the form and of the
    images' names in its name. It is written anew if the bytes of an image are others than those that were decoded;
    images whose state on the disk is the one of before (`monai_spine.files.file_state`) are not read to compare them.
    The first process of a machine writes it, the others wait. After the array, the file has a CRC-32 of each decoded
    image: a damaged one is decoded anew, with a warning, and a file whose header is damaged is written anew.

    Parameters
    ----------
    records
        All records of a datalist's section. Training and validation share one store, so that another fold does not
        decode the images again.
    form
        The form of the images.
    folder
        The folder of the file. None decodes images each time they are read.
    cache_gb
        If the file would be larger, it is not written, and images are decoded each time they are read.
    skip_unreadable
        Whether an image that cannot be read becomes a black one, with the reason in `refused`, instead of an error.
        Only without a folder.
    progress
        Whether to draw a progress bar.

    Attributes
    ----------
    refused
        Why an image could not be read, by its files; only of images that this process has read.
    """

    def __init__(
        self,
        records: Sequence[Record],
        form: ImageForm,
        *,
        folder: str | Path | None = None,
        cache_gb: float = 16.0,
        skip_unreadable: bool = False,
        progress: bool = False,
    ) -> None:
        self.records, self.form, self.progress = list(records), form, progress
        # In bytes, if all images have 8 bits; with one image of more bits, the file becomes twice as large.
        size = len(self.records) * form.pixels[0] * form.pixels[1] * form.channels
        if folder is not None and size > cache_gb * 1e9:
            logger.info("decoded images would take %.1f GB: they are decoded anew each time", size / 1e9)
            folder = None
        self.skip_unreadable, self.refused = skip_unreadable, dict[tuple[str, ...], SpineError]()
        self._folder = None if folder is None else Path(folder)
        self._stored: StoredPixels | None = None
        self._checksums = np.zeros(0, np.uint32)
        self._positions = {tuple(record["image"]): n for n, record in enumerate(self.records)}

    def positions(self, records: Sequence[Record]) -> npt.NDArray[np.int64]:
        """Positions of the images of some records in the store, ``(records,)``."""
        return np.array([self._positions[tuple(record["image"])] for record in records], dtype=np.int64)

    def read(self, positions: npt.NDArray[np.int64]) -> StoredPixels:
        """Images ``(batch, rows, columns, channels)`` from 0 to 255, ``uint8`` or ``float16``.

        Raises `InvalidImageError` or `MissingInputError` if images cannot be read. When the file is written, the
        message counts all of them and names the first few.
        """
        self.open()
        if self._stored is not None:
            return self._intact(positions)
        records = [self.records[n] for n in positions]
        decoded = _decoded(records, self.form)
        images = [self._image_or_black(record, image) for record, image in zip(records, decoded, strict=True)]
        # One image of more than 8 bits makes the whole batch float16, as it does the file.
        return np.stack(images).astype(np.result_type(*images), copy=False)

    def open(self) -> None:
        """Write the file if there is a folder and no file yet, and map it; all processes must call this together."""
        if self._folder is None or self._stored is not None:
            return
        path = self._path(self._folder)
        shape = (len(self.records), *self.form.pixels, self.form.channels)
        files = _files(self.records)
        if idist.get_local_rank() == 0 and not (path.is_file() and _is_current(path, shape, files)):
            _write_store(path, self.records, self.form, self.progress)
        idist.barrier()
        opened = _opened(path, shape, len(files))
        if opened is None:
            raise InvalidImageError(f"{path}: expected the decoded images, but the file is damaged; remove it")
        self._stored, self._checksums, _ = opened

    def _path(self, folder: Path) -> Path:
        return folder / f"images-{_FORMAT}-{_key(self.records)}-{self.form.key}.npy"

    def _intact(self, positions: npt.NDArray[np.int64]) -> StoredPixels:
        """Stored images whose checksums are right; a damaged one is decoded anew."""
        assert self._stored is not None
        images = self._stored[positions]
        for place, position in enumerate(positions):
            if isal_zlib.crc32(images[place]) != self._checksums[position]:
                images[place] = self._repaired(int(position))
        return images

    def _repaired(self, position: int) -> StoredPixels:
        """An image decoded anew, and written to its place in the file."""
        assert self._stored is not None
        assert self._folder is not None
        record, path = self.records[position], self._path(self._folder)
        logger.warning("%s: the image of %s is damaged, and is decoded anew", path, record["image"][0])
        image = cast("StoredPixels", self.form.read(record["image"]).astype(self._stored.dtype))
        self._stored[position] = image  # in this process's memory only: the file is mapped copy-on-write
        self._checksums[position] = isal_zlib.crc32(np.ascontiguousarray(image))
        end = path.stat().st_size - len(_files(self.records)) * _FILE_BYTES - self._checksums.nbytes
        with path.open("r+b") as file:
            file.seek(end - self._stored.nbytes + position * image.nbytes)
            file.write(np.ascontiguousarray(image).tobytes())
            file.seek(end + position * self._checksums.itemsize)
            file.write(self._checksums[position].tobytes())
        return image

    def _image_or_black(self, record: Record, image: StoredPixels | SpineError) -> StoredPixels:
        if not isinstance(image, SpineError):
            return image
        if not self.skip_unreadable:
            raise image
        self.refused[tuple(record["image"])] = image
        return np.zeros((*self.form.pixels, self.form.channels), dtype=np.uint8)


_FILE_BYTES = 5 * _FILE.itemsize
Opened = tuple[StoredPixels, npt.NDArray[np.uint32], npt.NDArray[np.uint64]]


def _opened(path: Path, shape: tuple[int, ...], files: int) -> Opened | None:
    """The mapped images, their checksums, and the states and checksums of their files ``(files, 5)``.

    None if the file is not as `_write_store` writes it.
    """
    try:
        stored = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError, SyntaxError):  # numpy reads the header as a Python literal
        return None
    end = getattr(stored, "offset", 0) + stored.nbytes
    size = end + shape[0] * _CHECKSUM.itemsize + files * _FILE_BYTES
    if stored.shape != shape or stored.dtype not in (np.uint8, np.float16) or path.stat().st_size != size:
        return None
    if not stored.flags.c_contiguous:
        return None
    checksums = np.fromfile(path, _CHECKSUM, shape[0], offset=end)
    table = np.fromfile(path, _FILE, offset=end + checksums.nbytes).reshape(files, 5)
    return stored, checksums, table


def _is_current(path: Path, shape: tuple[int, ...], files: Sequence[str]) -> bool:
    """Whether the file is whole, and its images have the bytes that were decoded; new states of theirs are noted."""
    opened = _opened(path, shape, len(files))
    if opened is None:
        logger.warning("%s: this file of decoded images is damaged, and is written anew", path)
        return False
    before, states = opened[2], [file_state(file) for file in files]
    changed = np.flatnonzero((before[:, :4] != _table(states, 4)).any(axis=1))
    if not changed.size:
        if is_settled(path, states):
            return True
        changed = np.arange(len(files))  # each may have changed within the tick of the disk's clock
    now = before.copy()
    now[changed] = _file_rows([files[n] for n in changed.tolist()])
    if not np.array_equal(now[:, 4], before[:, 4]):
        return False
    with path.open("r+b") as file:
        file.seek(-now.nbytes, os.SEEK_END)
        file.write(now.tobytes())
    return True


def _file_rows(files: Sequence[str]) -> npt.NDArray[np.uint64]:
    """State and checksum of each file, ``(files, 5)``; the state first, so that a later change shows."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(lambda file: (*file_state(file), checksum(file) or 0), files)
        return _table(rows, 5)


def _table(rows: Iterable[Sequence[int]], columns: int) -> npt.NDArray[np.uint64]:
    # Times before 1970 are negative; some disks have inodes of 64 bits.
    return np.array([[value % 2**64 for value in row] for row in rows], dtype=_FILE).reshape(-1, columns)


def _files(records: Sequence[Record]) -> list[str]:
    return [str(file) for record in records for file in record["image"]]


def _decoded(records: Sequence[Record], form: ImageForm) -> Iterator[StoredPixels | SpineError]:
    """Each image in the form, or why it cannot be read, in order; threads decode a few ahead."""
    # Pillow releases the interpreter's lock while it decodes and resizes, so threads suffice and share the memory.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        remaining = iter(records)
        waiting = [pool.submit(_read, record, form) for record in islice(remaining, _DECODED_AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(_read, record, form) for record in islice(remaining, 1)]


def _write_store(path: Path, records: Sequence[Record], form: ImageForm, progress: bool) -> None:
    table = _file_rows(_files(records))  # first: an image that changes in between differs from it later
    # Nobody knows the bit depth before decoding. Nearly all data sets have 8 bits, so that is tried first.
    with whole_file(path) as partial:
        if not _write_array(partial, records, form, np.uint8, progress):
            _write_array(partial, records, form, np.float16, progress)
        with partial.open("ab") as file:
            file.write(table.tobytes())
    logger.info("%s decoded once: %s, %.2f GB", counted(len(records), "image"), path, path.stat().st_size / 1e9)


def _write_array(path: Path, records: Sequence[Record], form: ImageForm, dtype: npt.DTypeLike, progress: bool) -> bool:
    """Write all images to a file of this data type; False as soon as an image has more bits than that."""
    shape = (len(records), *form.pixels, form.channels)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    checksums = np.zeros(len(records), _CHECKSUM)
    faults = []
    decoded = _decoded(records, form)
    for n, image in enumerate(track(decoded, "decoding images", total=len(records), quiet=not progress)):
        if isinstance(image, SpineError):
            faults.append(image)
            continue
        if image.dtype != np.uint8 and array.dtype == np.uint8:
            return False
        array[n] = image
        checksums[n] = isal_zlib.crc32(array[n])
    if faults:
        error = MissingInputError if all(isinstance(one, MissingInputError) for one in faults) else InvalidImageError
        raise error(
            f"{len(faults)} of {counted(len(records), 'image')} cannot be read: "
            f"{listed([str(one) for one in faults], '; ')}; "
            "repair them, or write the datalist anew, which leaves them out"
        )
    array.flush()
    with path.open("ab") as file:
        file.write(checksums.tobytes())
    return True


def _read(record: Record, form: ImageForm) -> StoredPixels | SpineError:
    try:
        return form.read(record["image"])
    except (InvalidImageError, MissingInputError) as err:
        return err


def _key(records: Sequence[Record]) -> str:
    """A hash of the names of all files."""
    return hashlib.sha256("\0".join(_files(records)).encode(errors="surrogateescape")).hexdigest()[:16]
