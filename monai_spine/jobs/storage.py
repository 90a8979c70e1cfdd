"""Where a job's files lie: buckets that are mounted as folders, and the copy of the data on a machine's own disk."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monai_spine.data.object_store import THREADS, ObjectStore, StoredFile
from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.files import PARTIAL, file_state, whole_file

GCS_ROOT = "SPINE_GCS_ROOT"
"""The environment variable that names another folder than `GCS` where buckets are mounted."""
GCS = "/gcs"
"""Where Vertex AI mounts buckets."""
_GS = "gs://"
_VERSIONS = ".copied"
"""The end of the name of the list of copied versions."""


def mounted(url: str, root: str = GCS) -> str:
    """The path at which a bucket's URL is mounted: ``gs://b/x`` is ``/gcs/b/x``. Other texts stay."""
    return f"{root.rstrip('/')}/{url.removeprefix(_GS)}" if url.startswith(_GS) else url


def bucket_url(path: str) -> str:
    """The URL of a path below the folder where buckets are mounted: the reverse of `mounted`. Other texts stay."""
    below = GCS.rstrip("/") + "/"
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
    store = ObjectStore(source.rstrip("/")) if "://" in source else None
    files = store.files() if store else dict(_local_files(Path(source)))
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

    def copy(name: str) -> str:
        with whole_file(target / name) as partial:
            store.get(name, partial) if store else shutil.copyfile(Path(source) / name, partial)
        return name

    target.mkdir(parents=True, exist_ok=True)
    # One line after each file, so that a killed copy goes on with the next file.
    with ThreadPoolExecutor(THREADS) as pool, versions.open("a", encoding="utf-8") as lines:
        for name in pool.map(copy, missing):
            lines.write(json.dumps([name, files[name].version]) + "\n")
            lines.flush()
    return target


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


def _local_files(folder: Path) -> Iterator[tuple[str, StoredFile]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(PARTIAL):
            state = file_state(path)
            # Mounts number their inodes anew.
            yield path.relative_to(folder).as_posix(), StoredFile(state[0], str(state[:3]))
