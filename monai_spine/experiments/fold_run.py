"""What cross-validation, comparison and search share: the settings and the saved state of a training on one fold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Report, Settings, logging_setting
from monai_spine.data.datalist import Record, label_array
from monai_spine.errors import InvalidTableError
from monai_spine.files import read_json, write_text
from monai_spine.scoring.submission import Labels


def fold_settings(bundle: Path, datalist: Path, fold: int, root: Path) -> Settings:
    """Configuration entries of a run of ``bundle`` that leaves out ``fold`` and writes to ``root``."""
    settings = [("fold", str(fold)), ("bundle_root", str(root)), ("dataset_dir", str(datalist.parent))]
    if datalist.name != "datalist.json":  # the name that the bundles look for in dataset_dir
        settings.append(("datalist", str(datalist)))
    return (*settings, *logging_setting(bundle))


def labels_of(records: Sequence[Record]) -> Labels:
    """The labels of a datalist's records."""
    return Labels(tuple(record["study_id"] for record in records), label_array(records))


def digest(files: Sequence[Path], *values: Any) -> str:
    """SHA-256 of the contents of files and of values, as JSON. A run is resumed only with the same."""
    parts = [path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join([*parts, json.dumps(values).encode()])).hexdigest()


def read_state(path: Path) -> dict[str, Any]:
    """The JSON object that an earlier run saved; empty if there is none, or if it is damaged."""
    try:
        content = read_json(path)
    except (OSError, InvalidTableError):
        return {}
    return content if isinstance(content, dict) else {}


def write_state(path: Path, **content: Any) -> None:
    """Save a JSON object for `read_state`."""
    write_text(path, json.dumps(content) + "\n")


def prefixed(report: Report, prefix: str) -> Report:
    """Reports lines with a prefix, such as ``[2/5]``."""
    return lambda line: report(f"{prefix}{line}")
