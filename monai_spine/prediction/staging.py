"""Inputs and outputs on object stores: copies of what a run needs lie in a private folder of this machine meanwhile.

Inputs are fetched before the run starts: of a part, only its own studies. The results of earlier runs are fetched too,
so that finished studies are not graded again. Each study's results are stored as soon as it is finished, and
``outcome.json``, which says that it is, comes last.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from monai_spine.data.object_store import ObjectStore, StoredFile, shown, url_of
from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import SUFFIXES
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.files import safe_name, text_of
from monai_spine.prediction.inputs import VOLUMES
from monai_spine.prediction.outcomes import NAME
from monai_spine.prediction.part import PARTS, Part


@dataclass
class Staging:
    """The local paths of a run, and the stores that they stand for.

    Attributes
    ----------
    paths, out
        Inputs and output of the run on this machine.
    places
        Each folder of this machine with the URL that it stands for.
    left_there
        The studies of the inputs that were not fetched, because they belong to other parts.
    """

    paths: list[Path]
    out: Path
    places: tuple[tuple[str, str], ...] = ()
    left_there: tuple[str, ...] = ()
    _store: ObjectStore | None = None
    _stored: dict[str, tuple[int, int]] = field(default_factory=dict)

    def store(self, below: str = "") -> None:
        """Bring the store to the state of the output, or of one folder below it.

        Raises
        ------
        SpineError
            If the store refuses.
        """
        if self._store is None:
            return
        prefix = f"{below}/" if below else ""
        now = dict(_states(self.out / below, self.out))
        gone = [name for name in self._stored if name.startswith(prefix) and name not in now]
        changed = [name for name, state in now.items() if self._stored.get(name) != state]
        # The file that says "finished" is removed first and stored last: a run that is killed in between leaves none.
        marks = [name for name in changed if PurePosixPath(name).name == NAME]
        self._store.remove([*(name for name in marks if name in self._stored), *gone])
        for names in ([name for name in changed if name not in marks], marks):
            self._store.store(names, self.out)
        self._stored = {name: state for name, state in self._stored.items() if name not in gone} | now


def as_urls(text: str, places: Sequence[tuple[str, str]]) -> str:
    """A text in which URLs stand for folders of this machine."""
    for local, url in places:
        text = text.replace(local, url)
    return text


@contextmanager
def staged(paths: Sequence[Path], out: Path, part: Part | None = None, *, merging: bool = False) -> Iterator[Staging]:
    """Copies of what lies on object stores, gone when the block ends. Paths of this machine stay as they are.

    Parameters
    ----------
    paths, out
        Inputs and output, of which each may be a URL.
    part
        The part of the studies that is needed; None for all.
    merging
        Whether only the tables of parts are needed from the output.

    Raises
    ------
    InvalidOptionError
        If the output is an input or inside of one, or the disk is too small.
    MissingInputError
        If an input is not there.
    SpineError
        If a store refuses.
    """
    from data_prep import scratch

    urls, target = [url_of(path) for path in paths], url_of(out)
    if target is None and not any(urls):
        yield Staging(list(paths), out)
        return
    for source in [one for one in urls if one is not None]:
        if target and f"{target}/".startswith(f"{source}/"):
            raise InvalidOptionError(
                f"the output {shown(target)} lies in the input {shown(source)}; choose another one"
            )
    with scratch.folder() as folder:
        staging = Staging([], folder / "out" if target else out)
        places = [(str(folder / "out"), shown(target))] if target else []
        own: set[str] = set()
        for number, (path, url) in enumerate(zip(paths, urls, strict=True)):
            if url is None:
                staging.paths.append(path)
                continue
            fetched = _fetched(url, folder / f"in{number}", part)
            staging.paths.append(fetched.path)
            staging.left_there += fetched.left_there
            own |= fetched.studies
            places.append((str(folder / f"in{number}"), shown(url).rpartition("/")[0]))
        staging.places = tuple(places)
        if target:
            staging._store = ObjectStore(target)
            _fetch_results(staging._store, staging.out, _needed(part, own, merging=merging))
            staging._stored = dict(_states(staging.out, staging.out))
        try:
            yield staging
        except SpineError as error:
            error.args = tuple(as_urls(str(one), staging.places) for one in error.args)
            raise


@dataclass(frozen=True)
class _Fetched:
    path: Path
    studies: frozenset[str] = frozenset()
    left_there: tuple[str, ...] = ()


def _fetched(url: str, folder: Path, part: Part | None) -> _Fetched:
    store, name = ObjectStore(url), url.rpartition("/")[2]
    if store.is_file():
        beside = ObjectStore(url.rpartition("/")[0])
        if name.endswith(".json"):  # a datalist, with its volumes beside it
            _fetch(beside, beside.files(), folder)
        else:
            sidecar = f"{stem_of(Path(name))}.json"
            _fetch(beside, {one: file for one, file in beside.files().items() if one in {name, sidecar}}, folder)
        return _Fetched(folder / name)
    files = store.files()
    if not files:
        raise MissingInputError(f"expected DICOM, NIfTI or a datalist, but there is no {shown(url)}")
    ids = sorted({one.split("/")[0] for one in files if one.count("/") == 1 and one.lower().endswith(SUFFIXES)})
    single = any("/" not in one and one.lower().endswith(SUFFIXES) for one in files)
    if part is None or single or not ids:
        _fetch(store, files, folder / name)
        return _Fetched(folder / name, frozenset(ids))
    # A part without studies fetches one, which shows what kind of input this is.
    own = [study for study in ids if part.holds(study)] or ids[:1]
    _fetch(store, {one: file for one, file in files.items() if one.split("/")[0] in set(own)}, folder / name)
    return _Fetched(folder / name, frozenset(own), tuple(text_of(study) for study in ids if study not in own))


def _needed(part: Part | None, studies: Collection[str], *, merging: bool) -> tuple[str, ...]:
    """How the names begin of what a run needs of earlier results; empty for all."""
    if merging:
        return (f"{PARTS}/",)
    if part is None:
        return ()
    return (*(f"{safe_name(study)}/" for study in studies), f"{part.folder(Path()).as_posix()}/")


def _fetch_results(store: ObjectStore, out: Path, begins: tuple[str, ...]) -> None:
    # Converted volumes are made again.
    files = {name: file for name, file in store.files().items() if not name.startswith(f"{VOLUMES}/")}
    _fetch(store, {name: file for name, file in files.items() if not begins or name.startswith(begins)}, out)


def _fetch(store: ObjectStore, files: Mapping[str, StoredFile], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, sum(file.size for file in files.values())
    if needed > free:
        raise InvalidOptionError(
            f"{shown(store.url)} needs {needed / 1e9:.1f} GB on the disk of {folder}, which has {free / 1e9:.1f} GB "
            "left; set TMPDIR to a folder on a larger disk, or take a smaller --part"
        )
    store.fetch(files, folder)


def _states(folder: Path, root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Size and time of each finished file, by its name relative to the root; hidden ones are not results."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_file() and not path.name.startswith("."):
            about = path.stat()
            yield path.relative_to(root).as_posix(), (about.st_size, about.st_mtime_ns)
