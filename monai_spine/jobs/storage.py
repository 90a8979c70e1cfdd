"""Where a job's files lie: buckets that are mounted as folders, and the copy of the data on a machine's own disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.files import PARTIAL, file_state, whole_file

GCS_ROOT = "SPINE_GCS_ROOT"
"""The environment variable that names another folder than `GCS` where buckets are mounted."""
GCS = "/gcs"
"""Where Vertex AI mounts buckets."""
_GS = "gs://"
_VERSIONS = ".copied"
"""The end of the name of the list of copied versions."""
_COPYING_THREADS = 16
"""A mounted bucket answers in some 50 ms, so that one file after the other would take minutes for thousands."""


def mounted(url: str, root: str = GCS) -> str:
    """The path at which a bucket's URL is mounted: ``gs://b/x`` is ``/gcs/b/x``. Other texts stay."""
    return f"{root.rstrip('/')}/{url.removeprefix(_GS)}" if url.startswith(_GS) else url


def bucket_url(path: str, root: str = GCS) -> str:
    """The URL of a path below the folder where buckets are mounted: the reverse of `mounted`. Other texts stay."""
    below = root.rstrip("/") + "/"
    return _GS + path.removeprefix(below) if path.startswith(below) else path


def require_url(url: str, scheme: str, option: str, platform: str) -> str:
    """The URL without a slash at its end.

    Raises
    ------
    InvalidOptionError
        If it is not of the scheme, such as ``gs``, or names no bucket.
    """
    if not url.startswith(f"{scheme}://") or not url.removeprefix(f"{scheme}://").strip("/"):
        raise InvalidOptionError(f"{platform}: expected {option} as {scheme}://bucket/folder, but found {url!r}")
    return url.rstrip("/")


def copy_to_disk(source: str, target: Path) -> Path:
    """Copy a folder to a machine's own disk, and return the copy.

    Files that are there with their size are not copied again, so that a restarted machine goes on, unless the source
    has changed since. A list beside the copy says which version of each file was copied.

    Parameters
    ----------
    source
        A folder, or a URL for which fsspec has a file system.

    Raises
    ------
    MissingInputError
        If there is no such folder, or it is empty.
    """
    remote = "://" in source
    files = dict(_remote_files(source) if remote else _local_files(Path(source)))
    if not files:
        raise MissingInputError(f"expected a data set in {source}, but found no files; look at --data and at its mount")
    versions = target.with_name(f".{target.name}{_VERSIONS}")
    copied = _read_versions(versions)
    missing = [
        name for name, file in files.items() if not _has(target / name, file.size) or copied.get(name) != file.version
    ]
    free = shutil.disk_usage(_existing(target)).free
    needed = sum(files[name].size for name in missing)
    if needed > free:
        raise InvalidOptionError(
            f"{source} needs {needed / 1e9:.1f} GB on the disk of {target}, which has {free / 1e9:.1f} GB left; "
            "ask for more with --disk-gb"
        )
    fetch = _remote_copier(source) if remote else lambda name, to: shutil.copyfile(Path(source) / name, to)

    def copy(name: str) -> str:
        with whole_file(target / name) as partial:
            fetch(name, partial)
        return name

    target.mkdir(parents=True, exist_ok=True)
    # One line after each file, so that a killed copy goes on with the next file.
    with ThreadPoolExecutor(_COPYING_THREADS) as pool, versions.open("a", encoding="utf-8") as lines:
        for name in pool.map(copy, missing):
            lines.write(json.dumps([name, files[name].version]) + "\n")
            lines.flush()
    return target


@dataclass(frozen=True)
class _File:
    size: int
    version: str
    """Differs if the file has been written again: its state on a disk, or what an object store says of it."""


def _read_versions(path: Path) -> dict[str, str]:
    versions = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):  # a machine that was switched off may have left half a line
            name, version = json.loads(line)
            versions[name] = version
    return versions


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _local_files(folder: Path) -> Iterator[tuple[str, _File]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(PARTIAL):
            state = file_state(path)
            yield (
                path.relative_to(folder).as_posix(),
                _File(state[0], str(state[:3])),
            )  # mounts number their inodes anew


def _remote_files(url: str) -> Iterator[tuple[str, _File]]:
    system, root = _file_system(url)
    for path, about in system.find(root, detail=True).items():
        name = path.removeprefix(root).lstrip("/")
        if ".." in name.split("/"):
            raise InvalidOptionError(f"{url} has a file {name!r} that leads out of the folder; rename it")
        version = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
        yield name, _File(about["size"], version)


def _remote_copier(url: str) -> Callable[[str, Path], Any]:
    system, root = _file_system(url)
    return lambda name, to: system.get_file(f"{root}/{name}", str(to))


def _file_system(url: str) -> Any:  # fsspec has no types
    import fsspec  # imported here: most platforms mount their buckets

    try:
        return fsspec.core.url_to_fs(url.rstrip("/"))
    except (ImportError, ValueError) as err:
        raise InvalidOptionError(f"{url} cannot be read: {err}") from err
