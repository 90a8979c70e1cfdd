"""Files on object stores, through fsspec: listed, fetched and stored, with errors in one line.

A URL is a text such as ``s3://bucket/folder``. fsspec has file systems for it; that of S3 comes with the package
``s3fs``, that of Google Cloud Storage with ``gcsfs``. Credentials come from the environment, as those packages read it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, TransientError, one_line
from monai_spine.files import whole_file

THREADS = 16
"""An object store answers in some 50 ms, so that one file after the other would take minutes for thousands."""

_URL = re.compile(r"(?!file:)([a-z][a-z0-9+.-]+):/{1,2}(?!/)(.+)")
_SECRET = re.compile(r"//[^/@]*@")


def url_of(path: Path) -> str | None:
    """The URL that a command got as a path, which shortens ``s3://`` to ``s3:/``; None if it is a path."""
    match = _URL.fullmatch(str(path))
    return f"{match[1]}://{match[2].rstrip('/')}" if match and not path.exists() else None


def shown(url: str) -> str:
    """The URL without a user's name and password, for messages and outputs."""
    return _SECRET.sub("//", url)


_REFUSALS = (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_NETWORK = re.compile(r"Timeout|Connect|Retr")


def _is_passing(error: Exception) -> bool:
    """Whether the network failed, or the store was too busy. botocore's errors of the network are no `OSError`."""
    if isinstance(error, OSError):
        return not isinstance(error, _REFUSALS)
    return _NETWORK.search(type(error).__name__) is not None


@dataclass(frozen=True)
class StoredFile:
    """A file of a store."""

    size: int
    """In bytes."""
    version: str
    """Differs if the file has been written again: a digest of all that the store says of it."""


class ObjectStore:
    """A folder, or one file, on an object store.

    Raises
    ------
    InvalidOptionError
        If the scheme is unknown, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # imported here: most users have folders

        self.url = url
        try:
            self._system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InvalidOptionError(f"{shown(url)} cannot be read: {one_line(error)}") from error
        self._root: str = root.rstrip("/")

    def files(self, below: str = "") -> dict[str, StoredFile]:
        """The files below a folder, by their names relative to the store's; empty if there is none.

        Raises
        ------
        InvalidOptionError
            If a name leads out of the folder.
        SpineError
            If the store refuses, such as without permission.
        """
        with self._errors("listed"):
            # Another process may have changed what an earlier listing of this one held.
            self._system.invalidate_cache()
            everything: Mapping[str, Mapping[str, Any]] = self._system.find(self._path(below), detail=True)
        stored = {}
        for path, about in everything.items():
            name = path.removeprefix(self._root).lstrip("/")
            if ".." in name.split("/"):
                raise InvalidOptionError(
                    f"{shown(self.url)} has a file {name!r} that leads out of the folder; rename it"
                )
            if name:  # empty for the store itself, when it is a file
                version = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
                stored[name] = StoredFile(int(about["size"] or 0), version)
        return stored

    def is_file(self) -> bool:
        """Whether the URL names a file, not a folder. Raises `SpineError` if the store refuses."""
        with self._errors("read"):
            return bool(self._system.isfile(self._root))

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into a folder, each whole or not at all; ``""`` is the store itself, when it is a file.

        Raises
        ------
        MissingInputError
            If a file is not there.
        SpineError
            If the store refuses.
        """

        def one(name: str) -> None:
            with whole_file(folder / (name or self._root.rpartition("/")[2])) as partial:
                self.get(name, partial)

        self._each(one, names)

    def get(self, name: str, path: Path) -> None:
        """Copy one file to a path; see `fetch` for the errors."""
        with self._errors("read"):
            self._system.get_file(self._path(name), str(path))

    def store(self, names: Iterable[str], folder: Path) -> None:
        """Copy files from a folder; a file on the store appears whole. Raises `SpineError` if the store refuses."""

        def one(name: str) -> None:
            with self._errors("written to"):
                self._system.put_file(str(folder / name), self._path(name))

        self._each(one, names)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files. Raises `SpineError` if the store refuses."""

        def one(name: str) -> None:
            with self._errors("written to"):
                self._system.rm_file(self._path(name))

        self._each(one, names)

    @staticmethod
    def _each(function: Any, names: Iterable[str]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(function, names):
                pass

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except SpineError:
            raise
        except FileNotFoundError as error:
            raise MissingInputError(f"{shown(self.url)}: there is no {one_line(error)}") from error
        except Exception as error:  # each store's package has errors of its own
            why = shown(one_line(error)) or type(error).__name__
            if _is_passing(error):
                raise TransientError(f"{shown(self.url)} cannot be {verb}: {why}; run the command again") from error
            raise SpineError(
                f"{shown(self.url)} cannot be {verb}: {why}; look at the name of the bucket and at your credentials"
            ) from error
