"""The settings that the files of a bundle define: those of a run's own files, and those that only other files have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_spine.bundle.setting_names import settings_within, unknown_setting
from monai_spine.files import read_json

_NO_CONFIGURATION = "metadata.json"
_TRAINING = "train.json"


@dataclass(frozen=True)
class KnownSettings:
    """What a run of a bundle knows.

    Attributes
    ----------
    entries
        The merged entries of the bundle's configuration files that the run was given. Presets and files of a user
        define nothing. Those of an inference have the training's among them: a preset that a network was trained with
        may be named for inference, too, and sets learning rates.
    elsewhere
        The file by the id of each setting that only another file of the bundle has.
    """

    entries: Mapping[str, Any]
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def unknown(self, id_: str, arguments: Iterable[str] = ()) -> str:
        """What to say of an id that the run does not know.

        ``arguments``: those that the object takes to which it would belong.
        """
        if file := self.elsewhere.get(id_):
            return f"setting {id_!r} needs {file}, which is not among the files of --config_file"
        own = set(ids(self.entries, groups(self.entries))) - WORKFLOW
        beside = [f"{id_.rpartition('#')[0]}#{one}" for one in arguments]
        return unknown_setting(id_, [*beside, *_within(self.entries), *sorted(own)])


WORKFLOW = {"imports", "initialize", "run", "finalize", "training", "evaluation", "inference", "trained_on"}
"""What MONAI, or a user, runs by name; and what a user may say of the data that a model learns from."""


def known_settings(folder: Path | None, files: Sequence[Path], *, training: bool) -> KnownSettings:
    """What the configuration files of a run define.

    Parameters
    ----------
    folder
        With the bundle's configuration files; None for a configuration that is in no file.
    files
        Those that the run was given; none takes all of the folder.
    training
        Whether the run is a training, or an evaluation that takes over a training's configuration.
    """
    if folder is None:
        return KnownSettings({})
    present = [path for path in sorted(folder.glob("*.json")) if path.name != _NO_CONFIGURATION]
    names = [path.name for path in files if path.resolve().parent == folder.resolve()] or [
        path.name for path in present
    ]
    entries = _merged([folder / name for name in names])
    if not training and (folder / _TRAINING).is_file():
        entries = {**_merged([folder / _TRAINING]), **entries}
    known = {*_all_ids(entries), *WORKFLOW}
    elsewhere: dict[str, str] = {}
    for path in sorted(present, key=lambda path: path.name != _TRAINING):  # the first file that has a setting is named
        if path.name not in names:
            new = {id_ for id_ in _all_ids(read_json(path)) if id_ not in known and id_.partition("#")[0] not in known}
            elsewhere = {**dict.fromkeys(new, path.name), **elsewhere}
    return KnownSettings(entries, elsewhere)


def _merged(files: Sequence[Path]) -> dict[str, Any]:
    for path in files:
        if path.suffix == ".json":
            read_json(path)  # whose error names the file and the place
    return dict(ConfigParser.load_config_files([str(path) for path in files]))


def _all_ids(entries: Mapping[str, Any]) -> set[str]:
    plain = {id_.lstrip("+").replace("::", "#"): value for id_, value in entries.items()}
    return {*ids(plain, groups(plain)), *_within(plain)}


def _within(entries: Mapping[str, Any]) -> list[str]:
    return [one for id_, value in entries.items() for one in settings_within(id_, value)]


def ids(config: Mapping[str, Any], of: set[str]) -> Iterator[str]:
    """The entries of the top level, and those of its groups as ``train#trainer``."""
    for id_, value in config.items():
        yield id_
        if id_ in of and isinstance(value, Mapping):
            yield from (f"{id_}#{inner}" for inner in value if not inner.startswith("_"))


def groups(entries: Mapping[str, Any]) -> set[str]:
    """The entries that are groups of others, such as ``train``: no objects, nor metadata, nor plain values."""
    return {
        id_
        for id_, value in entries.items()
        if isinstance(value, Mapping) and "_target_" not in value and any(_is_item(one) for one in value.values())
    }


def _is_item(value: Any) -> bool:
    return isinstance(value, Mapping | list) or (isinstance(value, str) and value.startswith(("@", "$", "%")))
