"""A bundle's configuration: the one whose expression is being evaluated, its values, and what they refer to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils import ensure_tuple

_REFERENCE = re.compile(r"[@%]([A-Za-z_][\w#:]*)")


@dataclass(frozen=True)
class EvaluatedConfiguration:
    """The configuration whose expression is being evaluated.

    Attributes
    ----------
    folder
        Of the first configuration file; None where MONAI's workflow was not used.
    files
        The configuration files; none where MONAI's workflow was not used.
    stated
        Ids of the settings that were given beside the files, as options of the command line.
    """

    parser: ConfigParser
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    stated: frozenset[str] = frozenset()

    @property
    def further_files(self) -> tuple[str, ...]:
        """Names, without folder and ``.json``, of the configuration files after the first one, such as presets."""
        return tuple(path.stem for path in self.files[1:])


def being_evaluated() -> EvaluatedConfiguration:
    """The configuration whose expression called this.

    MONAI gives an expression the values of other entries, but not the configuration itself. It is on the call stack,
    in the frames of the parser, of the workflow, and of the function that made the workflow from files.
    """
    parser = folder = None
    own: tuple[Path, ...] = ()
    stated: frozenset[str] = frozenset()
    frame = inspect.currentframe()
    while frame is not None:
        owner, files = frame.f_locals.get("self"), frame.f_locals.get("config_file")
        if parser is None and isinstance(owner, ConfigParser):
            parser = owner
        if folder is None and isinstance(owner, ConfigWorkflow):
            folder = Path(owner.config_root_path)
        options = frame.f_locals.get("kwargs")  # of the function that made the workflow
        if folder is not None and isinstance(files, str | list | tuple) and isinstance(options, dict):
            several = files.split(",") if isinstance(files, str) and not Path(files).is_file() else ensure_tuple(files)
            own = tuple(Path(file) for file in several)
            stated = frozenset(id_.replace("::", "#") for id_ in options)
            break
        frame = frame.f_back
    if parser is None:
        raise RuntimeError("expected to be called by an expression of a MONAI configuration")
    return EvaluatedConfiguration(parser, folder, own, stated)


def leaves(id_: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values within an entry, with ids as in ``views#0#slices``; handlers only watch, so they are left out."""
    if id_.endswith(("#handlers", "#_desc_")):
        return
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(f"{id_}#{key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for n, inner in enumerate(value):
            yield from leaves(f"{id_}#{n}", inner)
    else:
        yield id_, value


def used_ids(value: Any) -> Iterator[str]:
    """All ids that the texts of a configuration refer to, and the ids around them."""
    if isinstance(value, str):
        for reference in _REFERENCE.findall(value):
            parts = reference.replace("::", "#").rstrip(":").split("#")
            yield from ("#".join(parts[: n + 1]) for n in range(len(parts)))
    elif isinstance(value, Mapping):
        for id_, inner in value.items():
            if id_ != "_meta_":
                yield from used_ids(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from used_ids(inner)
